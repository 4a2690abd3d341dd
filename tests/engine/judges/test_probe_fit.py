"""Fitting probes: folds stay apart, probes generalize to unseen rows, results are deterministic."""

from __future__ import annotations

import dataclasses
from collections import Counter

import madeup as made
import numpy as np
import pytest

from engine.judges.eval import metrics
from engine.judges.labeled import OUTPUTS, LabeledText, own_examples
from engine.judges.probe import calibrate, fit, ridge
from engine.judges.probe.probe import Probe


def test_groups_are_never_split_and_folds_are_balanced() -> None:
    rows = own_examples()
    halves, folds = fit.assign_folds(rows)
    places: dict[str, set[tuple[int, int]]] = {}
    for row, half, fold in zip(rows, halves, folds, strict=True):
        places.setdefault(row.topic, set()).add((int(half), int(fold)))
    assert all(len(found) == 1 for found in places.values())
    assert Counter(found.pop() for found in places.values()) == {(h, f): 2 for h in (0, 1) for f in range(fit.FOLDS)}


def test_single_texts_are_stratified_and_equal_texts_stay_together() -> None:
    rows = made.labeled(200)
    twice = (*rows, dataclasses.replace(rows[7], id="again", prompt="another"))
    halves, folds = fit.assign_folds(twice)
    assert (halves[7], folds[7]) == (halves[-1], folds[-1])
    for label in (True, False):
        part = np.array([row.label is label for row in rows])
        assert Counter(zip(halves[:-1][part].tolist(), folds[:-1][part].tolist(), strict=True)) == {
            (h, f): 10 for h in (0, 1) for f in range(fit.FOLDS)
        }


def test_folds_do_not_depend_on_the_order_of_the_rows() -> None:
    rows = made.labeled(60)
    halves, folds = fit.assign_folds(rows)
    again_halves, again_folds = fit.assign_folds(rows[::-1])
    assert (halves == again_halves[::-1]).all()
    assert (folds == again_folds[::-1]).all()


def test_a_probe_separates_unseen_rows_of_each_principle() -> None:
    probe = whole(made.rows(seed=1))
    new = made.rows(seed=2)
    logits = probe.logits(new.values)
    for place, principle in enumerate(made.PRINCIPLES):
        about = np.array([row.principle == principle for row in new.texts])
        assert metrics.auroc(logits[about, place], new.labels[about]) > 0.88


def test_the_rows_of_a_set_weigh_what_its_set_does_for_each_use() -> None:
    rows = dataclasses.replace(made.rows(8), set_weights={"made": fit.SetWeight(0.2, 1.0, 0.5)})
    about = np.array([row.principle == made.PRINCIPLES[0] for row in rows.texts])
    clean = ~about & ~rows.labels
    weights: dict[fit.Use, float] = {"in_domain": 0.2, "out_of_domain": 1.0, "calibration": 0.5}
    for use, weight in weights.items():
        expected = np.where(about, weight, np.where(clean, weight * fit.OTHER_NEGATIVE_WEIGHT, 0.0))
        assert rows.sample_weights(made.PRINCIPLES[0], use) == pytest.approx(expected)


def test_answers_of_models_are_one_domain_and_other_texts_another() -> None:
    answers, other = made.rows(120, set_name=OUTPUTS), made.rows(120, set_name="forum")
    together = dataclasses.replace(
        answers,
        texts=answers.texts + other.texts,
        values=np.concatenate([answers.values, other.values]),
        evidence=np.concatenate([answers.evidence, other.evidence]),
        halves=np.concatenate([answers.halves, other.halves]),
        folds=np.concatenate([answers.folds, other.folds]),
    )
    probes_by_domain, domain = 2 * len(made.PRINCIPLES), 1
    assert fit.MemberFit.of(together).duals[frozenset()].shape[1] == probes_by_domain + domain
    assert fit.MemberFit.of(answers).duals[frozenset()].shape[1] == len(made.PRINCIPLES)


def test_unseen_rows_get_calibrated_probabilities_and_few_false_alarms() -> None:
    probe = whole(made.rows(800, seed=3, signal=1.5))
    new = made.rows(800, seed=4, signal=1.5)
    chance = probe.combined(probe.logits(new.values), new.evidence)
    assert metrics.ece(chance.max(1), new.labels) < 0.1
    limits = np.array([c.threshold for c in probe.calibrations])
    assert (chance[~new.labels] >= limits).any(1).mean() < 0.09
    assert all(c.low < c.threshold for c in probe.calibrations)


