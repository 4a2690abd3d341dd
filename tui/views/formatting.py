"""How verdicts, scores, statistics, times and counts are written: the same on screen, command line and in Markdown."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from engine.json_values import is_number
from engine.text import sanitize


class Mark(enum.Enum):
    """A verdict's sign, the role that colors it, and its word; the sign alone carries the meaning."""

    BROKEN = ("✗", "bad", "violation")
    CLEAN = ("✓", "good", "clean")
    NONE = ("?", "unsure", "no verdict")

    @property
    def sign(self) -> str:
        return self.value[0]

    @property
    def role(self) -> str:
        return self.value[1]

    @property
    def word(self) -> str:
        return self.value[2]


def mark_of(flagged: Any) -> Mark:
    """The mark of a verdict's `flagged`: True, False or None."""
    if flagged is None:
        return Mark.NONE
    return Mark.BROKEN if flagged else Mark.CLEAN


_SHORT = {
    "harm_prevention": "harm",
    "truthfulness": "truthfulness",
    "fairness": "fairness",
    "autonomy_respect": "autonomy",
}


def short_name(principle: str) -> str:
    """The short name of a principle, the same everywhere."""
    return _SHORT.get(principle) or " ".join(sanitize(principle).replace("_", " ").split())[:16]


def score_words(score: Any, highest: float | None = None) -> str:
    """A weighted score as "2.0", or as "2.0 of 4.0" where the highest one is known; "–" without one."""
    if not is_number(score):
        return "–"
    return f"{score:.1f}" if highest is None else f"{score:.1f} of {highest:.1f}"


def duration(seconds: float) -> str:
    """A length of time as "0:42", "12:05" or "1 h 05"."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 entry", "1,204 entries"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def change(base: str, trained: str) -> str:
    """ "0.84 → 0.49": base, then trained."""
    return f"{base} → {trained}"


def share(value: float, digits: int = 0) -> str:
    """A share of 1 as "42 %"."""
    return f"{100 * value:.{digits}f} %"


def signed_share(value: float) -> str:
    """A relative change as "-42 %" or "+8 %"."""
    return f"{100 * value:+.0f} %"


def range_text(low: str, high: str) -> str:
    """The two ends of an interval: "-53 % to -29 %"."""
    return f"{low} to {high}"


def estimate_text(estimate: Sequence[float]) -> str:
    """A share with its interval: "74 % (95 % interval 59 to 85)"."""
    value, low, high = estimate
    return f"{share(value)} (95 % interval {range_text(f'{100 * low:.0f}', f'{100 * high:.0f}')})"


def agreement_text(texts: int, same: Sequence[float], kappa: Sequence[float] | None) -> str:
    """How far two judges agree, as a sentence.

    Args:
        texts: answers that both decided.
        same: share on which they agree, with the ends of its 95 % interval.
        kappa: Cohen's kappa, likewise.
    """
    low, high = (f"{100 * end:.0f}" for end in same[1:])
    text = f"the two judges agree on {share(same[0])} of {texts:,} answers (95 % interval {range_text(low, high)})"
    return text + (f", kappa {kappa[0]:.2f} ({range_text(*(f'{end:.2f}' for end in kappa[1:]))})" if kappa else "")
