"""The loss chart fits its room at every size, keeps every peak, and costs the same for any number of values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runs.series import Series
from tui.views.chart import Curve, plot
from tui.views.pieces import width_of


def series(values: list[float]) -> Series:
    made = Series()
    for step, value in enumerate(values, 1):
        made.add(step, value)
    return made


def text_of(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(4, 60), st.integers(2, 20), st.booleans())
def test_every_line_has_its_room(values: list[float], width: int, height: int, braille: bool) -> None:
    made = series(values)
    first, last = made.steps
    rows = plot([Curve(made, "accent")], width, height, (first, max(last, first + 1)), braille=braille)
    assert len(rows) in (0, height)
    assert all(width_of(row) == width for row in rows[:-2])


def test_nothing_is_drawn_without_values_or_room() -> None:
    assert plot([Curve(Series(), "accent")], 40, 10, (0, 1)) == []
    assert plot([Curve(series([1.0, 2.0]), "accent")], 5, 2, (1, 2)) == []


def test_a_line_joins_nine_points_without_a_gap() -> None:
    rows = plot([Curve(series([9.0, 7.5, 6.0, 5.2, 4.0, 3.1, 2.5, 2.2, 2.0]), "accent")], 40, 12, (1, 9))
    drawn = text_of(rows)[:-2]
    columns = [any(line[6 + x : 7 + x].strip() for line in drawn) for x in range(34)]
    assert all(columns[:33])
    assert drawn[0].startswith("9.00┤")
    assert drawn[-1].startswith("2.00┤")


@pytest.mark.parametrize("braille", [True, False])
def test_a_peak_among_many_values_is_drawn_and_both_curves_are_colored(braille: bool) -> None:
    values = [1.0 + 0.1 * math.sin(step) for step in range(20_000)]
    values[11_111] = 9.0
    curves = [Curve(series([2.0] * 10), "soft"), Curve(series(values), "accent")]
    rows = plot(curves, 60, 12, (1, 20_000), braille=braille)
    assert any(role == "accent" for _, role in rows[0])
    assert {role for row in rows for _, role in row} == {"dim", "soft", "accent"}
    assert any("\u2801" <= character <= "\u28ff" for line in text_of(rows) for character in line) is braille
