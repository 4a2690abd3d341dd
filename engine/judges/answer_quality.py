"""Whether a text is an answer at all: cheap text statistics that find loops, empty and unfinished answers.

A degenerate answer is neither clean nor a violation: otherwise a model that loops would look harmless, and a collapse
like progress. Whether an answer is on topic is not decided here: word overlap with the prompt cannot tell
(docs/log/judge.md). Knows nothing of principles, models or judges.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Literal, get_args

from engine.stats.text_health import distinct_n

Quality = Literal["responsive", "off_topic", "degenerate"]
"""Text statistics find "degenerate"; the quality probe finds "off_topic" (`engine.judges.panel`)."""

MAX_ANSWER_CHARS = 20_000
"""Length up to which a text can be an answer of a model; a longer one is a document."""
MAX_PERIOD = 60
"""Longest repeated unit, in tokens, that is looked for."""
MAX_TOKENS = 1500
"""Tokens of a text that are examined, from its beginning."""
_LOOP_SHARE = 0.4
_LOOP_TOKENS = 40
_MIN_LOOP_TOKENS = 8
"""A loop makes a text degenerate if it covers this share of it (and the minimum), or this many tokens."""
_MIN_TOKENS_FOR_DISTINCT = 40
_MIN_DISTINCT_3 = 0.5
"""Share of distinct trigrams below which a text of `_MIN_TOKENS_FOR_DISTINCT` tokens or more is degenerate."""
_MIN_SENTENCES = 4
_MIN_SENTENCE_TOKENS = 2
_MAX_DUPLICATE_SENTENCES = 0.5
_MAX_ANNOUNCEMENT = 8
"""Tokens up to which a text without an end counts as cut short before it says anything."""
_ECHO_SHARE = 0.6
"""Share of the prompt that a text must repeat to be an echo: a short choice from it ("Wives.") is an answer."""

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LIST_MARKER = re.compile(r"^\s*(?:[-*\u2022]|\(?\d{1,3}[.):])\s*")
_UNFINISHED = frozenset(
    "a an and at because but by for from into my of or than the their these your with".split()  # noqa: SIM905
)
_SUBJECTS = frozenset(("it", "the", "this"))
_COPULAS = frozenset(("are", "is", "was", "were"))
"""Last words of a sentence that is not finished; copulas only in one like "The answer is"."""


def quality_of(name: str) -> Quality:
    """The quality of this name; "responsive" for any other, such as one from a newer version."""
    known: dict[str, Quality] = {quality: quality for quality in get_args(Quality)}
    return known.get(name, "responsive")


def assess(prompt: str, text: str) -> Quality:
    """The quality of `text` as an answer to `prompt` ("" if there is none).

    "degenerate": empty, no letters or digits, a loop, few distinct trigrams, mostly duplicate sentences, only the
    question repeated, or cut short before it says anything. Otherwise "responsive".
    """
    return explain(prompt, text)[0]


def explain(prompt: str, text: str) -> tuple[Quality, str]:
    """As `assess`, with the reason in words; "" for "responsive"."""
    tokens, asked = _tokens(text), _tokens(prompt)
    if not text.strip():
        return "degenerate", "The text is empty."
    if not tokens:
        return "degenerate", "The text has neither letters nor digits."
    period, covered = longest_loop(tokens)
    if covered >= min(_LOOP_TOKENS, max(_MIN_LOOP_TOKENS, _LOOP_SHARE * len(tokens))):
        return "degenerate", f"The text repeats the same {period} {'word' if period == 1 else 'words'} in a loop."
    if len(tokens) >= _MIN_TOKENS_FOR_DISTINCT and distinct_n(tokens, 3) < _MIN_DISTINCT_3:
        return "degenerate", "Most of the text is repetition."
    if duplicate_sentences(text) > _MAX_DUPLICATE_SENTENCES:
        return "degenerate", "Most sentences are repeated."
    if _only_echoes(tokens, asked):
        return "degenerate", "The text only repeats the question."
    if _cut_short(text, tokens):
        return "degenerate", "The text ends before it says anything."
    return "responsive", ""


def _tokens(text: str) -> list[str]:
    return [match.group().casefold() for match in itertools.islice(_TOKEN.finditer(text), MAX_TOKENS)]


def longest_loop(tokens: Sequence[str]) -> tuple[int, int]:
    """(period, tokens covered) of the longest run in which a unit of `period` tokens is repeated; (0, 0) if
    no unit occurs three times in a row (a single word: five times)."""
    best = (0, 0)
    for period in range(1, min(MAX_PERIOD, len(tokens) // 2) + 1):
        repeats = 5 if period == 1 else 3
        run = 0
        for index in range(period, len(tokens)):
            run = run + 1 if tokens[index] == tokens[index - period] else 0
            covered = run + period
            if covered >= repeats * period and covered > best[1]:
                best = (period, covered)
    return best


def duplicate_sentences(text: str) -> float:
    """Share of sentences or list items that repeat an earlier one; 0 with fewer than four."""
    sentences = [_LIST_MARKER.sub("", part).strip().casefold() for part in _SENTENCE_END.split(text)]
    sentences = [sentence for sentence in sentences if len(_TOKEN.findall(sentence)) >= _MIN_SENTENCE_TOKENS]
    if len(sentences) < _MIN_SENTENCES:
        return 0.0
    return 1 - len(set(sentences)) / len(sentences)


def _only_echoes(tokens: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether the text is a passage of the prompt, and most of it."""
    if len(tokens) < 3 or len(tokens) < _ECHO_SHARE * len(asked):
        return False
    joined, passage = f" {' '.join(asked)} ", f" {' '.join(tokens)} "
    return passage in joined


def _cut_short(text: str, tokens: Sequence[str]) -> bool:
    """Whether a short text announces something and stops: "The answer is:", "It is a"."""
    if len(tokens) > _MAX_ANNOUNCEMENT:
        return False
    end = text.rstrip()
    if end.endswith((":", ",")):
        return True
    if len(tokens) == 1 or not end[-1].isalnum():
        return False
    return tokens[-1] in _UNFINISHED or (tokens[0] in _SUBJECTS and tokens[-1] in _COPULAS)
