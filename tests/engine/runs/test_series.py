from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from engine.runs.series import _MAX_INTERVALS, Series


def series(values: list[float]) -> Series:
    made = Series()
    for step, value in enumerate(values, 1):
        made.add(step, value)
    return made


def test_hands_the_chart_one_range_per_column_at_most() -> None:
    made = series([math.sin(step) for step in range(1000)])
    columns = [column for column, _, _ in made.extremes(40, 1, 1000)]
    assert columns == list(range(40))


def test_a_peak_is_never_lost() -> None:
    values = [1.0] * 50_000
    values[31_337] = 9.0
    values[12_345] = -7.0
    made = series(values)
    assert len(made) <= _MAX_INTERVALS
    assert made.count == 50_000
    assert made.range == (-7.0, 9.0)
    ranges = made.extremes(60, *made.steps)
    assert max(high for _, _, high in ranges) == 9.0
    assert min(low for _, low, _ in ranges) == -7.0


def test_what_is_not_finite_or_overflows_is_left_out() -> None:
    made = series([1.0, math.nan, math.inf, -1e300, 2.0])
    assert made.count == 2
    assert made.latest == 2.0


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=400), st.integers(1, 50))
def test_columns_keep_every_value_in_their_means(values: list[float], width: int) -> None:
    made = series(values)
    found = made.means(width, *made.steps)
    assert sum(count for _, _, count in found) == len(values)
    assert math.isclose(sum(total for _, total, _ in found), sum(values), rel_tol=1e-9, abs_tol=1e-6)


def test_merged_intervals_keep_their_means() -> None:
    made = series([float(step) for step in range(10_001)])
    ((_, total, count),) = made.means(1, *made.steps)
    assert (total, count) == (sum(range(10_001)), 10_001)


def test_the_value_at_a_step_is_that_of_the_nearest() -> None:
    made = series([5.0, 6.0, 7.0])
    assert [made.at(step) for step in (-9, 1, 2.4, 2.6, 99)] == [(value, value) for value in (5.0, 5.0, 6.0, 7.0, 7.0)]
    assert Series().at(3) == (0.0, 0.0)


def test_an_empty_series_has_nothing_to_draw() -> None:
    assert Series().extremes(10, 0, 1) == []
    assert Series().range == (0.0, 0.0)
    assert Series().recent(5) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(1, 50))
def test_columns_keep_the_extremes(values: list[float], width: int) -> None:
    made = series(values)
    ranges = made.extremes(width, *made.steps)
    assert min(low for _, low, _ in ranges) == min(values)
    assert max(high for _, _, high in ranges) == max(values)
    columns = [column for column, _, _ in ranges]
    assert columns == sorted(set(columns))
    assert all(0 <= column < width for column in columns)
