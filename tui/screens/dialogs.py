"""Small windows that ask one thing: really quit, really stop, which theme; and the notice of a window too small."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.keymap import LIST, bindings
from tui.screens.dialog import Answer, ClosesOnce, Dialog
from tui.widgets.border import label

LEAST = (40, 10)
"""Columns and lines below which the panes have no room."""


def is_too_small(size: Size) -> bool:
    """Whether the panes have no room in a terminal of this size."""
    return size.width < LEAST[0] or size.height < LEAST[1]


class Choice(Dialog[Answer]):
    """One question with a few answers; Esc returns None.

    Args:
        title: of the border.
        text: what the person has to know.
        answers: what is given back, and how it reads; the first is marked.
        marked: place of the answer that is marked at first.
        wide: whether the answers need a wide window.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIST)

    def __init__(
        self, title: str, text: str, answers: list[tuple[Answer, str]], marked: int = 0, *, wide: bool = False
    ) -> None:
        super().__init__()
        self._wide = wide
        self._title = title
        self._text = text
        self._answers = answers
        self._marked = marked

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide" if self._wide else "box") as box:
            label(box, self._title, "↑ ↓ Enter · Esc")
            if self._text:
                yield Static(Content(self._text + "\n"))
            options = OptionList(*(Option(Content(text)) for _, text in self._answers), id="answers")
            options.highlighted = self._marked
            yield options

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.looked_at(self._answers[event.option_index][0])

    def looked_at(self, answer: Answer) -> None:
        """An answer was marked, not yet chosen."""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self._answers[event.option_index][0])


class ThemeChoice(Choice[str]):
    """Which theme; the one that is marked is tried at once, Esc brings the old one back."""

    def __init__(self, themes: list[tuple[str, str]], current: str) -> None:
        names = [name for name, _ in themes]
        super().__init__("Theme", "", themes, names.index(current) if current in names else 0)
        self._before = current

    def looked_at(self, answer: str) -> None:
        self.app.theme = answer

    def action_close(self) -> None:
        self.app.theme = self._before
        super().action_close()


class Palette(ClosesOnce, CommandPalette):
    """Textual's command palette, closing once."""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._ignore_when_closed(event)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._ignore_when_closed(event)

    def _ignore_when_closed(self, message: Message) -> None:
        """A second Enter or click finds the palette closing, and its list gone."""
        if not self.is_active:
            message.stop()
            message.prevent_default()


class TooSmall(ClosesOnce, Screen[None]):
    """Stands in front of everything while the window has no room for it."""

    def __init__(self, going_on: str) -> None:
        super().__init__(id="small")
        self._going_on = going_on
        self._text = Static("")

    def compose(self) -> ComposeResult:
        yield self._text

    def on_mount(self) -> None:
        self._write()

    def on_resize(self) -> None:
        self._write()

    def on_screen_resume(self) -> None:
        # A window may have opened above this one and closed after the terminal grew.
        if not is_too_small(self.app.size):
            self.dismiss(None)

    def _write(self) -> None:
        width, height = self.size
        lines = [
            f"{width}x{height} is too small",
            f"enlarge to {LEAST[0]}x{LEAST[1]}",
            self._going_on,
            "^q quits",
        ]
        self._text.update(Content("\n".join(line for line in lines if line)))
