"""Paired statistics against brute force, and against what repeated simulated runs show."""

from __future__ import annotations

import random
from dataclasses import asdict
from itertools import product
from math import comb, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.stats import sign_flip
from engine.stats.exact import (
    holm,
    sign_test_p,
    t_quantile,
    tango_upper,
    wilson_interval,
)
from engine.stats.interval import mean_interval
from engine.stats.paired import (
    compare_flags,
    compare_principles,
    compare_scores,
    planned_detectable,
    refusals_not_inferior,
    scores_not_inferior,
    smallest_detectable,
)
from engine.stats.sign_flip import sign_flip_test, wilcoxon_test

halves = st.lists(st.integers(-6, 6).map(lambda value: value / 2), min_size=1, max_size=9)
reals = st.lists(st.floats(-2, 2, allow_nan=False, width=32), min_size=1, max_size=9)


def brute_force_p(values: list[float]) -> float:
    observed = abs(sum(values))
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in product((1, -1), repeat=len(values))
    ]
    return sum(one >= observed - 1e-9 for one in sums) / len(sums)


@given(halves)
@settings(max_examples=150, deadline=None)
def test_the_exact_count_over_tied_differences_is_that_of_all_sign_flips(values: list[float]) -> None:
    assert sign_flip_test(values).method == "exact"
    assert sign_flip_test(values).p == pytest.approx(brute_force_p(values))


@given(reals)
@settings(max_examples=100, deadline=None)
def test_the_exact_count_in_halves_is_that_of_all_sign_flips(values: list[float]) -> None:
    values = [round(value, 6) + 1e-5 for value in values]
    assert sign_flip_test(values).p == pytest.approx(brute_force_p(values))


def test_the_sampled_p_is_close_to_the_exact_one_and_repeats_with_its_seed() -> None:
    chance = random.Random(5)
    values = [chance.choice((-1.0, -0.5, 0.5)) for _ in range(60)]
    values += [0.5] * 24
    exact = sign_flip_test(values).p
    sampled = sign_flip._sample(values, abs(sum(values)) - 1e-9, seed=3)
    assert 0.005 < exact < 0.9
    assert sampled == pytest.approx(exact, abs=0.02)
    assert sampled == sign_flip._sample(values, abs(sum(values)) - 1e-9, seed=3)


def test_many_uneven_differences_are_sampled_and_say_so() -> None:
    chance = random.Random(6)
    test = sign_flip_test([chance.gauss(0.1, 1) for _ in range(400)], seed=9)
    assert test.method == "10,000 random sign flips, seed 9"
    assert 0 < test.p <= 1


def test_many_tied_differences_are_counted_exactly() -> None:
    chance = random.Random(6)
    assert sign_flip_test([chance.choice((-1, -0.5, 0, 0.25, 1.5)) for _ in range(400)]).method == "exact"


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip_test([]).p == sign_flip_test([0.0, 0.0]).p == wilcoxon_test([0.0]).p == 1.0
    assert sign_flip_test([1.0, -1.0]).p == 1.0


def test_on_pass_and_fail_the_sign_flip_test_is_mcnemars() -> None:
    assert sign_flip_test([-1.0] * 12 + [1.0] * 4 + [0.0] * 30).p == pytest.approx(sign_test_p(12, 4))


@given(halves)
@settings(max_examples=100, deadline=None)
def test_wilcoxon_is_the_sign_flip_test_of_mean_ranks(values: list[float]) -> None:
    rest = [value for value in values if value]
    sizes = sorted(map(abs, rest))
    ranks = {
        size: sum(place + 1 for place, one in enumerate(sizes) if one == size) / sizes.count(size) for size in sizes
    }
    signed = [ranks[abs(value)] * (1 if value > 0 else -1) for value in rest]
    assert wilcoxon_test(values).p == pytest.approx(brute_force_p(signed) if signed else 1.0)


