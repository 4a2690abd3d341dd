"""How verdicts, scores, times and counts are put into words and signs: the same everywhere in the app."""

from __future__ import annotations

import enum
from typing import Any

from engine.text import sanitize


class Mark(enum.Enum):
    """A verdict's sign, the role that colours it, and its word; the sign alone carries the meaning."""

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


def score_words(score: Any) -> str:
    """A weighted score as "2.0"; "–" without one."""
    return f"{score:.1f}" if isinstance(score, int | float) and not isinstance(score, bool) else "–"


def duration(seconds: float) -> str:
    """A length of time as "0:42", "12:05" or "1 h 05"."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 entry", "1,204 entries"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"