def test_labels_without_signal_give_no_confidence() -> None:
    probe = whole(made.rows(400, signal=0.0, seed=5))
    new = made.rows(400, signal=0.0, seed=6, set_name="unheard")
    chance = probe.combined(probe.logits(new.values), new.evidence).max(1)
    assert abs(metrics.auroc(chance, new.labels) - 0.5) < 0.08
    assert 0.3 < chance.min() <= chance.max() < 0.7


def test_rule_evidence_never_lowers_the_probability() -> None:
    rows = made.rows(400, signal=0.7, seed=7)
    evidence = rows.evidence.copy()
    evidence[rows.labels & (np.arange(400) % 3 == 0)] = 2.0
    probe = whole(dataclasses.replace(rows, evidence=evidence))
    logits = np.zeros((1, 2))
    silent, speaking = probe.combined(logits, np.zeros((1, 2))), probe.combined(logits, np.full((1, 2), 2.0))
    assert (speaking > silent).all()
    against = rows.evidence.copy()
    against[~rows.labels] = 2.0
    deceived = whole(dataclasses.replace(rows, evidence=against))
    assert all(c.rules == 0 for c in deceived.calibrations)


def test_the_two_halves_share_no_row_and_twins_do_not_see_their_fold() -> None:
    rows = made.rows(240, seed=8)
    probes, fold_models = fit.fit_members(rows, rows)
    assert set(probes) == set(fold_models) == {"whole", "a", "b"}
    # Turning the labels of one half, or of one fold, round changes what saw it and nothing else.
    labels = [dataclasses.replace(r, label=not r.label) if h == 0 else r for r, h in _with(rows, rows.halves)]
    turned, _ = fit.fit_members(*2 * (dataclasses.replace(rows, texts=tuple(labels)),))
    assert not np.array_equal(turned["a"].weight, probes["a"].weight)
    assert np.array_equal(turned["b"].weight, probes["b"].weight)
    labels = [dataclasses.replace(r, label=not r.label) if f == 3 else r for r, f in _with(rows, rows.folds)]
    _, changed_fold_models = fit.fit_members(*2 * (dataclasses.replace(rows, texts=tuple(labels)),))
    for member in fold_models:
        same = [
            np.array_equal(a.weight, b.weight)
            for a, b in zip(changed_fold_models[member], fold_models[member], strict=True)
        ]
        assert same == [False, False, False, True, False]


def test_the_halves_are_fitted_on_their_own_rows_alone() -> None:
    more, rows = made.rows(240), made.rows(160)
    probes, _ = fit.fit_members(more, rows)
    same, _ = fit.fit_members(rows, rows)
    assert (probes["a"].weight == same["a"].weight).all()
    assert (probes["b"].weight == same["b"].weight).all()
    assert (
        probes["whole"].weight.shape != same["whole"].weight.shape
        or (probes["whole"].weight != same["whole"].weight).any()
    )


def test_the_same_rows_give_the_same_probes() -> None:
    first, again = whole(made.rows(seed=9)), whole(made.rows(seed=9))
    assert np.array_equal(first.weight, again.weight)
    assert np.array_equal(first.bias, again.bias)
    assert first.calibrations == again.calibrations


def test_ridge_solves_the_normal_equations() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 4))
    target, weights = random.normal(size=30), random.uniform(0.5, 2, size=30)
    shares = ridge.solve(x @ x.T, target, weights, 0.7).dual
    one = np.concatenate([x, np.ones((30, 1))], 1)
    expected = np.linalg.solve(one.T @ (weights[:, None] * one) + 0.7 * np.eye(5), one.T @ (weights * target))
    assert x.T @ shares == pytest.approx(expected[:4], abs=1e-9)
    assert shares.sum() == pytest.approx(expected[4], abs=1e-9)
    assert ridge.predict(x @ x.T, shares) == pytest.approx(one @ expected, abs=1e-9)


