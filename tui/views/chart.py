"""Curves as lines of braille dots (or letters), as wide as there is room: the cost does not depend on how many values
there are, and no peak is lost."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.runs.series import Series

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of a braille character by row and column of the dot."""

_SPANS = tuple(
    tuple(tuple(sum(_DOTS[y][side] for y in range(top, bottom + 1)) for bottom in range(4)) for top in range(4))
    for side in range(2)
)
"""Bits of a cell's left and right column of dots from a top row to a bottom row."""

_BRAILLE = {bits: 0x2800 + bits if bits else " " for bits in range(256)}

MIN_SMOOTHED = 24
"""Values below which a curve is drawn as it is."""

_WINDOWS = 12
"""Windows of the running mean that the width of the chart holds."""

Rows = list[list[tuple[str, str]]]


class Kind(enum.Enum):
    """How a curve is drawn."""

    LINE = "line"  # every value, neighbors joined
    POINTS = "points"  # every value, nothing joined
    SMOOTH = "smooth"  # the running mean, joined
    DASHED = "dashed"  # the running mean, joined, with gaps


@dataclass(frozen=True)
class Curve:
    """A series, the role that colors it, how it is drawn, and its letter where there are no braille dots."""

    series: Series
    role: str
    kind: Kind = Kind.LINE
    letter: str = "*"


def plot(
    curves: Sequence[Curve],
    width: int,
    height: int,
    steps: tuple[float, float],
    *,
    braille: bool = True,
    crosshair: float | None = None,
) -> Rows:
    """The curves with their axes, as pieces of text with roles; later curves are drawn over earlier ones.

    Args:
        width, height: cells, axes and their figures included.
        steps: first and last step of the x axis.
        braille: whether the terminal has braille characters.
        crosshair: step at which a vertical line stands.

    Returns:
        `height` lines, none wider than `width`; empty where there is no room or nothing to draw.
    """
    known = [curve for curve in curves if curve.series.count]
    low, high = _range(known)
    top, bottom = f"{high:.2f}", f"{low:.2f}"
    columns, lines = plot_columns(known, width), height - 2
    margin = width - columns - 1
    if not known or columns < 2 or lines < 1:
        return []
    canvas = _Canvas(columns, lines, low, high)
    for number, curve in enumerate(known):
        canvas.draw(_points(curve, 2 * columns, steps), number, curve.kind)
    cross = None if crosshair is None else _column(crosshair, steps, columns)
    rows: Rows = []
    for y in range(lines):
        figure = top if y == 0 else bottom if y == lines - 1 else ""
        row = [(figure.rjust(margin), "dim"), ("┤" if figure else "│", "dim")]
        rows.append([*row, *canvas.pieces(y, known, braille, cross)])
    return [*rows, *_x_axis(margin, columns, steps, crosshair, cross)]


def plot_columns(curves: Sequence[Curve], width: int) -> int:
    """Cells that the curves have in a chart of this width, beside the axis with its figures."""
    return width - 1 - max(len(f"{value:.2f}") for value in _range(curves))


def window(series: Series, columns: int, steps: tuple[float, float]) -> int:
    """Steps that a smoothed value of the series is the mean of, in a chart that is so many cells wide; 1 where the
    values are drawn as they are."""
    if series.count < MIN_SMOOTHED:
        return 1
    dots = 2 * max(1, columns)
    return max(1, round(_reach(dots) * (steps[1] - steps[0]) / dots))


def smoothed_at(series: Series, columns: int, steps: tuple[float, float], step: float) -> float:
    """The smoothed value nearest to a step, as the chart draws it."""
    dots = 2 * max(1, columns)
    at = _column(step, steps, dots)
    return min(_smoothed(series, dots, steps), key=lambda point: abs(point[0] - at))[1]


def _column(step: float, steps: tuple[float, float], columns: int) -> int:
    first, last = steps
    return max(0, min(columns - 1, int((step - first) * columns / max(1e-9, last - first))))


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    ranges = [curve.series.range for curve in curves if curve.series.count]
    low, high = min((low for low, _ in ranges), default=0.0), max((high for _, high in ranges), default=1.0)
    return (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)


