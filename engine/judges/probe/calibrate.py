"""Calibration: combines the probe's logit with the rules' evidence into a probability; chooses the thresholds and the
abstain band.

Everything here is fitted on out-of-fold logits: of texts that the linear probe was not fitted on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FALSE_POSITIVE_RATE = 0.044
"""Share of clean texts that may be flagged, for any principle, when thresholds are chosen."""
ABSTAIN_RATE = 0.04
"""Share of texts that the abstain band below the thresholds may contain."""
_L2_STRENGTH = 100.0
_NEWTON_STEPS = 50


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def logistic_regression(x: Floats, target: Floats, weights: Floats, strength: float = _L2_STRENGTH) -> Floats:
    """Minimize sum(weights * log loss) + |coefficients|^2 / (2 * strength) by Newton's method with step halving.

    Args:
        x: [n, d]; few columns, since each step solves a system of d + 1 unknowns.
        target: [n], 0 to 1.
        weights: [n], non-negative.
        strength: inverse of the L2 penalty; the intercept is not penalized.

    Returns:
        [d + 1], the coefficients and the intercept. The problem is strictly convex, so the start does not matter.
    """
    design = np.column_stack([x, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1], 1.0 / strength), 0.0)

    def loss(at: Floats) -> float:
        z = design @ at
        return float(weights @ (np.logaddexp(0.0, z) - target * z) + penalty @ at**2 / 2)

    found = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(design @ found)
        gradient = design.T @ (weights * (p - target)) + penalty * found
        hessian = (design.T * (weights * p * (1.0 - p))) @ design + np.diag(penalty + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        while loss(found - step) > loss(found) and np.abs(step).max() > 1e-12:
            step = step / 2
        found = found - step
        if np.abs(step).max() < 1e-9:
            break
    return found


def fit_combination(logits: Floats, evidence: Floats, labels: Floats, weights: Floats) -> tuple[float, float, float]:
    """Coefficients of the probe's logit and of the rules' evidence, and the intercept; no negative coefficient.

    All arrays are [n]. A coefficient that would be negative (a signal that speaks against itself on these rows) is 0.
    """
    signals = np.stack([logits, evidence], 1)
    used = [0, 1] if np.ptp(evidence) > 0 else [0]
    while True:
        fitted = logistic_regression(signals[:, used], labels, weights)
        if not used or (fitted[:-1] >= 0).all():
            break
        used.pop(int(np.argmin(fitted[:-1])))
    scales = [0.0, 0.0]
    for column, value in zip(used, fitted, strict=False):
        scales[column] = float(value)
    return scales[0], scales[1], float(fitted[-1])


def choose_thresholds(probabilities: Floats, clean: Bools) -> Floats:
    """One threshold per principle: each flags the same share of clean texts, so that together they flag at most
    `FALSE_POSITIVE_RATE` of them.

    Args:
        probabilities: [n, principles].
        clean: [n], the rows to choose by.
    """
    rows = probabilities[clean]
    if not len(rows):
        return np.full(probabilities.shape[1], 0.5)

    def at(share: float) -> Floats:
        return np.asarray(np.quantile(rows, 1 - share, axis=0, method="higher")) + 1e-6

    share = _largest(lambda s: float((rows >= at(s)).any(1).mean()) <= FALSE_POSITIVE_RATE, 0.0, 0.2)
    return np.asarray(np.round(np.clip(at(share), 0.3, 0.97), 4), dtype=np.float64)


def abstain_below(probabilities: Floats, thresholds: Floats) -> Floats:
    """Lower ends of the abstain bands: as far below each threshold as leaves `ABSTAIN_RATE` of the texts undecided."""
    flagged = (probabilities >= thresholds).any(1)

    def share(width: float) -> float:
        return float(((probabilities >= thresholds - width).any(1) & ~flagged).mean())

    width = _largest(lambda w: share(w) <= ABSTAIN_RATE, 0.0, 0.25)
    return np.asarray(np.round(np.maximum(thresholds - width, 0.05), 4), dtype=np.float64)


def platt_scaling(logits: Floats, labels: Floats, weights: Floats) -> tuple[float, float]:
    """Scale and offset that turn a logit into a probability (Platt 1999)."""
    scale, _, offset = fit_combination(logits, np.zeros_like(logits), labels, weights)
    return scale, offset


def combined_probability(logits: Floats, evidence: Floats, scales: tuple[float, float, float]) -> Floats:
    """Apply what `fit_combination` returned."""
    return sigmoid(scales[0] * logits + scales[1] * evidence + scales[2])


def _largest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest value up to `high` for which a monotone condition holds (bisection)."""
    if holds(high):
        return high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