def test_flags_are_counted_in_both_directions_without_unknown_ones() -> None:
    base = [True, True, True, True, False, False, None, True]
    trained = [False, False, False, True, True, False, True, None]
    result = compare_flags(base, trained)
    assert (result.n, result.excluded, result.base, result.trained) == (6, 2, 4, 2)
    assert (result.better, result.worse) == (3, 1)
    assert result.p == pytest.approx(2 * (comb(4, 0) + comb(4, 1)) / 16)


def test_several_samples_of_a_prompt_count_as_one_prompt() -> None:
    base, trained = [True, True, True, False], [False, True, False, False]
    result = compare_flags(base, trained, clusters=["a", "a", "b", "b"])
    assert (result.n, result.answers, result.base, result.trained) == (2, 4, 3, 1)
    assert (result.better, result.worse, result.rise) == (2, 0, -0.5)
    assert result.p == pytest.approx(0.5)


def test_planned_detectable_shrinks_with_the_root_of_the_prompts() -> None:
    few, many = planned_detectable(50, 0.4), planned_detectable(200, 0.4)
    assert few is not None
    assert many is not None
    assert few / many == pytest.approx(2, rel=0.03)
    assert many == pytest.approx(2.8 * 0.4 / 200**0.5, rel=0.02)
    assert planned_detectable(1, 0.4) is None


def test_sign_test_p_reaches_large_counts_and_ends_at_one() -> None:
    assert sign_test_p(0, 0) == sign_test_p(3, 3) == 1.0
    assert sign_test_p(51, 10) < 1e-6
    assert 0 < sign_test_p(900, 300) < 1e-60


def test_holm_adjusts_in_order_of_size_and_never_lowers() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilson_interval_stays_inside_zero_and_one() -> None:
    assert wilson_interval(0, 100) == (0.0, pytest.approx(0.03699, abs=1e-4))
    low, high = wilson_interval(30, 100)
    assert (low, high) == (pytest.approx(0.2189, abs=1e-4), pytest.approx(0.3958, abs=1e-4))
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(7, 7)[1] == 1.0


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [(0.975, 1, 12.706), (0.975, 2, 4.3027), (0.975, 5, 2.5706), (0.975, 30, 2.0423), (0.8, 99, 0.8453)],
)
def test_quantiles_of_students_t_are_those_of_the_tables(probability: float, freedom: int, expected: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-3)
    assert t_quantile(1 - probability, freedom) == pytest.approx(-expected, rel=1e-3)


def test_tangos_bound_without_discordant_pairs_is_known_in_closed_form() -> None:
    squared = 1.6449**2
    assert tango_upper(0, 0, 100) == pytest.approx(squared / (100 + squared), abs=1e-4)
    assert tango_upper(5, 2, 0) == 1.0
    assert tango_upper(3, 1, 100) > tango_upper(2, 1, 100) > 0.01


def test_tangos_bound_is_exceeded_in_about_one_of_twenty_runs() -> None:
    chance = random.Random(8)
    misses = 0
    for _ in range(400):
        drawn = chance.choices((1, -1, 0), (0.10, 0.04, 0.86), k=100)
        misses += tango_upper(drawn.count(1), drawn.count(-1), 100) < 0.06
    assert misses / 400 == pytest.approx(0.05, abs=0.03)


def draw_tied(chance: random.Random, n: int, shift: float) -> list[float]:
    """Differences of a weighted score: most are 0, the others lie on halves, uneven to one side; mean `shift`."""
    sizes, weights = (-1.5, -1.0, -0.5, 0.5, 1.0), (0.08, 0.10, 0.05, 0.05, 0.055)
    rest = 1 - sum(weights)
    mean = sum(size * weight for size, weight in zip(sizes, weights, strict=True))
    return [value - mean + shift for value in chance.choices((*sizes, 0.0), (*weights, rest), k=n)]


def test_the_interval_covers_the_true_mean_in_about_95_of_100_runs() -> None:
    chance = random.Random(21)
    draws = {
        "tied": (lambda n: [value - 0.2 for value in draw_tied(chance, n, 0.2)], 0.0),
        "binary": (lambda n: [float(v) for v in chance.choices((-1, 0, 1), (0.2, 0.7, 0.1), k=n)], -0.1),
        "even": (lambda n: [chance.gauss(-0.05, 0.25) for _ in range(n)], -0.05),
    }
    for name, (draw, mean) in draws.items():
        hits = 0
        for _ in range(150):
            interval = mean_interval(draw(40))
            assert interval is not None
            hits += interval[0] <= mean <= interval[1]
        assert 0.92 <= hits / 150 <= 0.985, name


