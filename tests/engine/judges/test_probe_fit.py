"""Fitting: what is divided stays apart, what is learned holds on rows that were not seen, the same each time."""

from __future__ import annotations

import dataclasses
from collections import Counter

import madeup as made
import numpy as np
import pytest

from engine.judges.eval import metrics
from engine.judges.labeled import Labelled, own_examples
from engine.judges.probe import calibrate, fit, ridge
from engine.judges.probe.probe import Probe


def test_groups_are_never_divided_and_every_part_has_its_share() -> None:
    rows = own_examples()
    halves, folds = fit.divide(rows)
    places: dict[str, set[tuple[int, int]]] = {}
    for row, half, fold in zip(rows, halves, folds, strict=True):
        places.setdefault(row.topic, set()).add((int(half), int(fold)))
    assert all(len(found) == 1 for found in places.values())
    assert Counter(found.pop() for found in places.values()) == {(h, f): 2 for h in (0, 1) for f in range(fit.FOLDS)}


def test_single_texts_are_dealt_evenly_by_label_and_the_same_text_stays_together() -> None:
    rows = made.labelled(200)
    twice = (*rows, dataclasses.replace(rows[7], id="again", prompt="another"))
    halves, folds = fit.divide(twice)
    assert (halves[7], folds[7]) == (halves[-1], folds[-1])
    for label in (True, False):
        part = np.array([row.label is label for row in rows])
        assert Counter(zip(halves[:-1][part].tolist(), folds[:-1][part].tolist(), strict=True)) == {
            (h, f): 10 for h in (0, 1) for f in range(fit.FOLDS)
        }


def test_where_a_row_falls_does_not_depend_on_the_order_of_the_file() -> None:
    rows = made.labelled(60)
    halves, folds = fit.divide(rows)
    again_halves, again_folds = fit.divide(rows[::-1])
    assert (halves == again_halves[::-1]).all()
    assert (folds == again_folds[::-1]).all()


def test_a_probe_tells_new_rows_and_each_principle_its_own() -> None:
    probe = whole(made.rows(seed=1))
    new = made.rows(seed=2)
    logits = probe.logits(new.values)
    for place, principle in enumerate(made.PRINCIPLES):
        about = np.array([row.principle == principle for row in new.labelled])
        assert metrics.auroc(logits[about, place], new.labels[about]) > 0.88


def test_probabilities_of_new_rows_are_calibrated_and_few_clean_ones_are_flagged() -> None:
    probe = whole(made.rows(800, seed=3, signal=1.5))
    new = made.rows(800, seed=4, signal=1.5)
    chance = probe.combined(probe.logits(new.values), new.evidence)
    assert metrics.ece(chance.max(1), new.labels) < 0.1
    limits = np.array([c.threshold for c in probe.combinations])
    assert (chance[~new.labels] >= limits).any(1).mean() < 0.09
    assert all(c.low < c.threshold for c in probe.combinations)


def test_labels_that_nothing_tells_give_no_confidence() -> None:
    probe = whole(made.rows(400, signal=0.0, seed=5))
    new = made.rows(400, signal=0.0, seed=6, set_name="unheard")
    chance = probe.combined(probe.logits(new.values), new.evidence).max(1)
    assert abs(metrics.auroc(chance, new.labels) - 0.5) < 0.08
    assert 0.3 < chance.min() <= chance.max() < 0.7


def test_rules_that_speak_raise_the_probability_and_never_lower_it() -> None:
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
    assert all(c.rules == 0 for c in deceived.combinations)


