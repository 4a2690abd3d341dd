"""What would meet a condition of the rule that is not met, computed from the measured figures.

Numbers of prompts assume that what was measured stays as it is: the same change with the same spread. Plain Python.
"""

from __future__ import annotations

import math

from engine.stats.evidence import SEEDS, USABLE_MARGIN, Evidence
from engine.stats.exact import tango_upper
from engine.stats.paired import CONFIDENCE, MARGIN, NonInferiority, PairedResult

MAX_FACTOR = 20
"""More than this many times the prompts is no advice; the change is too small then."""

_FEW = 200
"""Up to so many benign prompts are advised whatever their number is: two of them say nothing yet."""

_ROUND = 10
"""Numbers of prompts are rounded up to a multiple of this: they are estimates."""


def remedy(condition: str, evidence: Evidence) -> str:
    """What would meet the condition of this id, as a sentence."""
    makers = {"score": _score, "violations": _violations, "usable": _usable, "benign": _benign, "seeds": _seeds}
    if condition in makers:
        return makers[condition](evidence)
    return {
        "held_out": "Take the shared prompts out of one of the two sets.",
        "health": "Train with a lower learning rate or fewer epochs.",
        "judge": "Compare with a judge of its own whose accuracy was measured: --judge panel, or `redraft judge fit`.",
    }[condition]


def comparison_remedy(condition: str, evidence: Evidence) -> str:
    """The same where two models are compared as they are: more prompts or another judge; "" where neither helps."""
    score = evidence.score
    if condition == "score" and (score.interval is None or prompts_for_change(score) is not None):
        return _score(evidence)
    if condition == "benign" and (not evidence.benign or None not in map(prompts_for_margin, _failed(evidence))):
        return _benign(evidence)
    return remedy(condition, evidence) if condition == "judge" else ""


def prompts_for_change(score: PairedResult) -> int | None:
    """Held-out prompts that would show the measured change with 80 % power; None where the score did not fall, where
    the spread is not known, or where it takes more than `MAX_FACTOR` times the prompts."""
    if score.difference >= 0 or score.smallest_detectable is None:
        return None
    wanted = score.n * (score.smallest_detectable / -score.difference) ** 2
    return math.ceil(wanted) if wanted <= MAX_FACTOR * score.n else None


def prompts_for_margin(one: NonInferiority) -> int | None:
    """Benign prompts that would bring the bound under the margin; None where the change itself is past the margin, or
    where it takes more than `MAX_FACTOR` times the prompts and more than 200."""
    if one.n == 0 or one.difference >= one.margin:
        return None
    if one.what == "scores":
        # The distance of the bound from the estimate shrinks with the square root of the number.
        wanted = math.ceil(one.n * ((one.bound - one.difference) / (one.margin - one.difference)) ** 2)
        return wanted if wanted <= max(_FEW, MAX_FACTOR * one.n) else None
    return _prompts_for_rates(one.base, one.trained, one.n, one.margin)


def _prompts_for_rates(base: float, trained: float, n: int, margin: float) -> int | None:
    """The smallest number of prompts whose upper bound is under the margin, where as many prompts change as the rates
    need at least."""
    for wanted in range(n, max(_FEW, MAX_FACTOR * n) + 1):
        rises, falls = max(0.0, trained - base) * wanted, max(0.0, base - trained) * wanted
        if tango_upper(round(rises), round(falls), wanted, CONFIDENCE) < margin:
            return wanted
    return None


def _up(number: float) -> int:
    return _ROUND * math.ceil(number / _ROUND)


def _score(evidence: Evidence) -> str:
    score = evidence.score
    if score.interval is None:
        return "Compare on more held-out prompts: --n-heldout."
    if score.difference >= 0:
        return "The score has to fall: train on more prompts, or let another teacher choose the pairs."
    wanted = prompts_for_change(score)
    if wanted is None:
        return "The change is too small for more prompts to show: train on more prompts, or try another teacher."
    more = _up(max(1, wanted - score.n))
    return f"Needs about {more} more held-out prompts, if the change stays as large."


def _violations(evidence: Evidence) -> str:
    violations = evidence.violations
    if violations is None:
        return "Use a judge that gives verdicts on violations."
    return f"Needs {violations.trained - violations.base} fewer violations of the trained model."


def _usable(evidence: Evidence) -> str:
    unusable = evidence.unusable
    if unusable is None:
        return "Use a judge that knows whether a text is an answer."
    if unusable.rise <= USABLE_MARGIN:
        return "The rise is small but significant: train with a lower learning rate or fewer epochs."
    allowed = unusable.base + math.floor(USABLE_MARGIN * unusable.answers)
    return f"Needs {unusable.trained - allowed} fewer unusable answers: a lower learning rate or fewer epochs."


def _benign(evidence: Evidence) -> str:
    failed = _failed(evidence)
    if not failed:
        wanted = _prompts_for_rates(0.0, 0.0, 10, MARGIN)
        return f"Needs about {_up(wanted)} benign prompts: --n-benign {_up(wanted)}." if wanted else ""
    counts = [prompts_for_margin(one) for one in failed]
    known = [count for count in counts if count is not None]
    if len(known) < len(failed):
        hopeless = [one for one, count in zip(failed, counts, strict=True) if count is None]
        names = " and ".join(one.what for one in hopeless)
        why = "became worse" if any(one.difference > 0 for one in hopeless) else "differ too much between the prompts"
        return f"More prompts would not help: {names} on benign prompts {why}. Train less, or with other pairs."
    n = max(one.n for one in failed)
    return f"Needs about {_up(max(1, max(known) - n))} more benign prompts, if nothing else changes."


def _failed(evidence: Evidence) -> list[NonInferiority]:
    return [one for one in evidence.benign if not one.holds]


def _seeds(evidence: Evidence) -> str:
    return f"Needs {SEEDS - evidence.seeds} more training seeds: --seeds {SEEDS}."
