"""Straight lines through many features by penalised least squares, which is exact, quick and the same each time.

Least squares on labels of -1 and 1 ranks as well as logistic regression (Rifkin, Yeo & Poggio 2003) and needs one
linear system of as many unknowns as there are rows, whatever the number of features. From its inverse follow the lines
without some of the rows, so that cross-validation costs little more than one fit. Knows numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Solution:
    """The line that minimises sum(weights * (target - line)^2) + penalty * |line|^2, the constant being one more
    feature that is 1 for every row; as what each row adds to it.

    Args:
        inverse: [used, used], of the system.
        used: places of the rows that count for something.
        shares: [rows], 0 for those that count for nothing: the line is features.T @ them, the constant is their sum.
    """

    inverse: Floats
    used: NDArray[np.intp]
    shares: Floats

    def without(self, gone: Bools) -> Floats:
        """The shares [rows] of the line that these rows [rows] took no part in: exactly what a fit without them gives,
        by eliminating them from the inverse (a Schur complement)."""
        out = gone[self.used]
        kept = self.shares[self.used]
        if out.any():
            kept = kept - self.inverse[:, out] @ np.linalg.solve(self.inverse[np.ix_(out, out)], kept[out])
            kept[out] = 0.0
        shares = np.zeros_like(self.shares)
        shares[self.used] = kept
        return shares


def solve(products: Floats, target: Floats, weights: Floats, penalty: float) -> Solution:
    """Fit a line.

    Args:
        products: [rows, rows], each row's features times each other's.
        target, weights: [rows]; a row of weight 0 takes no part.
    """
    used = np.flatnonzero(weights > 0)
    system = products[np.ix_(used, used)] + 1.0
    system[np.diag_indices(len(used))] += penalty / weights[used]
    inverse = np.asarray(np.linalg.inv(system), dtype=np.float64)
    shares = np.zeros(len(target))
    shares[used] = inverse @ target[used]
    return Solution(inverse, used, shares)


def predicted(products: Floats, shares: Floats) -> Floats:
    """What a line says of rows whose features times those of the fitted rows are `products` [n, rows]; [n]."""
    return np.asarray(products @ shares + shares.sum())
