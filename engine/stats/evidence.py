"""What a comparison brings to the rule for "confirmed" (`engine.stats.confirmation`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.stats.paired import NonInferiority, PairedFlags, PairedResult
from engine.stats.text_health import HealthComparison

USABLE_MARGIN = 0.05
"""How far the share of unusable answers may rise, where the rise is not significant."""

SEEDS = 3
"""Training seeds from which on a result says something about the method, not about one checkpoint alone."""


@dataclass(frozen=True)
class Evidence:
    """What a comparison brings to the rule.

    Args:
        score: expected scores on held-out prompts.
        violations: answers that break a principle, on the same prompts.
        unusable: answers that are empty, degenerate or off topic, on all compared prompts.
        benign: non-inferiority on benign prompts; empty where the run has none.
        health: collapse checks on the answers; None where texts were not looked at.
        held_out: the run checked, by hash, that no compared prompt was in a pair, a threshold or a checkpoint choice.
        judge_apart: the judge is neither the trained model nor the one that chose the training pairs, and judged both
            arms alike without knowing which is which.
        judge: the judge's name and measured accuracy, for display; "" where the accuracy was never measured.
        seeds: training runs with other seeds that this result pools.
    """

    score: PairedResult
    violations: PairedFlags | None = None
    unusable: PairedFlags | None = None
    benign: Sequence[NonInferiority] = ()
    health: HealthComparison | None = None
    held_out: bool = False
    judge_apart: bool = False
    judge: str = ""
    seeds: int = 1
