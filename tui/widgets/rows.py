"""A list of one-line rows with a mark, drawn as far as they are in sight, however many there are."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from tui.keymap import KEYS, PROMPTS, bindings
from tui.views.pieces import Pieces
from tui.widgets.role_styles import RoleWidget

_MOVES = frozenset({"row(-1)", "row(1)", "rows(-1)", "rows(1)", "first", "last", "choose"})
MOVES: list[BindingType] = [
    binding
    for binding, key in zip(bindings(PROMPTS), (key for key in KEYS if key.place == PROMPTS), strict=True)
    if key.action in _MOVES
]
"""The keys that move in any list of rows, as in the list of prompts."""


class Rows(RoleWidget, can_focus=True):
    """Rows that are made when they are drawn; `make(index, width)` gives a row's pieces."""

    ALLOW_SELECT = False

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, rows: Rows, index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

    class Marked(Message):
        """Another row was marked."""

        def __init__(self, rows: Rows, index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

    def __init__(self, make: Callable[[int, int], Pieces], *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._make = make
        self.count = 0
        self.cursor = 0
        self._top = 0

    def show(self, count: int) -> None:
        """There are so many rows now; the mark stays where it is as far as it can."""
        self.count = count
        self.cursor = max(0, min(self.cursor, count - 1))
        self._into_sight()

    def go(self, index: int) -> None:
        """Mark this row."""
        before, self.cursor = self.cursor, max(0, min(self.count - 1, index))
        self._into_sight()
        if self.cursor != before:
            self.post_message(self.Marked(self, self.cursor))

    def _into_sight(self) -> None:
        height = max(1, self.size.height)
        self._top = max(0, min(self._top, self.count - height))
        self._top = max(self.cursor - height + 1, min(self._top, self.cursor))
        self._top = max(0, self._top)
        self.refresh()

    def on_resize(self) -> None:
        self._into_sight()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.base_style
        index = self._top + y
        if index >= self.count:
            return Strip.blank(width, base)
        marked = index == self.cursor and self.has_focus
        pieces = [("▌" if marked else " ", "accent"), *self._make(index, width - 2)]
        segments = [Segment(text, base + self.role_style(role)) for text, role in pieces if text]
        strip = Strip(segments).adjust_cell_length(max(0, width - 1), base)
        return Strip([*strip, Segment("┃" if self._is_thumb(y) else " ", base + self.role_style("dim"))])

    def _is_thumb(self, y: int) -> bool:
        """Whether the scroll bar's thumb is in this line; there is none where all rows are in sight."""
        height, hidden = self.size.height, self.count - self.size.height
        if hidden <= 0:
            return False
        length = max(1, height * height // self.count)
        first = round((height - length) * min(1.0, self._top / hidden))
        return first <= y < first + length

    def action_row(self, step: int) -> None:
        self.go(self.cursor + step)

    def action_rows(self, step: int) -> None:
        self.go(self.cursor + step * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self.go(0)

    def action_last(self) -> None:
        self.go(self.count - 1)

    def action_choose(self) -> None:
        if self.count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._top = max(0, min(self._top + 3, self.count - self.size.height))
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._top = max(0, self._top - 3)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        index = self._top + event.y
        if index < self.count:
            again = index == self.cursor
            self.go(index)
            if again:
                self.action_choose()
