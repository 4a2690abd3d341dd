"""A curve of any length in bounded memory: intervals of steps with their minimum, maximum and last step.

No peak is lost: merging two intervals keeps both extremes.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left

_MAX_INTERVALS = 4096  # even, so that intervals merge in pairs


class Series:
    """Values at steps 1, 2, 3 ... or at any increasing steps."""

    def __init__(self) -> None:
        self._first = array("d")
        self._last = array("d")
        self._low = array("d")
        self._high = array("d")
        self._span = 1  # values per interval
        self._in_last = 0
        self.latest: float | None = None
        """The newest value."""
        self.latest_step = 0.0
        self.count = 0
        """Number of values that were added."""

    def add(self, step: float, value: float) -> None:
        """Add a value. Non-finite ones are skipped: there is nothing to draw."""
        if not (math.isfinite(value) and math.isfinite(step)):
            return
        self.latest, self.latest_step = value, step
        self.count += 1
        if self._in_last and self._in_last < self._span:
            self._last[-1] = step
            self._low[-1] = min(self._low[-1], value)
            self._high[-1] = max(self._high[-1], value)
            self._in_last += 1
            return
        if len(self._first) >= _MAX_INTERVALS:
            self._halve()
            self.count -= 1
            self.add(step, value)
            return
        for column, number in ((self._first, step), (self._last, step), (self._low, value), (self._high, value)):
            column.append(number)
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
        found: list[tuple[int, float, float]] = []
        scale = width / max(1e-9, last - first)
        start, count = 0, len(self._first)
        while start < count:
            column = max(0, min(width - 1, int((self._first[start] - first) * scale)))
            # Steps increase, so the intervals of a column stand together.
            end = count if column >= width - 1 else bisect_left(self._first, first + (column + 1) / scale, start + 1)
            found.append((column, min(self._low[start:end]), max(self._high[start:end])))
            start = end
        return found

    def recent(self, count: int) -> list[float]:
        """The newest values, one per interval, oldest first."""
        return [(low + high) / 2 for low, high in zip(self._low[-count:], self._high[-count:], strict=True)]

    def _halve(self) -> None:
        self._first = self._first[::2]
        self._last = self._last[1::2]
        self._low = array("d", map(min, self._low[::2], self._low[1::2]))
        self._high = array("d", map(max, self._high[::2], self._high[1::2]))
        self._span *= 2
        self._in_last = self._span
