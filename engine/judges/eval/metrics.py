"""Metrics of binary classification: ranking, decisions, calibration; with intervals.

Scores are probabilities or anything that grows with the probability of a violation; labels are True for violations.
Intervals are stratified percentile bootstraps (so that no sample lacks a label), Wilson's for proportions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.judges.accuracy import NOT_MEASURED, Estimate
from engine.stats.exact import wilson_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OnScores = Callable[[Floats, Bools], float]
OnFlags = Callable[[Bools, Bools], float]

RESAMPLES = 400
BINS = 10


def auroc(scores: Floats, labels: Bools) -> float:
    """Area under the ROC curve: the probability that a violation is scored above a clean text, ties count half."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.nan
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auprc(scores: Floats, labels: Bools) -> float:
    """Average precision (the step-wise area under precision over recall); equal scores are grouped."""
    if not labels.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    last = np.append(ranked[1:] != ranked[:-1], True)
    recall = hits[last] / hits[-1]
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def balanced_accuracy(flagged: Bools, labels: Bools) -> float:
    """Mean of recall and specificity."""
    if labels.all() or not labels.any():
        return math.nan
    return float((flagged[labels].mean() + (~flagged[~labels]).mean()) / 2)


def f1(flagged: Bools, labels: Bools) -> float:
    """Harmonic mean of precision and recall; 0 without a true positive."""
    if not labels.any():
        return math.nan
    right = float((flagged & labels).sum())
    return 2 * right / float(flagged.sum() + labels.sum())


def brier(probabilities: Floats, labels: Bools) -> float:
    """Mean squared error of the probability."""
    return float(np.mean((probabilities - labels) ** 2)) if len(labels) else math.nan


def ece(probabilities: Floats, labels: Bools) -> float:
    """Expected calibration error: mean distance of probability and frequency over at most `BINS` bins of equal count
    (equal widths would leave bins with a handful of texts; Nguyen & O'Connor 2015)."""
    if not len(labels):
        return math.nan
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order) // 15)))
    gaps = [abs(float(probabilities[part].mean()) - float(labels[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(order)


def wilson(hits: int, total: int) -> Estimate:
    """A proportion with Wilson's interval."""
    if not total:
        return NOT_MEASURED
    low, high = wilson_interval(hits, total)
    return Estimate(hits / total, low, high)


def bootstrap(measure: OnScores, scores: Floats, labels: Bools) -> Estimate:
    """A metric of (scores, labels) with its percentile interval; deterministic."""
    value = measure(scores, labels)
    if math.isnan(value):
        return NOT_MEASURED
    random = np.random.default_rng(0)
    groups = [group for group in (np.flatnonzero(labels), np.flatnonzero(~labels)) if len(group)]
    found = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        sample = np.concatenate([group[random.integers(0, len(group), len(group))] for group in groups])
        found[number] = measure(scores[sample], labels[sample])
    low, high = np.quantile(found, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def kappa(a: Bools, b: Bools) -> float:
    """Cohen's kappa: agreement of two flags beyond chance."""
    if not len(a):
        return math.nan
    agree = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return 1.0 if chance == 1.0 else (agree - chance) / (1 - chance)
