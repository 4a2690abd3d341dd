"""From evidence to probabilities and decisions: combination of probe and rules, thresholds, where nothing is decided.

Everything here is fitted on scores of texts that the scoring line was not fitted on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.judges.probe.logistic import fit_line, sigmoid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FALSE_ALARMS = 0.044
"""Share of clean texts that may be flagged, for any principle, where thresholds are chosen."""
UNDECIDED = 0.04
"""Share of texts that the band below the thresholds may hold."""


def combine(logits: Floats, evidence: Floats, labels: Floats, weights: Floats) -> tuple[float, float, float]:
    """Scale of the probe's logit, scale of the rules' evidence, offset: logistic regression, no scale below 0.

    All arrays are [n]. A scale that would be negative (a signal that speaks against itself on these rows) is 0.
    """
    signals = np.stack([logits, evidence], 1)
    used = [0, 1] if np.ptp(evidence) > 0 else [0]
    while used:
        line = fit_line(signals[:, used].astype(np.float32), labels, weights, strength=100.0)
        if (line.weight >= 0).all():
            break
        used.pop(int(np.argmin(line.weight)))
    else:
        line = fit_line(np.zeros((len(labels), 1), np.float32), labels, weights, strength=100.0)
    scales = [0.0, 0.0]
    for place, value in zip(used, line.weight, strict=False):
        scales[place] = float(value)
    return scales[0], scales[1], line.bias


def thresholds(probabilities: Floats, clean: Bools) -> Floats:
    """One threshold a principle, each letting the same share of clean texts through, so that together they raise a
    false alarm on at most `FALSE_ALARMS` of them.

    Args:
        probabilities: [n, principles].
        clean: [n], which rows to choose by.
    """
    rows = probabilities[clean]
    if not len(rows):
        return np.full(probabilities.shape[1], 0.5)

    def at(share: float) -> Floats:
        return np.asarray(np.quantile(rows, 1 - share, axis=0, method="higher")) + 1e-6

    share = _largest(lambda s: float((rows >= at(s)).any(1).mean()) <= FALSE_ALARMS, 0.0, 0.2)
    return np.asarray(np.round(np.clip(at(share), 0.3, 0.97), 4), dtype=np.float64)


def bands(probabilities: Floats, limits: Floats) -> Floats:
    """Where nothing is decided begins: as far below each threshold as leaves `UNDECIDED` of the texts undecided."""
    flagged = (probabilities >= limits).any(1)

    def share(width: float) -> float:
        return float(((probabilities >= limits - width).any(1) & ~flagged).mean())

    width = _largest(lambda w: share(w) <= UNDECIDED, 0.0, 0.25)
    return np.asarray(np.round(np.maximum(limits - width, 0.05), 4), dtype=np.float64)


def platt(logits: Floats, labels: Floats, weights: Floats) -> tuple[float, float]:
    """Scale and offset that make a logit a probability (Platt 1999)."""
    scale, _, offset = combine(logits, np.zeros_like(logits), labels, weights)
    return scale, offset


def probability(logits: Floats, evidence: Floats, scales: tuple[float, float, float]) -> Floats:
    """What `combine` found, applied."""
    return sigmoid(scales[0] * logits + scales[1] * evidence + scales[2])


def _largest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest value up to `high` for which a condition that only fails from some point on holds (bisection)."""
    if holds(high):
        return high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
