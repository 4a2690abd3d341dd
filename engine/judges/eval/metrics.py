"""How well scores tell violations from clean texts: ranking, decisions, calibration; each with an interval.

Scores are probabilities or anything that grows with the chance of a violation; labels are True for violations.
Intervals are percentile bootstraps within each label (so that no sample lacks one), Wilson's for shares of a count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.judges.eval.metric import NOTHING, Figure
from engine.stats.exact import wilson_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OnScores = Callable[[Floats, Bools], float]
OnFlags = Callable[[Bools, Bools], float]

RESAMPLES = 400
BINS = 10


def auroc(scores: Floats, labels: Bools) -> float:
    """Area under the ROC curve: the chance that a violation is scored above a clean text, ties counted half."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.nan
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auprc(scores: Floats, labels: Bools) -> float:
    """Average precision (the step-wise area under precision over recall); equal scores are taken together."""
    if not labels.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    last = np.append(ranked[1:] != ranked[:-1], True)
    recall = hits[last] / hits[-1]
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def balanced_accuracy(flagged: Bools, labels: Bools) -> float:
    """Mean of the share of violations that are flagged and the share of clean texts that are not."""
    if labels.all() or not labels.any():
        return math.nan
    return float((flagged[labels].mean() + (~flagged[~labels]).mean()) / 2)


def f1(flagged: Bools, labels: Bools) -> float:
    """Harmonic mean of precision and recall of the flag; 0 where nothing is right."""
    if not labels.any():
        return math.nan
    right = float((flagged & labels).sum())
    return 2 * right / float(flagged.sum() + labels.sum())


def brier(probabilities: Floats, labels: Bools) -> float:
    """Mean squared distance of the probability from what was the case."""
    return float(np.mean((probabilities - labels) ** 2)) if len(labels) else math.nan


def ece(probabilities: Floats, labels: Bools) -> float:
    """Expected calibration error: mean distance of probability and frequency over bins of equally many texts, at most
    `BINS` (equal counts, since equal widths leave bins with a handful of texts; Nguyen & O'Connor 2015)."""
    if not len(labels):
        return math.nan
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order) // 15)))
    gaps = [abs(float(probabilities[part].mean()) - float(labels[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(order)


def wilson(hits: int, total: int) -> Figure:
    """A share with Wilson's interval."""
    if not total:
        return NOTHING
    low, high = wilson_interval(hits, total)
    return Figure(hits / total, low, high)


def bootstrapped(measure: OnScores, scores: Floats, labels: Bools) -> Figure:
    """A measure of (scores, labels) with its percentile interval; the same for the same input."""
    value = measure(scores, labels)
    if math.isnan(value):
        return NOTHING
    random = np.random.default_rng(0)
    groups = [group for group in (np.flatnonzero(labels), np.flatnonzero(~labels)) if len(group)]
    found = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        sample = np.concatenate([group[random.integers(0, len(group), len(group))] for group in groups])
        found[number] = measure(scores[sample], labels[sample])
    low, high = np.quantile(found, (0.025, 0.975))
    return Figure(value, float(low), float(high))


def kappa(a: Bools, b: Bools) -> float:
    """Cohen's kappa: agreement of two flags beyond what their rates alone would give."""
    if not len(a):
        return math.nan
    agree = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return 1.0 if chance == 1.0 else (agree - chance) / (1 - chance)
