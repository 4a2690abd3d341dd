"""The 95 % interval of a mean paired difference: bootstrap-t joined with Student's t, honest with few changes too.

Why not one of them alone (simulated, n 20 to 100, 60 % ties): Student's t covers 86 to 94 % where the differences are
skewed, bootstrap-t 89 to 93 % where they are symmetric with heavy tails, the percentile bootstrap 89 to 93 % in both.
The hull of both covers 94 to 98 % from n 40 on and 93 to 99 % at n 20, and is 2 to 7 % wider than t from n 40 on
(a quarter wider where all changes go one way). Plain Python.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from math import fsum, sqrt
from operator import mul

from engine.stats.exact import t_quantile

RESAMPLES = 1_999
SPARSE = 10
"""Fewer differences than this that are not the commonest one say too little about the spread; see `mean_interval`."""

_LEAST_ERROR = 0.5
"""Least standard error of a resample, as a share of the sample's own: a resample of ties has none at all."""


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error, 0 where there are fewer than two values."""
    n = len(values)
    mean = fsum(values) / n
    if n < 2:
        return mean, 0.0
    return mean, sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def is_sparse(differences: Sequence[float]) -> bool:
    """Whether nearly all differences are the same (mostly 0: nothing changed), so that their spread is not known."""
    return not differences or len(differences) - Counter(differences).most_common(1)[0][1] < SPARSE


def mean_interval(
    differences: Sequence[float], confidence: float = 0.95, seed: int = 0, largest: float = 1.0
) -> tuple[float, float] | None:
    """The two-sided interval of the mean of paired differences; None for fewer than two.

    Where nearly all differences are the same (`is_sparse`), their spread says little about the others that were not
    met yet. Then two that were not seen, one of the largest size either way, are taken into the spread (as Agresti and
    Min 2005 do for rates), which keeps an interval from having no width when nothing changed at all.

    Args:
        differences: trained minus base.
        confidence: such as .95.
        seed: of the bootstrap.
        largest: the size of a difference that could be met, where none at all was.
    """
    n = len(differences)
    if n < 2:
        return None
    mean, error = mean_and_error(differences)
    if is_sparse(differences):
        most = max(map(abs, differences)) or largest
        common = Counter(differences).most_common(1)[0][0]
        _, error = mean_and_error([*differences, common + most, common - most])
        reach = t_quantile(0.5 + confidence / 2, n + 1) * error
        return mean - reach, mean + reach
    reach = t_quantile(0.5 + confidence / 2, n - 1)
    low, high = _bootstrap_t(differences, mean, error, confidence, seed)
    return mean - max(reach, high) * error, mean + max(reach, -low) * error


def _bootstrap_t(
    differences: Sequence[float], mean: float, error: float, confidence: float, seed: int
) -> tuple[float, float]:
    """The quantiles of the studentised mean over resamples (Efron and Tibshirani 1993, chapter 12)."""
    chance = random.Random(seed)
    n = len(differences)
    # Centred, so that the sum of squares loses nothing to cancellation.
    centred = [value - mean for value in differences]
    least = _LEAST_ERROR * error
    studentised: list[float] = []
    for _ in range(RESAMPLES):
        drawn = chance.choices(centred, k=n)
        off = sum(drawn) / n
        variance = max(sum(map(mul, drawn, drawn)) - n * off * off, 0.0) / (n - 1)
        studentised.append(off / max(sqrt(variance / n), least))
    studentised.sort()
    cut = round((1 - confidence) / 2 * (RESAMPLES + 1)) - 1
    return studentised[cut], studentised[-1 - cut]