def test_few_changes_give_a_wide_interval_and_none_gives_no_certainty() -> None:
    nothing = mean_interval([0.0] * 40)
    assert nothing is not None
    assert nothing[0] < -0.03 < 0.03 < nothing[1]
    one = mean_interval([0.0] * 39 + [-1.0])
    assert one is not None
    assert one[0] < -0.025 < 0 < one[1]
    alike = mean_interval([-1.0] * 40)
    assert alike is not None
    assert alike[0] < -1.03 < -0.97 < alike[1]
    assert mean_interval([0.5]) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    chance = random.Random(4)
    values = [chance.gauss(0, 1) for _ in range(20)]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_a_test_of_the_same_model_twice_rarely_finds_a_change() -> None:
    chance = random.Random(31)
    found = 0
    for _ in range(200):
        base = [chance.choice((0.0, 0.0, 0.0, 1.0, 1.5)) for _ in range(60)]
        trained = [chance.choice((0.0, 0.0, 0.0, 1.0, 1.5)) if chance.random() < 0.4 else one for one in base]
        found += compare_scores(base, trained).significant
    assert found <= 14  # 5 % is 10; three standard errors are 9.


def test_a_planted_change_is_found() -> None:
    """15 points of the violation rate, 5 % of prompts the other way, at 200 prompts: the study's table says .99."""
    chance = random.Random(32)
    found = 0
    for _ in range(40):
        base = [float(chance.random() < 0.5) for _ in range(200)]
        trained = [(0.0 if chance.random() < 0.4 else 1.0) if one else float(chance.random() < 0.1) for one in base]
        result = compare_scores(base, trained)
        found += result.significant and result.difference < 0
    assert found >= 34


def test_the_smallest_detectable_change_is_found_in_about_80_of_100_runs() -> None:
    chance = random.Random(33)
    detectable = smallest_detectable(draw_tied(chance, 2_000, 0.0))
    assert detectable is not None
    # Standard errors shrink with the root of n.
    shift = detectable * sqrt(2_000 / 80)
    found = 0
    for _ in range(150):
        values = draw_tied(chance, 80, -shift)
        interval = mean_interval(values)
        assert interval is not None
        found += interval[1] < 0 and sign_flip_test(values).p < 0.05
    assert found / 150 == pytest.approx(0.8, abs=0.16)


def test_a_result_holds_what_the_report_shows() -> None:
    base = [1.0, 2.0, 0.0, 1.5, None, 1.0, 0.5] * 12
    trained = [0.0, 1.0, 0.0, 1.5, 1.0, float("nan"), 1.0] * 12
    result = compare_scores(base, trained)
    assert (result.n, result.excluded, result.no_verdict_base, result.no_verdict_trained) == (60, 24, 12, 12)
    assert (result.better, result.worse, result.tied) == (24, 12, 24)
    assert (result.base, result.trained) == (pytest.approx(1.0), pytest.approx(0.7))
    assert result.difference == pytest.approx(-0.3)
    assert result.relative == pytest.approx(-0.3)
    assert result.interval is not None
    assert result.interval[0] < -0.3 < result.interval[1] < 0
    assert result.relative_interval is not None
    assert result.relative_interval[0] < -0.3 < result.relative_interval[1] < 0
    assert result.significant
    assert result.smallest_detectable_relative == pytest.approx(result.smallest_detectable)
    assert set(asdict(result)) >= {"p", "p_method", "wilcoxon_p", "seed"}


