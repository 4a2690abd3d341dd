"""Several training seeds in one interval: how far they differ from each other, added to the spread of the prompts.

All seeds answer the same prompts, so an interval over the prompts alone would be about these seeds only. The variance
of the seeds' mean changes, over their number, is added to the variance of the mean over prompts; the degrees of
freedom are Satterthwaite's (1946). The seeds' means also hold a share of the prompts' noise, so the sum is a little too
large rather than too small. Plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from engine.stats.exact import t_quantile
from engine.stats.interval import is_sparse, mean_and_error


@dataclass(frozen=True)
class Spread:
    """How uncertain a mean over prompts is, the seeds' part included.

    Args:
        error: standard error of the mean.
        freedom: its degrees of freedom.
    """

    error: float
    freedom: float

    def quantile(self, probability: float) -> float:
        """Of Student's t with these degrees of freedom."""
        return t_quantile(probability, self.freedom)


def spread(differences: Sequence[float], seed_means: Sequence[float]) -> Spread:
    """The spread of the mean of `differences`.

    Args:
        differences: one per prompt, each the mean over seeds; two or more.
        seed_means: mean difference of each seed; fewer than two add nothing.
    """
    _, prompts = mean_and_error(differences)
    freedom = float(len(differences) - 1)
    if len(seed_means) < 2:
        return Spread(prompts, freedom)
    _, seeds = mean_and_error(seed_means)
    total = hypot(prompts, seeds)
    if total == 0:
        return Spread(0.0, freedom)
    parts = prompts**4 / freedom + seeds**4 / (len(seed_means) - 1)
    return Spread(total, max(1.0, total**4 / parts))


def widened(
    interval: tuple[float, float] | None, differences: Sequence[float], seed_means: Sequence[float], confidence: float
) -> tuple[float, float] | None:
    """An interval of the mean over prompts, widened by the seeds' spread; as it is for fewer than two seeds."""
    if interval is None or len(seed_means) < 2:
        return interval
    mean, prompts = mean_and_error(differences)
    low, high = mean - interval[0], interval[1] - mean
    level = 0.5 + confidence / 2
    if is_sparse(differences) or prompts == 0:
        # The interval is not made of the differences' own error there, so the parts are joined at their ends.
        _, seeds = mean_and_error(seed_means)
        reach = t_quantile(level, len(seed_means) - 1) * seeds
        return mean - hypot(low, reach), mean + hypot(high, reach)
    found = spread(differences, seed_means)
    factor = max(1.0, found.quantile(level) * found.error / (t_quantile(level, len(differences) - 1) * prompts))
    return mean - factor * low, mean + factor * high
