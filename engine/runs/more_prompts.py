"""How many more prompts a condition of the rule would have needed, at the effect that this run measured.

An estimate for the reader of a report, never part of the rule: the next run measures another effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.runs.report import BenignChange, Change, Condition, Report
from engine.stats.exact import tango_upper
from engine.stats.paired import CONFIDENCE

_MAX = 100_000


def needed_prompts(report: Report, condition: Condition) -> str:
    """ "needs about 60 more prompts" for a condition that more prompts could meet; else ""."""
    if condition.met:
        return ""
    if condition.id == "score" and report.score is not None:
        return _sentence(more_for_score(report.score), "held-out")
    if condition.id == "benign":
        found = [more_for_benign(one) for one in report.benign if not one.not_inferior]
        known = [number for number in found if number is not None]
        return _sentence(max(known), "benign") if known and len(known) == len(found) else ""
    return ""


def more_for_score(score: Change) -> int | None:
    """Held-out prompts that were missing to detect the change measured; None where it is no improvement or they were
    enough. The detectable change falls with the square root of their number."""
    if score.base is None or score.trained is None or not score.n or score.smallest_detectable is None:
        return None
    change = score.base - score.trained
    if change <= 0 or score.smallest_detectable <= change:
        return None
    return _limited(math.ceil(score.n * (score.smallest_detectable / change) ** 2 - 1e-6) - score.n)


def more_for_benign(one: BenignChange) -> int | None:
    """Benign prompts that were missing to bound the change measured below the margin; None where no number would."""
    change, n = one.change, one.change.n
    if change.base is None or change.trained is None or not n or one.bound is None or one.margin is None:
        return None
    difference = change.trained - change.base
    if difference >= one.margin:
        return None
    if one.what == "refusals":
        return _first(lambda size: _refusal_bound(change, size) < one.margin, n)  # type: ignore[operator]
    # The half width of an interval of a mean falls with the square root of the number.
    width = (one.bound - difference) / (one.margin - difference)
    return _limited(math.ceil(n * width**2 - 1e-6) - n)


def _refusal_bound(change: Change, size: int) -> float:
    """The upper bound of the rise if the same shares of `size` prompts were refused."""
    assert change.base is not None
    assert change.trained is not None
    rises = round(max(0.0, change.trained - change.base) * size)
    falls = round(max(0.0, change.base - change.trained) * size)
    return tango_upper(rises, falls, size, CONFIDENCE)


def _first(holds: Callable[[int], bool], n: int) -> int | None:
    """How much larger than n the smallest size is from which `holds` is true."""
    high = n
    while not holds(high):
        high *= 2
        if high > _MAX:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return _limited(high - n)


def _limited(number: int) -> int | None:
    return number if 0 < number <= _MAX else None


def _sentence(number: int | None, kind: str) -> str:
    if number is None:
        return ""
    shown = number if number < 10 else round(number, -1)
    return f"needs about {shown:,} more {kind} prompts"