def _reach(dots: int) -> int:
    """Columns of dots that the running mean takes in; odd, so that it has a middle."""
    return max(3, dots // _WINDOWS) | 1


def _points(curve: Curve, dots: int, steps: tuple[float, float]) -> list[tuple[int, float, float]]:
    """Column, lowest and highest value of what is drawn of a curve."""
    if curve.kind in (Kind.SMOOTH, Kind.DASHED) and curve.series.count >= MIN_SMOOTHED:
        return _smoothed(curve.series, dots, steps)
    return curve.series.extremes(dots, *steps)


def _smoothed(series: Series, dots: int, steps: tuple[float, float]) -> list[tuple[int, float, float]]:
    """The mean of the values around each column of dots that holds one."""
    found = series.means(dots, *steps)
    sums, counts = [0.0] * (dots + 1), [0] * (dots + 1)
    for column, total, count in found:
        sums[column + 1], counts[column + 1] = total, count
    for column in range(dots):
        sums[column + 1] += sums[column]
        counts[column + 1] += counts[column]
    half = _reach(dots) // 2
    points = []
    for column, _, _ in found:
        start, end = max(0, column - half), min(dots, column + half + 1)
        mean = (sums[end] - sums[start]) / (counts[end] - counts[start])
        points.append((column, mean, mean))
    return points


def _x_axis(margin: int, columns: int, steps: tuple[float, float], crosshair: float | None, cross: int | None) -> Rows:
    """The axis of the steps, and its figures: the first, the last and that of the crosshair."""
    first, last = (f"{step:,.0f}" for step in steps)
    if crosshair is None or cross is None:
        gap = max(1, columns - len(first) - len(last))
        return [
            [(" " * margin + "└" + "─" * columns, "dim")],
            [(" " * (margin + 1) + first + " " * gap + last, "dim")],
        ]
    here = f"{crosshair:,.0f}"
    place = max(0, min(columns - len(here), cross - len(here) // 2))
    left = f"{first} ".ljust(place) if place > len(first) else " " * place
    room = columns - place - len(here)
    right = last.rjust(room) if room > len(last) else " " * room
    return [
        [(" " * margin + "└" + "─" * cross, "dim"), ("┴", "key"), ("─" * (columns - cross - 1), "dim")],
        [(" " * (margin + 1) + left, "dim"), (here, "key"), (right, "dim")],
    ]


class _Canvas:
    """Cells of 2 x 4 dots, each of one curve. They are kept column by column: what a curve fills stands together.

    Args:
        columns, lines: cells.
        low, high: values at the lowest and the highest dot.
    """

    def __init__(self, columns: int, lines: int, low: float, high: float) -> None:
        self._lines = lines
        self._sides = bytearray(columns * lines), bytearray(columns * lines)
        """Bits of the left and of the right column of dots of each cell."""
        self._owners = bytearray(columns * lines)
        """Number of the curve that was drawn last in each cell, from 1."""
        self._high = high
        self._bottom = 4 * lines - 1
        self._scale = self._bottom / (high - low)

    def draw(self, points: Iterable[tuple[int, float, float]], number: int, kind: Kind) -> None:
        """Set a curve's dots: in each column of dots from its lowest to its highest value, joined to the one before."""
        before: tuple[int, int, int] | None = None
        dashed, joined = kind is Kind.DASHED, kind is not Kind.POINTS
        high, scale, bar = self._high + 0.5 / self._scale, self._scale, self._bar
        for x, least, greatest in points:
            # Rounded; no value of a curve is outside of the range.
            bottom = int((high - least) * scale)
            top = bottom if least == greatest else int((high - greatest) * scale)
            if before is not None and joined:
                x0, top0, bottom0 = before
                if x - x0 > 1 or top - bottom0 > 1 or top0 - bottom > 1:  # else they touch
                    self._join(before, (x, top, bottom), number, dashed)
            before = x, top, bottom
            if not (dashed and _in_gap(x)):
                bar(x, top, bottom, number)

    def _bar(self, x: int, top: int, bottom: int, number: int) -> None:
        side, spans = self._sides[x & 1], _SPANS[x & 1]
        base = (x >> 1) * self._lines
        first, last = base + (top >> 2), base + (bottom >> 2)
        if first == last:
            side[first] |= spans[top & 3][bottom & 3]
            self._owners[first] = number + 1
        else:
            side[first] |= spans[top & 3][3]
            side[first + 1 : last] = bytes((spans[0][3],)) * (last - first - 1)
            side[last] |= spans[0][bottom & 3]
            self._owners[first : last + 1] = bytes((number + 1,)) * (last - first + 1)

    def _join(self, before: tuple[int, int, int], now: tuple[int, int, int], number: int, dashed: bool) -> None:
        """A straight line between two columns, from the end of one range to the nearest end of the other."""
        x0, top0, bottom0 = before
        x1, top1, bottom1 = now
        y0 = bottom0 if bottom0 < top1 else top0 if top0 > bottom1 else max(top0, top1)
        y1 = top1 if bottom0 < top1 else bottom1 if top0 > bottom1 else y0
        count = max(x1 - x0, abs(y1 - y0), 1)
        for step in range(1, count):
            x, y = x0 + (x1 - x0) * step // count, y0 + (y1 - y0) * step // count
            if not (dashed and _in_gap(x)):
                self._bar(x, y, y, number)

    def pieces(self, y: int, curves: Sequence[Curve], braille: bool, cross: int | None) -> list[tuple[str, str]]:
        """One line of cells as pieces, neighbors of one curve together; the crosshair where no curve is."""
        owners = self._owners[y :: self._lines]
        text = self._braille(y) if braille else _lettered(owners, curves)
        if cross is not None and not owners[cross]:
            return [
                *_runs(text[:cross], owners[:cross], curves),
                ("┊" if braille else "|", "key"),
                *_runs(text[cross + 1 :], owners[cross + 1 :], curves),
            ]
        return _runs(text, owners, curves)

    def _braille(self, y: int) -> str:
        left, right = (int.from_bytes(side[y :: self._lines]) for side in self._sides)
        return (left | right).to_bytes(len(self._owners) // self._lines).decode("latin-1").translate(_BRAILLE)


def _in_gap(x: int) -> bool:
    """Whether a column of dots is in a gap of a dashed line: two cells are drawn, one is not."""
    return x % 6 >= 4


def _lettered(owners: bytearray, curves: Sequence[Curve]) -> str:
    letters = " " + "".join(curve.letter for curve in curves)
    return "".join(letters[owner] for owner in owners)


def _runs(text: str, owners: bytearray, curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """Text as pieces; blank cells belong to the piece before them."""
    here = set(owners) - {0}
    if len(here) <= 1:
        return [(text, curves[here.pop() - 1].role if here else "dim")] if text else []
    pieces: list[tuple[str, str]] = []
    start, current = 0, 0
    for place, owner in enumerate(owners):
        if owner and owner != current:
            if place:
                pieces.append((text[start:place], curves[current - 1].role if current else "dim"))
            start, current = place, owner
    return [*pieces, (text[start:], curves[current - 1].role)]
