"""Curves as lines of braille dots (or ASCII), as wide as there is room: the cost does not depend on how many values
there are, and no peak is lost."""

from __future__ import annotations

from collections.abc import Sequence
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
_ASCII = {bits: "*" if bits else " " for bits in range(256)}

Rows = list[list[tuple[str, str]]]


@dataclass(frozen=True)
class Curve:
    """A series and the role that colors it."""

    series: Series
    role: str


def plot(curves: Sequence[Curve], width: int, height: int, steps: tuple[float, float], *, braille: bool = True) -> Rows:
    """The curves with their axes, as pieces of text with roles; later curves are drawn over earlier ones.

    Args:
        width, height: cells, axes and their figures included.
        steps: first and last step of the x axis.
        braille: whether the terminal has braille characters.

    Returns:
        `height` lines, none wider than `width`; empty where there is no room or nothing to draw.
    """
    known = [curve for curve in curves if curve.series.count]
    low, high = _range(known) if known else (0.0, 1.0)
    top, bottom = f"{high:.2f}", f"{low:.2f}"
    margin = max(len(top), len(bottom))
    columns, lines = width - margin - 1, height - 2
    if not known or columns < 2 or lines < 1:
        return []
    cells, roles = bytearray(columns * lines), [""] * (columns * lines)
    for curve in known:
        _draw(curve, columns, lines, steps, (low, high), cells, roles)
    rows: Rows = []
    for y in range(lines):
        figure = top if y == 0 else bottom if y == lines - 1 else ""
        row = [(figure.rjust(margin), "dim"), ("┤" if figure else "│", "dim")]
        rows.append([*row, *_runs(cells, roles, y * columns, columns, braille)])
    first, last = (f"{step:,.0f}" for step in steps)
    rows.append([(" " * margin + "└" + "─" * columns, "dim")])
    gap = max(1, columns - len(first) - len(last))
    rows.append([(" " * (margin + 1) + first + " " * gap + last, "dim")])
    return rows


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    ranges = [curve.series.range for curve in curves]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)


def _draw(
    curve: Curve,
    columns: int,
    lines: int,
    steps: tuple[float, float],
    values: tuple[float, float],
    cells: bytearray,
    roles: list[str],
) -> None:
    """Set the curve's dots: in each column of dots from its lowest to its highest value, joined to the one before."""
    dots = 4 * lines - 1
    low, high = values
    scale = dots / (high - low)
    before: tuple[int, int, int] | None = None
    for x, least, greatest in curve.series.extremes(2 * columns, *steps):
        bottom, top = (max(0, min(dots, round((high - value) * scale))) for value in (least, greatest))
        if before is not None:
            _join(before, (x, top, bottom), columns, cells, roles, curve.role)
        for line in range(top >> 2, (bottom >> 2) + 1):
            place = line * columns + (x >> 1)
            cells[place] |= _SPANS[x & 1][max(top - 4 * line, 0)][min(bottom - 4 * line, 3)]
            roles[place] = curve.role
        before = x, top, bottom


def _join(
    before: tuple[int, int, int],
    now: tuple[int, int, int],
    columns: int,
    cells: bytearray,
    roles: list[str],
    role: str,
) -> None:
    """A straight line between two columns, from the end of one range to the nearest end of the other."""
    x0, top0, bottom0 = before
    x1, top1, bottom1 = now
    y0 = bottom0 if bottom0 < top1 else top0 if top0 > bottom1 else max(top0, top1)
    y1 = top1 if bottom0 < top1 else bottom1 if top0 > bottom1 else y0
    count = max(x1 - x0, abs(y1 - y0), 1)
    for step in range(1, count):
        _set(x0 + (x1 - x0) * step // count, y0 + (y1 - y0) * step // count, columns, cells, roles, role)


def _set(x: int, y: int, columns: int, cells: bytearray, roles: list[str], role: str) -> None:
    place = (y >> 2) * columns + (x >> 1)
    cells[place] |= _DOTS[y & 3][x & 1]
    roles[place] = role


def _runs(cells: bytearray, roles: list[str], start: int, columns: int, braille: bool) -> list[tuple[str, str]]:
    """One line of cells as pieces, neighbors of one role together."""
    end = start + columns
    text = cells[start:end].decode("latin-1").translate(_BRAILLE if braille else _ASCII)
    here = set(roles[start:end]) - {""}
    if len(here) <= 1:
        return [(text, here.pop() if here else "dim")]
    pieces: list[tuple[str, str]] = []
    for place, character in enumerate(text, start):
        role = roles[place] or (pieces[-1][1] if pieces else "dim")
        if pieces and pieces[-1][1] == role:
            pieces[-1] = (pieces[-1][0] + character, role)
        else:
            pieces.append((character, role))
    return pieces
