"""Kernel ridge regression: exact, fast, deterministic, with closed-form leave-out solutions.

Least squares on labels of -1 and 1 ranks as well as logistic regression (Rifkin, Yeo & Poggio 2003) and needs one
linear system of as many unknowns as rows, whatever the number of features. The solutions without some of the rows
follow from its inverse, so cross-validation costs little more than one fit. Knows numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Solution:
    """The minimum of sum(weights * (target - prediction)^2) + alpha * |coefficients|^2 in dual form. The intercept is
    the coefficient of a feature that is 1 for every row.

    Args:
        inverse: [used, used], of the system.
        used: indices of the rows of non-zero weight.
        dual: [rows], dual coefficients, 0 for rows of weight 0: the weight vector is features.T @ dual, the intercept
            is their sum.
    """

    inverse: Floats
    used: NDArray[np.intp]
    dual: Floats

    def without(self, left_out: Bools) -> Floats:
        """Dual coefficients [rows] of the fit without the rows of a mask [rows]: exactly what a refit returns, by
        eliminating them from the inverse (a Schur complement)."""
        out = left_out[self.used]
        kept = self.dual[self.used]
        if out.any():
            kept = kept - self.inverse[:, out] @ np.linalg.solve(self.inverse[np.ix_(out, out)], kept[out])
            kept[out] = 0.0
        dual = np.zeros_like(self.dual)
        dual[self.used] = kept
        return dual


def solve(gram: Floats, target: Floats, weights: Floats, alpha: float) -> Solution:
    """Fit.

    Args:
        gram: [rows, rows], inner products of the rows' features.
        target, weights: [rows]; a row of weight 0 is ignored.
        alpha: L2 penalty.
    """
    used = np.flatnonzero(weights > 0)
    system = gram[np.ix_(used, used)] + 1.0
    system[np.diag_indices(len(used))] += alpha / weights[used]
    inverse = np.asarray(np.linalg.inv(system), dtype=np.float64)
    dual = np.zeros(len(target))
    dual[used] = inverse @ target[used]
    return Solution(inverse, used, dual)


def predict(gram: Floats, dual: Floats) -> Floats:
    """Predictions [n] for rows whose inner products with the training rows are `gram` [n, rows]."""
    return np.asarray(gram @ dual + dual.sum())