def test_the_two_halves_share_no_row_and_twins_do_not_see_their_fold() -> None:
    rows = made.rows(240, seed=8)
    probes, twins = fit.fit_members(rows)
    assert set(probes) == set(twins) == {"whole", "a", "b"}
    # Turning the labels of one half, or of one fold, round changes what saw it and nothing else.
    labels = [dataclasses.replace(r, label=not r.label) if h == 0 else r for r, h in _with(rows, rows.halves)]
    turned, _ = fit.fit_members(dataclasses.replace(rows, labelled=tuple(labels)))
    assert not np.array_equal(turned["a"].weight, probes["a"].weight)
    assert np.array_equal(turned["b"].weight, probes["b"].weight)
    labels = [dataclasses.replace(r, label=not r.label) if f == 3 else r for r, f in _with(rows, rows.folds)]
    _, turned_twins = fit.fit_members(dataclasses.replace(rows, labelled=tuple(labels)))
    for member in twins:
        same = [np.array_equal(a.weight, b.weight) for a, b in zip(turned_twins[member], twins[member], strict=True)]
        assert same == [False, False, False, True, False]


def test_the_same_rows_give_the_same_probes() -> None:
    first, again = whole(made.rows(seed=9)), whole(made.rows(seed=9))
    assert np.array_equal(first.weight, again.weight)
    assert np.array_equal(first.bias, again.bias)
    assert first.combinations == again.combinations


def test_a_line_is_the_one_of_the_normal_equations() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 4))
    target, weights = random.normal(size=30), random.uniform(0.5, 2, size=30)
    shares = ridge.solve(x @ x.T, target, weights, 0.7).shares
    one = np.concatenate([x, np.ones((30, 1))], 1)
    expected = np.linalg.solve(one.T @ (weights[:, None] * one) + 0.7 * np.eye(5), one.T @ (weights * target))
    assert x.T @ shares == pytest.approx(expected[:4], abs=1e-9)
    assert shares.sum() == pytest.approx(expected[4], abs=1e-9)
    assert ridge.predicted(x @ x.T, shares) == pytest.approx(one @ expected, abs=1e-9)


def test_a_line_without_some_rows_is_the_one_that_is_fitted_without_them() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(40, 6))
    target, weights = random.normal(size=40), random.uniform(0, 2, size=40)
    weights[::7] = 0.0
    gone = np.arange(40) % 5 == 2
    solution = ridge.solve(x @ x.T, target, weights, 0.3)
    found = solution.without(gone)
    expected = ridge.solve(x @ x.T, target, np.where(gone, 0.0, weights), 0.3).shares
    assert found == pytest.approx(expected, abs=1e-9)
    assert not found[gone].any()
    assert np.array_equal(solution.without(np.full(40, False)), solution.shares)


def test_thresholds_let_the_wanted_share_of_clean_texts_through() -> None:
    random = np.random.default_rng(1)
    chance = random.uniform(high=0.9, size=(2000, 3))
    clean = np.ones(2000, dtype=bool)
    limits = calibrate.thresholds(chance, clean)
    assert (chance >= limits).any(1).mean() == pytest.approx(calibrate.FALSE_ALARMS, abs=0.005)
    assert calibrate.thresholds(chance, ~clean).tolist() == [0.5, 0.5, 0.5]


def test_the_band_below_the_thresholds_holds_few_texts() -> None:
    random = np.random.default_rng(2)
    chance = random.uniform(size=(2000, 2))
    limits = np.array([0.9, 0.9])
    lows = calibrate.bands(chance, limits)
    inside = (chance >= lows).any(1) & ~(chance >= limits).any(1)
    assert 0 < inside.mean() <= calibrate.UNDECIDED
    assert (lows < limits).all()


def test_platt_scaling_gives_the_frequencies_back() -> None:
    random = np.random.default_rng(3)
    truth = random.normal(size=6000) * 2
    labels = (random.uniform(size=6000) < 1 / (1 + np.exp(-truth))).astype(float)
    scale, offset = calibrate.platt(truth * 5 - 3, labels, np.ones(6000))
    assert scale == pytest.approx(0.2, abs=0.02)
    assert offset == pytest.approx(0.6, abs=0.1)


def whole(rows: fit.Rows) -> Probe:
    return fit.Lines.of(rows).probe("whole")


def _with(rows: fit.Rows, places: fit.Numbers) -> list[tuple[Labelled, int]]:
    return list(zip(rows.labelled, places.tolist(), strict=True))
