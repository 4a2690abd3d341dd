"""A curve of any length in bounded memory: intervals of steps with their minimum, maximum, sum and last step.

No peak is lost: merging two intervals keeps both extremes.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from operator import add

_MAX_INTERVALS = 4096  # even, so that intervals merge in pairs
_MAX_VALUE = 1e100
"""Values beyond this overflow in sums and differences."""


class Series:
    """Values at steps 1, 2, 3 ... or at any increasing steps."""

    def __init__(self) -> None:
        self._first = array("d")
        self._last = array("d")
        self._low = array("d")
        self._high = array("d")
        self._sum = array("d")
        self._span = 1  # values per interval
        self._in_last = 0
        self.latest: float | None = None
        """The newest value."""
        self.latest_step = 0.0
        self.count = 0
        """Number of values that were added."""

    def add(self, step: float, value: float) -> None:
        """Add a value. Those that are not finite, or beyond 1e100, are skipped: there is nothing to draw."""
        if not (abs(value) < _MAX_VALUE and math.isfinite(step)):
            return
        self.latest, self.latest_step = value, step
        self.count += 1
        if self._in_last and self._in_last < self._span:
            self._last[-1] = step
            self._low[-1] = min(self._low[-1], value)
            self._high[-1] = max(self._high[-1], value)
            self._sum[-1] += value
            self._in_last += 1
            return
        if len(self._first) >= _MAX_INTERVALS:
            self._halve()
            self.count -= 1
            self.add(step, value)
            return
        for column in (self._first, self._last):
            column.append(step)
        for column in (self._low, self._high, self._sum):
            column.append(value)
        self._in_last = 1

    def __len__(self) -> int:
        return len(self._first)

    @property
    def steps(self) -> tuple[float, float]:
        """First and last step; (0, 0) if empty."""
        return (self._first[0], self._last[-1]) if self._first else (0.0, 0.0)

    @property
    def range(self) -> tuple[float, float]:
        """Minimum and maximum of all values; (0, 0) if empty."""
        return (min(self._low), max(self._high)) if self._low else (0.0, 0.0)

    def extremes(self, width: int, first: float, last: float) -> list[tuple[int, float, float]]:
        """Column, minimum and maximum of each of `width` columns that divide the steps `first` to `last` and hold a
        value; takes the same time for ten values and for a million."""
        return [
            (column, min(self._low[start:end]), max(self._high[start:end]))
            for column, start, end in self._columns(width, first, last)
        ]

    def means(self, width: int, first: float, last: float) -> list[tuple[int, float, int]]:
        """Column, sum and number of the values of each of these columns that holds one."""
        unfilled = self._span - self._in_last
        return [
            (column, sum(self._sum[start:end]), (end - start) * self._span - unfilled * (end == len(self._sum)))
            for column, start, end in self._columns(width, first, last)
        ]

    def at(self, step: float) -> tuple[float, float]:
        """Minimum and maximum of the interval that is nearest to a step; (0, 0) if empty."""
        if not self._first:
            return (0.0, 0.0)
        place = min(bisect_left(self._last, step), len(self._last) - 1)
        if place and step - self._last[place - 1] < self._first[place] - step:
            place -= 1
        return (self._low[place], self._high[place])

    def _columns(self, width: int, first: float, last: float) -> Iterator[tuple[int, int, int]]:
        """Each of `width` columns that holds intervals, with the first of them and the one after the last."""
        scale = width / max(1e-9, last - first)
        steps, start, count, greatest = self._first, 0, len(self._first), width - 1
        while start < count:
            column = int((steps[start] - first) * scale)
            column = 0 if column < 0 else column if column < greatest else greatest
            # Steps increase, so the intervals of a column stand together.
            end = count if column == greatest else bisect_left(steps, first + (column + 1) / scale, start + 1)
            yield column, start, end
            start = end

    def recent(self, count: int) -> list[float]:
        """The newest values, one per interval, oldest first."""
        return [(low + high) / 2 for low, high in zip(self._low[-count:], self._high[-count:], strict=True)]

    def _halve(self) -> None:
        self._first = self._first[::2]
        self._last = self._last[1::2]
        self._low = array("d", map(min, self._low[::2], self._low[1::2]))
        self._high = array("d", map(max, self._high[::2], self._high[1::2]))
        self._sum = array("d", map(add, self._sum[::2], self._sum[1::2]))
        self._span *= 2
        self._in_last = self._span
