"""The figures that say how good a judge is, against values worked out by hand and known formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.judges.accuracy import NOT_MEASURED, Estimate, EvalMetrics
from engine.judges.eval import metrics


def floats(*values: float) -> metrics.Floats:
    return np.array(values, dtype=np.float64)


def bools(text: str) -> metrics.Bools:
    """One label a character: "1" for a violation."""
    return np.array([c == "1" for c in text])


def test_auroc_is_the_share_of_pairs_in_order_with_ties_counted_half() -> None:
    assert metrics.auroc(floats(0.1, 0.4, 0.35, 0.8), bools("0011")) == pytest.approx(0.75)
    assert metrics.auroc(floats(0.5, 0.5, 0.5, 0.5), bools("0101")) == pytest.approx(0.5)
    assert metrics.auroc(floats(0.2, 0.7, 0.7), bools("011")) == 1.0
    assert metrics.auroc(floats(0.3, 0.3, 0.9), bools("010")) == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_equals_the_count_over_all_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, labels = floats(*(s for s, _ in rows)), np.array([label for _, label in rows])
    above, below = scores[labels], scores[~labels]
    found = metrics.auroc(scores, labels)
    if not len(above) or not len(below):
        assert math.isnan(found)
    else:
        wins = sum((a > b) + (a == b) / 2 for a in above for b in below)
        assert found == pytest.approx(wins / (len(above) * len(below)))


def test_auprc_is_average_precision() -> None:
    # Ranked 1 0 1 0: precision 1 at the first half of the recall, 2/3 at the second.
    assert metrics.auprc(floats(0.9, 0.8, 0.7, 0.6), bools("1010")) == pytest.approx((1 + 2 / 3) / 2)
    # Equal scores are taken together: whatever their order, precision 1/2.
    assert metrics.auprc(floats(0.5, 0.5), bools("10")) == metrics.auprc(floats(0.5, 0.5), bools("01")) == 0.5
    assert math.isnan(metrics.auprc(floats(0.5), bools("0")))


def test_balanced_accuracy_and_f1_by_hand() -> None:
    flagged, labels = bools("110100"), bools("111000")
    assert metrics.balanced_accuracy(flagged, labels) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert metrics.f1(flagged, labels) == pytest.approx(2 * 2 / (3 + 3))
    assert metrics.balanced_accuracy(bools("1111"), bools("1000")) == pytest.approx(0.5)
    assert metrics.f1(bools("00"), bools("11")) == 0.0
    assert math.isnan(metrics.balanced_accuracy(bools("11"), bools("11")))


def test_brier_is_the_mean_squared_error_of_the_probability() -> None:
    assert metrics.brier(floats(1.0, 0.0, 0.5), bools("100")) == pytest.approx(0.25 / 3)


def test_ece_is_the_gap_between_probability_and_frequency_in_bins_of_equal_counts() -> None:
    # Two bins of 15: said .2 where 3 of 15 are violations (no gap), said .9 where 9 of 15 are (gap .3).
    said = floats(*[0.2] * 15, *[0.9] * 15)
    was = np.array([True] * 3 + [False] * 12 + [True] * 9 + [False] * 6)
    assert metrics.ece(said, was) == pytest.approx(0.15)
    assert metrics.ece(floats(*[0.5] * 32), bools("10" * 16)) == pytest.approx(0.0)


def test_a_calibrated_score_has_a_small_ece_and_a_boasting_one_a_large() -> None:
    random = np.random.default_rng(1)
    chance = random.uniform(size=4000)
    labels = random.uniform(size=4000) < chance
    assert metrics.ece(chance, labels) < 0.03
    assert metrics.ece((chance > 0.5).astype(float), labels) > 0.2


def test_wilsons_interval_by_the_formula() -> None:
    found = metrics.wilson(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-6)
    assert metrics.wilson(0, 0) is NOT_MEASURED
    assert metrics.wilson(0, 20).low == 0.0


def test_kappa_is_agreement_beyond_chance() -> None:
    # 7 of 10 alike; by their rates alone (.5 and .6) 5 of 10 would be.
    assert metrics.kappa(bools("1111100000"), bools("1111010100")) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert metrics.kappa(bools("10"), bools("10")) == 1.0
    assert metrics.kappa(bools("00"), bools("00")) == 1.0


def test_an_interval_is_the_same_each_time_and_holds_its_value() -> None:
    random = np.random.default_rng(2)
    labels = random.uniform(size=200) < 0.5
    scores = random.normal(size=200) + labels
    first = metrics.bootstrap(metrics.auroc, scores, labels)
    assert first == metrics.bootstrap(metrics.auroc, scores, labels)
    assert first.low < first.value < first.high
    assert 0.08 < first.high - first.low < 0.2
    assert metrics.bootstrap(metrics.auroc, floats(1.0), bools("1")) is NOT_MEASURED


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    labels = np.repeat([False, True], 60)
    truth = 0.7602499  # normal distributions of variance 1, means 1 apart: Phi(1 / sqrt(2))
    inside = 0
    for _ in range(60):
        found = metrics.bootstrap(metrics.auroc, random.normal(size=120) + labels, labels)
        inside += found.low <= truth <= found.high
    assert inside >= 51  # 95 % expected; fewer than 51 of 60 has a chance below 1 in 1,000


def test_measures_survive_json_and_say_what_was_not_measured() -> None:
    measures = EvalMetrics(10, 4, {"auroc": Estimate(0.91234, 0.8, 1.0), "f1": NOT_MEASURED})
    data = measures.to_data()
    assert data == {"texts": 10, "violations": 4, "auroc": [0.9123, 0.8, 1.0]}
    again = EvalMetrics.from_data(data)
    assert again["auroc"] == Estimate(0.9123, 0.8, 1.0)
    assert not again["f1"].known
    assert str(again["auroc"]) == ".91 [.80, 1.0]"
    assert str(again["f1"]) == "–"
