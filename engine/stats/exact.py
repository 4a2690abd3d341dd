"""Small exact statistics on counts and on p-values: sign test, Wilson, Tango, Holm, and quantiles of Student's t.

Plain arithmetic; knows nothing of texts, scores or prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, pi, sqrt, tan
from statistics import NormalDist

_NORMAL = NormalDist()


def normal_quantile(probability: float) -> float:
    """The quantile of the standard normal distribution."""
    return _NORMAL.inv_cdf(probability)


def t_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t with `freedom` >= 1 degrees of freedom, which need not be whole.

    Exact for 1 and 2; else the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), within .4 % for 3 and .02 %
    from 8 on at the usual levels.
    """
    if freedom < 2:  # no closed form in between: the wider one
        return tan(pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * sqrt(2 / (4 * probability * (1 - probability)))
    z, v = normal_quantile(probability), freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a rate (Wilson 1927), within 0 to 1; (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    z = normal_quantile(0.5 + confidence / 2)
    rate = successes / n
    centre = rate + z * z / (2 * n)
    spread = z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def sign_test_p(better: int, worse: int) -> float:
    """The exact two-sided sign test of `better` against `worse` pairs; on pass and fail this is McNemar's test."""
    n = better + worse
    tail = sum(comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / (1 << n))


def format_p(p: float) -> str:
    """ "p .012", "p < .001"."""
    return "p < .001" if p < 0.001 else f"p {p:.3f}".replace(" 0.", " .")


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, in their order, adjusted for being several (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def tango_upper(rises: int, falls: int, n: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a paired difference of rates, (rises - falls) / n (Tango 1998, score method).

    Args:
        rises: pairs that are positive in the second arm only.
        falls: pairs that are positive in the first arm only.
        n: pairs; 1 is returned where it is 0.
    """
    if n == 0:
        return 1.0
    z = normal_quantile(confidence)

    def statistic(difference: float) -> float:
        """How many standard errors the observed difference lies above `difference`, were that the true one."""
        b = (2 * n - rises + falls) * difference - rises - falls
        c = -falls * difference * (1 - difference)
        other = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * other + difference * (1 - difference))
        return (rises - falls - n * difference) / sqrt(variance) if variance > 0 else 0.0

    low, high = (rises - falls) / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if statistic(middle) > -z:
            low = middle
        else:
            high = middle
    return high
