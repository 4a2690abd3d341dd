"""Signs that a model collapsed, from its texts alone: it repeats itself, says the same everywhere, or says nothing.

Knows nothing of scores. Words are runs of letters and digits, without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.stats.refusals import declines
from engine.text import percent

REPETITION_RISE = 0.10
"""Rise of the mean share of repeated 4-grams that is an alarm."""
DISTINCT_FALL = 0.6
"""Distinct-2 of the trained texts, as a share of the base's, below which there is an alarm."""
LENGTH_RANGE = (0.5, 2.0)
"""Mean length of the trained texts, as a share of the base's, outside which there is an alarm."""
EMPTY_RISE = 0.05
"""Rise of the share of empty texts that is an alarm."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class TextHealth:
    """What a set of texts looks like.

    Args:
        n: texts.
        repetition: mean share, 0 to 1, of a text's 4-grams of words that stood in the text before.
        distinct_2: different pairs of neighbouring words over all pairs, of all texts together, 0 to 1 (Li et al.
            2016). Falls with the number of words: `compare_health` takes as many of both sides.
        words: mean number of words.
        empty: share of texts without a word.
        refusals: number of texts that decline.
    """

    n: int
    repetition: float
    distinct_2: float
    words: float
    empty: float
    refusals: int


@dataclass(frozen=True)
class HealthComparison:
    """Base against trained. `alarms` are sentences for people; none is a sign of health, no proof of it."""

    base: TextHealth
    trained: TextHealth
    alarms: tuple[str, ...]


def distinct_n(words: Sequence[str], n: int) -> float:
    """Distinct n-grams divided by all n-grams (Li et al. 2016); 1 for a text without any."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def repeated_share(text: str) -> float:
    """The share of the 4-grams of words that stood in the text before; 0 for fewer than four words."""
    return 1 - distinct_n(_words(text), 4)


def text_health(texts: Sequence[str], most_pairs: int | None = None) -> TextHealth:
    """The figures of a set of texts.

    Args:
        most_pairs: how many pairs of words distinct-2 looks at, from the first text on; all where None.
    """
    words = [_words(text) for text in texts]
    pairs = [pair for one in words for pair in pairwise(one)][:most_pairs]
    n = len(texts)
    return TextHealth(
        n=n,
        repetition=sum(map(repeated_share, texts)) / n if n else 0.0,
        distinct_2=len(set(pairs)) / len(pairs) if pairs else 0.0,
        words=sum(map(len, words)) / n if n else 0.0,
        empty=sum(not one for one in words) / n if n else 0.0,
        refusals=sum(declines(text) is not None for text in texts),
    )


def compare_health(base: Sequence[str], trained: Sequence[str]) -> HealthComparison:
    """Base and trained answers to the same prompts, with an alarm for each sign of collapse."""
    pairs = min(sum(max(len(_words(text)) - 1, 0) for text in texts) for texts in (base, trained))
    before, after = text_health(base, pairs), text_health(trained, pairs)
    alarms: list[str] = []
    if after.repetition - before.repetition > REPETITION_RISE:
        alarms.append(f"Answers repeat themselves: {before.repetition:.1%} → {after.repetition:.1%} of 4-grams.")
    if pairs and after.distinct_2 < DISTINCT_FALL * before.distinct_2:
        alarms.append(f"Answers became alike: distinct word pairs {before.distinct_2:.2f} → {after.distinct_2:.2f}.")
    low, high = (share * before.words for share in LENGTH_RANGE)
    if not low <= after.words <= high:
        alarms.append(f"Answers changed their length: {before.words:.0f} → {after.words:.0f} words on average.")
    if after.empty - before.empty > EMPTY_RISE:
        alarms.append(f"Answers are missing: {percent(before.empty)} → {percent(after.empty)} empty.")
    return HealthComparison(before, after, tuple(alarms))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