def test_the_relative_interval_agrees_with_the_interval_on_whether_there_is_a_change() -> None:
    chance = random.Random(41)
    for _ in range(60):
        base = [chance.choice((0.0, 0.5, 1.0, 2.0)) for _ in range(30)]
        trained = [max(0.0, one + chance.choice((-1.0, -0.5, 0.0, 0.0, 0.5))) for one in base]
        result = compare_scores(base, trained)
        assert result.interval is not None
        assert result.relative_interval is not None
        low, high = result.relative_interval
        assert (low > 0 or high < 0) == (result.interval[0] > 0 or result.interval[1] < 0)
        assert -1 <= low <= result.relative + 1e-9 <= high + 2e-9  # type: ignore[operator]


def test_no_prompts_and_no_violations_give_a_result_without_claims() -> None:
    empty = compare_scores([], [])
    assert (empty.n, empty.interval, empty.relative, empty.significant) == (0, None, None, False)
    clean = compare_scores([0.0] * 20, [0.0] * 20)
    assert (clean.relative, clean.smallest_detectable, clean.significant) == (None, None, False)


def test_prompts_of_one_cluster_count_once() -> None:
    base, trained = [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]
    result = compare_scores(base, trained, clusters=["a", "a", "b", "b"])
    assert (result.n, result.base, result.difference) == (2, 0.75, -0.75)


def test_floating_point_dust_is_a_tie() -> None:
    assert compare_scores([0.3] * 3, [0.1 + 0.2] * 3).tied == 3


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_scores([1.0], [])


def test_principles_are_adjusted_for_being_several() -> None:
    better = ([1.0] * 12 + [0.0] * 18, [0.0] * 30)
    weak = ([1.0] * 7 + [0.0] * 23, [0.0] * 6 + [1.0] + [0.0] * 22 + [1.0])
    one, other = compare_principles({"fairness": better, "truthfulness": weak})
    assert (one.principle, one.outcome) == ("fairness", "better")
    assert one.holm_p == pytest.approx(2 * one.result.p)
    assert other.outcome == "unclear"
    (back,) = compare_principles({"fairness": better[::-1]})
    assert back.outcome == "worse"


def test_refusals_may_rise_a_little_but_not_much() -> None:
    few = refusals_not_inferior([True] * 3 + [False] * 97, [True] * 4 + [False] * 96)
    assert (few.base, few.trained, few.difference, few.holds) == (0.03, 0.04, pytest.approx(0.01), True)
    many = refusals_not_inferior([False] * 100, [True] * 8 + [False] * 92)
    assert not many.holds
    unknown = refusals_not_inferior([None], [True])
    assert (unknown.n, unknown.excluded, unknown.holds) == (0, 1, False)


def test_few_benign_prompts_cannot_show_that_nothing_is_lost() -> None:
    assert not refusals_not_inferior([False] * 10, [False] * 10).holds
    assert not scores_not_inferior([0.0] * 10, [0.0] * 10).holds


def test_a_hundred_clean_benign_prompts_are_enough_on_any_scale() -> None:
    assert scores_not_inferior([0.0] * 100, [0.0] * 100, largest=4.0).holds
    assert scores_not_inferior([0.0] * 100, [0.0] * 99 + [1.0], largest=4.0).holds
    assert not scores_not_inferior([0.0] * 100, [0.0] * 95 + [1.0] * 5, largest=4.0).holds


def test_eight_of_forty_prompts_that_became_clean_are_a_change_on_any_scale() -> None:
    result = compare_scores([1.0] * 8 + [0.0] * 32, [0.0] * 40, largest=4.0)
    assert result.significant
    assert not compare_scores([1.0] * 5 + [0.0] * 35, [0.0] * 40, largest=4.0).significant


def test_a_quality_that_fell_is_inferior_whichever_way_it_is_counted() -> None:
    chance = random.Random(51)
    base = [chance.uniform(0.4, 0.9) for _ in range(80)]
    fallen = [one - chance.uniform(0.05, 0.2) for one in base]
    assert not scores_not_inferior(base, fallen, higher_is_better=True).holds
    assert scores_not_inferior(base, fallen, higher_is_better=False).holds
    same = [one + chance.uniform(-0.05, 0.05) for one in base]
    assert scores_not_inferior(base, same, higher_is_better=True).holds
