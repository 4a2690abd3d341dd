"""Straight lines through many features by penalised least squares, which is exact, quick and the same each time.

Least squares on labels of -1 and 1 ranks as well as logistic regression (Rifkin, Yeo & Poggio 2003) and needs one
linear system of as many unknowns as there are rows, whatever the number of features. Knows numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Scaled:
    """Features with a mean of 0 and rows of a squared length of about 1, and how they became so.

    Args:
        values: [n, d].
        mean, scale: [d]; values = (as they were - mean) * scale.
        products: [n, n], each row times each.
    """

    values: Singles
    mean: Singles
    scale: Singles
    products: Floats


def scaled(values: Singles, dense: int, share: float) -> Scaled:
    """Prepare features for `solve`.

    Args:
        values: [n, d].
        dense: so many features at the beginning are brought to the same spread each. The rest are occurrences, of which
            rare ones count more, by their inverse document frequency.
        share: what the occurrences count together, beside 1 for the dense features.
    """
    mean = values.mean(0)
    scale = np.empty(values.shape[1], dtype=np.float32)
    scale[:dense] = 1.0 / ((values[:, :dense].std(0) + 1e-3) * np.sqrt(max(1, dense)))
    counts = (values[:, dense:] > 0).sum(0)
    frequency = np.log(len(values) / (1.0 + counts))
    mean[dense:] = 0.0
    # The root of the mean square of these over the occurrences that there are, so that rows have a length of 1.
    usual = np.sqrt(float((counts * frequency**2).sum()) / max(1, int(counts.sum())))
    scale[dense:] = np.sqrt(share) * frequency / max(usual, 1e-6)
    made = (values - mean) * scale
    return Scaled(made, mean, scale, (made @ made.T).astype(np.float64))


def solve(products: Floats, target: Floats, weights: Floats, penalty: float) -> Floats:
    """What each row adds to the line that minimises sum(weights * (target - line)^2) + penalty * |line|^2, the constant
    being one more feature that is 1 for every row.

    Args:
        products: [n, n]; target, weights: [n], no weight 0.

    Returns:
        [n]: the line is values.T @ it, the constant is its sum.
    """
    system = products + 1.0
    system[np.diag_indices(len(system))] += penalty / weights
    return np.asarray(np.linalg.solve(system, target))


def line(scaled: Scaled, used: NDArray[np.intp], shares: Floats) -> tuple[Singles, float]:
    """Weight [d] and bias of the line through features as they were, from what `solve` gave for the rows `used`."""
    weight = (scaled.values[used].T @ shares.astype(np.float32)) * scaled.scale
    # As it will be stored, so that the bias fits it.
    weight = weight.astype(np.float16).astype(np.float32)
    bias = float(shares.sum()) - float(scaled.mean.astype(np.float64) @ weight.astype(np.float64))
    return weight, bias