def test_a_leave_out_solution_equals_a_refit() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(40, 6))
    target, weights = random.normal(size=40), random.uniform(0, 2, size=40)
    weights[::7] = 0.0
    gone = np.arange(40) % 5 == 2
    solution = ridge.solve(x @ x.T, target, weights, 0.3)
    found = solution.without(gone)
    expected = ridge.solve(x @ x.T, target, np.where(gone, 0.0, weights), 0.3).dual
    assert found == pytest.approx(expected, abs=1e-9)
    assert not found[gone].any()
    assert np.array_equal(solution.without(np.full(40, False)), solution.dual)


def test_thresholds_give_the_target_false_positive_rate() -> None:
    random = np.random.default_rng(1)
    chance = random.uniform(high=0.9, size=(2000, 3))
    clean = np.ones(2000, dtype=bool)
    limits = calibrate.choose_thresholds(chance, clean)
    assert (chance >= limits).any(1).mean() == pytest.approx(calibrate.FALSE_POSITIVE_RATE, abs=0.005)
    assert calibrate.choose_thresholds(chance, ~clean).tolist() == [0.5, 0.5, 0.5]


def test_the_abstain_band_contains_few_texts() -> None:
    random = np.random.default_rng(2)
    chance = random.uniform(size=(2000, 2))
    limits = np.array([0.9, 0.9])
    lows = calibrate.abstain_below(chance, limits)
    inside = (chance >= lows).any(1) & ~(chance >= limits).any(1)
    assert 0 < inside.mean() <= calibrate.ABSTAIN_RATE
    assert (lows < limits).all()


def test_platt_scaling_recovers_the_frequencies() -> None:
    random = np.random.default_rng(3)
    truth = random.normal(size=6000) * 2
    labels = (random.uniform(size=6000) < 1 / (1 + np.exp(-truth))).astype(float)
    scale, offset = calibrate.platt_scaling(truth * 5 - 3, labels, np.ones(6000))
    assert scale == pytest.approx(0.2, abs=0.02)
    assert offset == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(
    ("count", "columns", "seed", "expected"),
    [
        (40, 1, 0, [1.846219, -0.614847]),
        (200, 1, 1, [0.997329, -0.67499]),
        (5000, 2, 3, [1.44497, -0.449671, -0.767214]),
        (60, 0, 4, [-0.837785]),
    ],
)
def test_newton_gives_the_coefficients_of_the_former_optimizer(
    count: int, columns: int, seed: int, expected: list[float]
) -> None:
    """Recorded from the L-BFGS implementation that fitted the shipped probes, whose numbers have four digits."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, max(1, columns)))
    logits = x @ np.linspace(1.5, -0.5, max(1, columns)) - 0.8
    target = (random.random(count) < 1 / (1 + np.exp(-logits))).astype(float)
    weights = random.uniform(0.3, 6, count)
    found = calibrate.logistic_regression(x[:, :columns], target, weights, strength=100.0)
    assert found == pytest.approx(expected, abs=1e-4)


def test_newton_converges_on_separable_and_on_constant_labels() -> None:
    x = np.linspace(-50, 50, 50)[:, None]
    separable = calibrate.logistic_regression(x, (x[:, 0] > 0).astype(float), np.ones(50))
    assert separable == pytest.approx([3.86868, 0], abs=1e-4)
    constant = calibrate.logistic_regression(x, np.ones(50), np.ones(50))
    assert np.isfinite(constant).all()
    assert constant[0] == pytest.approx(0, abs=1e-6)
    assert constant[1] > 10


def test_a_signal_that_speaks_against_itself_gets_no_weight() -> None:
    random = np.random.default_rng(6)
    labels = np.repeat([0.0, 1.0], 100)
    useful, reversed_signal = labels + random.normal(size=200), -labels + random.normal(size=200)
    weights = np.ones(200)
    assert calibrate.fit_combination(useful, reversed_signal, labels, weights)[1] == 0
    assert calibrate.fit_combination(reversed_signal, useful, labels, weights)[0] == 0
    both = calibrate.fit_combination(reversed_signal, reversed_signal, labels, weights)
    assert both == pytest.approx((0, 0, 0), abs=1e-9)


def whole(rows: fit.TrainingRows) -> Probe:
    return fit.MemberFit.of(rows).probe("whole")


def _with(rows: fit.TrainingRows, places: fit.Ints) -> list[tuple[LabeledText, int]]:
    return list(zip(rows.texts, places.tolist(), strict=True))
