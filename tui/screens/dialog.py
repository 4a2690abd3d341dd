"""The base of every window above the run screen."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen

from tui.keymap import APP, bindings
from tui.views.pieces import clip
from tui.views.wrap import cells

_NOTE_SECONDS = 6.0

Answer = TypeVar("Answer")

_BROAD = 160
"""Columns of the window from which on lists are wider than other windows."""
_WIDE = 96
_MAX_SHARE = 0.96
_FRAME = 7
"""Width of a wide box and share of the window that it may take (themes/app.tcss); cells of its border, padding and
scroll bar."""
_MAX_HEIGHT, _BORDER = 0.94, 4
"""Share of the window's height that a box may take (themes/app.tcss); lines of its border and padding."""


def box_width(columns: int) -> int:
    """Cells for the text of a wide box in a window of so many columns."""
    return max(20, min(_WIDE, int(columns * _MAX_SHARE)) - _FRAME)


def box_height(lines: int) -> int:
    """Lines for the content of a box in a window of so many lines."""
    return int(lines * _MAX_HEIGHT) - _BORDER


def key_hints(columns: int, *hints: str) -> str:
    """The hints for the border of a wide box in a window of so many columns: those that fit, and always the last."""
    *others, last = hints
    while others and cells(" · ".join([*others, last])) > box_width(columns):
        others.pop()
    return " · ".join([*others, last])


class ClosesOnce:
    """Makes a screen close once, however often it is asked to.

    Keys and clicks that arrive faster than the window goes (key repeat, a lagging line) reach it after it has closed;
    Textual would then take another screen off the stack, or end the app where there is no other.

    Not a screen itself: Textual looks for styles along the first base that is one.
    """

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close with this result; does nothing where the screen is not the top one."""
        assert isinstance(self, Screen)
        if not self.is_active:
            return AwaitComplete()
        return Screen.dismiss(self, result)


# The bindings of the app have no effect while a window is open.
_JUMP: list[BindingType] = [
    dataclasses.replace(one, action="app.jump_mode")
    for one in bindings(APP)
    if isinstance(one, Binding) and one.action == "jump_mode"
]


class Dialog(ClosesOnce, ModalScreen[Answer | None]):
    """A window above the run screen; Esc closes it without a result."""

    BINDINGS: ClassVar[list[BindingType]] = _JUMP
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (_BROAD, "-broad")]  # noqa: RUF012 - Textual declares it without ClassVar

    def show_note(self, note: str) -> None:
        """Say something in the border for a while, where a notice would cover the window."""
        for box in self.query(".box").results(Vertical):
            before = box.border_subtitle
            line = Content(clip(" ".join(note.split()), max(8, box.size.width - 4)))
            box.border_subtitle = line

            def restore(box: Vertical = box, before: object = before, line: object = line) -> None:
                if box.border_subtitle is line:
                    box.border_subtitle = before  # type: ignore[assignment]

            self.set_timer(_NOTE_SECONDS, restore)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ignore keys that come before the window is made, or while it is closing: their panes are not there."""
        return self.is_mounted and self.is_active and super().check_action(action, parameters)

    def action_close(self) -> None:
        self.dismiss(None)
