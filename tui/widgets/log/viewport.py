"""Which lines of which events stand in the window: moving, following, and keeping the place when what is shown changes.

A place is an event and a line of it, never a count of lines from the top: so nothing outside the window has to be laid
out, and a switch of verbosity, filter or width costs the same in a journal of ten events and of a million.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Numbers(Protocol):
    """Numbers of events in ascending order; may grow."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> int: ...


class Row(NamedTuple):
    """A line of the window: the event's number, and which of its lines."""

    number: int
    line: int


class Viewport:
    """The window's place in a sequence of event numbers.

    Args:
        height_of: lines of an event as it is shown now, at least 1.
    """

    def __init__(self, height_of: Callable[[int], int]) -> None:
        self._height_of = height_of
        self._shown: Numbers = ()
        self.height = 1
        """Lines of the window."""
        self.following = True
        """Whether the last line stays in the window as events arrive."""
        self._top = 0  # position in `_shown`
        self._line = 0  # line of that event which is the window's first
        self._home: Row | None = None  # the user's last position; kept while that event is not shown
        self.newest = -1
        """Number of the newest event that has arrived, whether it is shown or not."""
        self._seen = -1  # the newest event that was in the window, or had arrived when following ended

    @property
    def shown(self) -> Numbers:
        return self._shown

    @property
    def unseen(self) -> int:
        """Events below that arrived since following ended and were not in the window yet."""
        return 0 if self.following else len(self._shown) - bisect_right(self._shown, self._seen)

    @property
    def top(self) -> Row | None:
        """The window's first line; None where nothing is shown."""
        if not self._shown:
            return None
        return Row(self._shown[self._top], self._line)

    def show(self, shown: Numbers) -> None:
        """Show these events instead, and keep the place: the event at the top stays there, or the nearest one."""
        anchor = self._home or self.top
        self._shown = shown
        if self.following:
            self.to_end()
            return
        if not shown:
            self._home = anchor
            self._top = self._line = 0
            return
        if anchor is None:
            self._top = self._line = 0
            return
        position = bisect_left(shown, anchor.number)
        self._home = anchor
        if position < len(shown) and shown[position] == anchor.number:
            self._top = position
            self._line = min(anchor.line, self._height_of(anchor.number) - 1)
        else:
            self._top = min(position, len(shown) - 1)
            self._line = 0
        self._stay_inside()
        self._note_seen()

    def grown(self) -> None:
        """Events were added to the end of what is shown."""
        if self.following:
            self.to_end()
        else:
            self._note_seen()

    def relaid(self) -> None:
        """Heights of events or of the window changed: keep the place."""
        if self.following:
            self.to_end()
        elif self._shown:
            row = self._home or Row(self._shown[self._top], self._line)
            if row.number == self._shown[self._top]:
                self._line = min(row.line, self._height_of(row.number) - 1)
                self._home = row
            self._stay_inside()

    def move(self, lines: int) -> None:
        """Move down by `lines` (up where negative); moving up ends following, reaching the end does not begin it."""
        if not self._shown or not lines:
            return
        before = self._top, self._line
        if lines < 0:
            self._up(-lines)
        else:
            self._down(lines)
        if (self._top, self._line) != before:
            self._left()

    def follow(self, following: bool) -> None:
        """Begin (and go to the end) or end following."""
        if following:
            self.following = True
            self.to_end()
        elif self.following:
            self._left()

    def to_end(self) -> None:
        """Put the last line at the window's bottom."""
        self._home = None
        self._top, self._line = self._last_place()

    def to_start(self) -> None:
        """Put the first line at the window's top."""
        if self._shown:
            before = self._top, self._line
            self._top = self._line = 0
            if before != (0, 0):
                self._left()

    def to_fraction(self, fraction: float) -> None:
        """Go to the event that is this far down among all."""
        if self._shown:
            self._top = max(0, min(len(self._shown) - 1, int(fraction * len(self._shown))))
            self._line = 0
            self._left()
            self._stay_inside()

    def reveal(self, number: int, line: int = 0) -> None:
        """Bring this line of an event into the window, with some lines before it where it was outside."""
        position = bisect_left(self._shown, number)
        if position >= len(self._shown) or self._shown[position] != number:
            return
        if Row(number, line) in self.rows():
            return
        self._top, self._line = position, line
        self._left()
        self._up(min(line + 1, self.height // 3))
        self._stay_inside()

    def rows(self) -> list[Row]:
        """The window's lines; fewer than `height` where there are not as many."""
        rows: list[Row] = []
        position, line = self._top, self._line
        while position < len(self._shown) and len(rows) < self.height:
            number = self._shown[position]
            count = min(self._height_of(number) - line, self.height - len(rows))
            rows += [Row(number, line + offset) for offset in range(count)]
            position, line = position + 1, 0
        return rows

    def at_end(self) -> bool:
        """Whether the last line is in the window."""
        return not self._shown or (self._top, self._line) >= self._last_place()

    def scrollbar(self) -> tuple[int, int]:
        """First line and length of the scroll bar's thumb, in lines of the window; length 0 where all is visible."""
        total = len(self._shown)
        if not total or ((self._top, self._line) == (0, 0) and self.at_end()):
            return 0, 0
        visible = max(1, len({row.number for row in self.rows()}))
        length = max(1, min(self.height - 1, round(self.height * visible / total)))
        if self.at_end():
            return self.height - length, length
        span = max(1, total - visible)
        start = round((self.height - length) * min(1.0, self._top / span))
        return min(start, self.height - length), length

    def _left(self) -> None:
        if self.following:
            self.following = False
            self._seen = max(self.newest, self._shown[-1] if self._shown else -1)
        self._home = self.top
        self._note_seen()

    def _note_seen(self) -> None:
        """Count what is in the window as seen."""
        rows = self.rows()
        if rows:
            self._seen = max(self._seen, rows[-1].number)

    def _up(self, lines: int) -> None:
        while lines > 0:
            if self._line >= lines:
                self._line -= lines
                return
            lines -= self._line + 1
            if self._top == 0:
                self._line = 0
                return
            self._top -= 1
            self._line = self._height_of(self._shown[self._top]) - 1

    def _down(self, lines: int) -> None:
        last = self._last_place()
        while lines > 0 and (self._top, self._line) < last:
            rest = self._height_of(self._shown[self._top]) - 1 - self._line
            if lines <= rest:
                self._line += lines
                break
            lines -= rest + 1
            if self._top + 1 >= len(self._shown):
                self._line += rest
                break
            self._top, self._line = self._top + 1, 0
        self._top, self._line = min((self._top, self._line), last)

    def _stay_inside(self) -> None:
        self._top, self._line = min((self._top, self._line), self._last_place())

    def _last_place(self) -> tuple[int, int]:
        """The place at which the last line is the window's last."""
        room = self.height
        position = len(self._shown)
        while position > 0:
            position -= 1
            height = self._height_of(self._shown[position])
            if height >= room:
                return position, height - room
            room -= height
        return 0, 0
