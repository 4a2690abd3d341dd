"""Charts of a report as inline SVG: confidence intervals, loss curves, and gain against damage. Colors come from the
page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 480.0, 220.0
_LEFT, _BOTTOM = 46.0, 26.0
_MAX_POINTS = 800


@dataclass(frozen=True)
class IntervalRow:
    """One line of a chart of intervals: its label, the change, both ends, and what is said at the right."""

    label: str
    value: float
    low: float
    high: float
    note: str


def intervals(rows: Sequence[IntervalRow], percent: bool) -> str:
    """Changes with their intervals, one below the other, around a line at zero.

    Args:
        percent: values are shares, written as percent.
    """
    ends = [end for row in rows for end in (row.low, row.high, 0.0)]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or 0.1
    low, high = low - room, high + room
    left, right, line = 8.0, _WIDTH - 8, 46.0
    height = line * len(rows) + 26

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    parts = [f'<line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="4" y2="{height - 22:.0f}"/>']
    for number, row in enumerate(rows):
        y = line * number + 32
        side = "good" if row.high < 0 else "bad" if row.low > 0 else "open"
        bars = ((row.low, row.high, y, y), (row.low, row.low, y - 6, y + 6), (row.high, row.high, y - 6, y + 6))
        parts.append(f'<text class="label" x="{left:.0f}" y="{y - 14:.0f}">{escape(row.label)}</text>')
        parts += [
            f'<line class="interval {side}" x1="{at(x1):.1f}" x2="{at(x2):.1f}" y1="{y1:.0f}" y2="{y2:.0f}"/>'
            for x1, x2, y1, y2 in bars
        ]
        parts.append(
            f'<circle class="mean {side}" cx="{at(row.value):.1f}" cy="{y:.0f}" r="5"/>'
            f'<text class="note" x="{right:.0f}" y="{y - 14:.0f}">{escape(row.note)}</text>'
        )
    for tick in _ticks(low, high):
        words = f"{100 * tick:+.0f} %" if percent else f"{tick:+.2g}"
        shown = "0" if abs(tick) < 1e-12 else words
        parts.append(f'<text class="tick" x="{at(tick):.1f}" y="{height - 6:.0f}">{shown}</text>')
    spoken = "; ".join(f"{row.label}: {row.note}" for row in rows)
    return _svg("Change with 95 % interval; left of zero is better", spoken, _WIDTH, height, parts)


def curve(title: str, line: Points, dots: Points, marks: Sequence[float]) -> str:
    """A curve over steps, with further points as dots and vertical marks (ends of epochs)."""
    line = [point for point in line if math.isfinite(point[1])]
    if not line:
        return ""
    axes = _Axes.around([*line, *dots])
    parts = axes.grid()
    for mark in marks:
        x, _ = axes.at(mark, axes.low_y)
        parts.append(f'<line class="epoch" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{_HEIGHT - _BOTTOM:.0f}"/>')
    parts += axes.below(".0f")
    thinned = _thinned(line)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (axes.at(*point) for point in thinned))
    parts.append(f'<polyline class="curve" points="{path}"/>')
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in (axes.at(*point) for point in dots)]
    spoken = f"from {line[0][1]:.3g} at step {line[0][0]:.0f} to {line[-1][1]:.3g} at step {line[-1][0]:.0f}"
    return _svg(title, spoken, _WIDTH, _HEIGHT, parts)


@dataclass(frozen=True)
class Point:
    """A dot with its name."""

    label: str
    x: float
    y: float


def scatter(title: str, points: Sequence[Point], x_name: str, y_name: str) -> str:
    """Dots by two figures; both axes hold zero."""
    points = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
    if not points:
        return ""
    axes = _Axes.around([(0.0, 0.0), *((point.x, point.y) for point in points)], least=0.0, room_x=0.12, room_y=0.18)
    parts = axes.grid()
    x, y = axes.at(0.0, 0.0)
    parts.append(f'<line class="zero strong" x1="{_LEFT:.0f}" x2="{_WIDTH - 12:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts += axes.below(".3g", _WIDTH - 90)  # behind it the axis is named
    for point in points:
        x, y = axes.at(point.x, point.y)
        side = "good" if point.y > 0 else "bad"
        start = x < _WIDTH * 0.7
        place = f'x="{x + 10 if start else x - 10:.1f}" y="{y + 5:.1f}"'
        parts.append(
            f'<circle class="mean {side}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
            f'<text class="label{"" if start else " end"}" {place}>{escape(point.label)}</text>'
        )
    parts.append(f'<text class="note start" x="{_LEFT + 4:.0f}" y="20">↑ {escape(y_name)}</text>')
    parts.append(f'<text class="note" x="{_WIDTH - 12:.0f}" y="{_HEIGHT - 6:.0f}">{escape(x_name)} →</text>')
    spoken = "; ".join(f"{one.label}: {y_name} {one.y:+.2f}, {x_name} {one.x:.3f}" for one in points)
    return _svg(title, spoken, _WIDTH, _HEIGHT, parts)


@dataclass(frozen=True)
class _Axes:
    """The ranges of both figures, and where a point lies in the picture."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float

    @classmethod
    def around(cls, points: Points, least: float = 1.0, room_x: float = 0.0, room_y: float = 0.06) -> _Axes:
        """With all points inside.

        Args:
            least: width of the horizontal range at least.
            room_x, room_y: added at the right, and above and below, as a share of the range.
        """
        xs, ys = [x for x, _ in points], [y for _, y in points]
        low_x, high_x = min(xs), max(max(xs), min(xs) + least)
        high_x += (high_x - low_x) * room_x or (0.1 if high_x == low_x else 0.0)
        room = (max(ys) - min(ys)) * room_y or 0.1
        return cls(low_x, high_x, min(ys) - room, max(ys) + room)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - self.low_x) / (self.high_x - self.low_x) * (_WIDTH - _LEFT - 12),
            8 + (self.high_y - y) / (self.high_y - self.low_y) * (_HEIGHT - _BOTTOM - 8),
        )

    def grid(self) -> list[str]:
        """Horizontal lines with their values."""
        parts = []
        for tick in _ticks(self.low_y, self.high_y):
            _, y = self.at(self.low_x, tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick side" x="{_LEFT - 6}" y="{y + 4:.1f}">{tick:.3g}</text>')
        return parts

    def below(self, form: str, end: float = math.inf) -> list[str]:
        """Values below the picture, in this format, as far as they lie left of `end`."""
        places = [(tick, self.at(tick, self.low_y)[0]) for tick in _ticks(self.low_x, self.high_x)]
        return [
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 6:.0f}">{tick:{form}}</text>'
            for tick, x in places
            if x < end
        ]


def _svg(title: str, description: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {width:.0f} {height:.0f}"><title>{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= 5:
            step *= factor
            break
    first = math.ceil(low / step)
    return [step * number for number in range(first, math.floor(high / step) + 1)]


def _thinned(line: Points) -> Points:
    """The curve with its smallest and largest value of each stretch, so that no peak is lost."""
    if len(line) <= _MAX_POINTS:
        return line
    size = math.ceil(len(line) / (_MAX_POINTS / 2))
    found: list[tuple[float, float]] = []
    for start in range(0, len(line), size):
        stretch = line[start : start + size]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        found += sorted(ends)
    return found
