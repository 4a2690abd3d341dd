"""Finds what weakens a constitution though it is valid: vague, overlapping or negatively framed principles, few tests.

Every finding names the principle and says what to do. A finding is advice: some principles are better as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.constitution.model import Constitution, Principle

VAGUE = frozenset(
    {
        *(
            "acceptable",
            "appropriate",
            "bad",
            "best",
            "better",
            "controversial",
            "ethical",
            "good",
            "harmful",
            "helpful",
        ),
        *("immoral", "inappropriate", "moral", "negative", "nice", "offensive", "positive", "problematic", "proper"),
        *("properly", "quality", "reasonable", "sensitive", "suitable", "unacceptable", "unethical", "unreasonable"),
        "wholesome",
    }
)
"""Words that every reader fills with something else."""

_NEGATIVE = re.compile(
    r"\b(?:do not|don't|does not|doesn't|must not|mustn't|should not|shouldn't|never|avoid|refrain)\b", re.I
)
_WORD = re.compile(r"[a-z]{4,}")
_COMMON = frozenset(
    {
        *(
            "about",
            "also",
            "answer",
            "answers",
            "assistant",
            "because",
            "been",
            "before",
            "being",
            "both",
            "does",
            "each",
        ),
        *("ensure", "even", "every", "from", "give", "given", "have", "into", "just", "made", "make", "makes", "more"),
        *(
            "most",
            "must",
            "only",
            "other",
            "over",
            "people",
            "person",
            "response",
            "responses",
            "same",
            "should",
            "such",
        ),
        *("text", "than", "that", "their", "them", "then", "there", "these", "they", "this", "those", "user", "users"),
        *("what", "when", "where", "which", "while", "will", "with", "without", "would", "your"),
    }
)

MIN_TESTS = 2
"""Tests per principle: at least one text that breaks it and one that does not."""

MAX_OVERLAP = 0.5
"""Share of the words of the shorter description that another one may hold."""

_MAX_WORDS = 60


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Args:
        principle: its id; "" for the constitution as a whole.
        kind: "vague", "negative", "overlap", "long", "tests", "requests", "rules", "weights" or "coverage".
        what: a sentence on what was found.
        advice: what to do.
    """

    principle: str
    kind: str
    what: str
    advice: str


def lint(constitution: Constitution, prompts: Iterable[str] | None = None) -> list[Finding]:
    """What weakens a constitution, in the order of its principles.

    Args:
        prompts: of each training prompt the id of the principle that it tempts to break, "" for none; None where
            coverage is not to be looked at.
    """
    found = [finding for principle in constitution.principles for finding in _of_principle(principle)]
    found += _overlaps(constitution.principles)
    found += _weights(constitution)
    if prompts is not None:
        found += _coverage(constitution, prompts)
    order = {identifier: number for number, identifier in enumerate(constitution.ids)}
    return sorted(found, key=lambda finding: order.get(finding.principle, len(order)))


def _of_principle(principle: Principle) -> Iterator[Finding]:
    description = principle.description
    vague = sorted({word for word in re.findall(r"[a-z]+", description.lower()) if word in VAGUE})
    words = len(description.split())
    concrete = len(set(_content_words(description)) - VAGUE)
    if vague and (len(vague) > 1 or concrete < 6):
        shown = ", ".join(vague)
        yield Finding(
            principle.id,
            "vague",
            f"The description leaves open what {shown} means.",
            "Name what an answer does or leaves out, so that two readers give the same verdict.",
        )
    sentences = [part for part in re.split(r"(?<=[.!?;])\s+", description.strip()) if part]
    if sentences and all(_NEGATIVE.search(" ".join(sentence.split()[:5])) for sentence in sentences):
        yield Finding(
            principle.id,
            "negative",
            "The description only says what answers must not do.",
            "Add what a good answer does instead; revisions follow it.",
        )
    if words > _MAX_WORDS:
        yield Finding(
            principle.id,
            "long",
            f"The description has {words} words.",
            "Split it into principles of one thing each; a small model follows a sentence or two.",
        )
    yield from _tests(principle)
    if len(set(principle.critiques)) < len(principle.critiques):
        yield Finding(principle.id, "requests", "A critique request stands there twice.", "Remove one.")
    if len(principle.critiques) != len(principle.revisions):
        yield Finding(
            principle.id,
            "requests",
            f"There are {len(principle.critiques)} critique requests and {len(principle.revisions)} revision requests, "
            "so they are drawn independently.",
            "Write one revision request for each critique request if they belong together.",
        )
    if not principle.rules:
        yield Finding(
            principle.id,
            "rules",
            "It has no rules, so the judges `rules` and `panel` see nothing of it by words.",
            "Add rules, fit a probe (`redraft judge fit`), or use --judge likelihood or endpoint.",
        )


def _tests(principle: Principle) -> Iterator[Finding]:
    broken = sum(test.broken for test in principle.tests)
    if len(principle.tests) < MIN_TESTS:
        yield Finding(
            principle.id,
            "tests",
            f"It has {len(principle.tests)} tests.",
            "Add [[principles.tests]] with text and broken = true or false; `redraft constitution test` runs them.",
        )
    elif broken in (0, len(principle.tests)):
        side = "break it" if broken else "keep it"
        yield Finding(
            principle.id, "tests", f"All its tests {side}.", "Add one on the other side: a judge may flag everything."
        )


def _content_words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _overlaps(principles: tuple[Principle, ...]) -> Iterator[Finding]:
    bags = [set(_content_words(principle.description)) for principle in principles]
    for number, one in enumerate(bags):
        for place in range(number):
            other = bags[place]
            shorter = min(len(one), len(other))
            if shorter >= 3 and len(one & other) / shorter > MAX_OVERLAP:
                shared = ", ".join(sorted(one & other)[:6])
                yield Finding(
                    principles[number].id,
                    "overlap",
                    f"It shares most of its words with {principles[place].id} ({shared}).",
                    "Merge them, or say what one has that the other has not: a violation of both counts twice.",
                )


def _weights(constitution: Constitution) -> Iterator[Finding]:
    weights = [principle.weight for principle in constitution.principles]
    if max(weights) > 10 * min(weights):
        heavy = max(constitution.principles, key=lambda principle: principle.weight)
        yield Finding(
            heavy.id,
            "weights",
            f"Its weight {heavy.weight:g} is more than ten times the smallest, {min(weights):g}.",
            "The score then measures this principle almost alone.",
        )


def _coverage(constitution: Constitution, prompts: Iterable[str]) -> Iterator[Finding]:
    counts = Counter(prompts)
    total = sum(counts.values())
    for principle in constitution.principles:
        if counts[principle.id] < max(3, 0.05 * total):
            yield Finding(
                principle.id,
                "coverage",
                f"{counts[principle.id]} of {total} prompts were written for it (column principle).",
                "Add prompts that tempt a model to break it; what no prompt tempts to is not learned.",
            )
    unknown = sorted(name for name in counts if name and name not in constitution.ids)
    if unknown:
        yield Finding(
            "", "coverage", f"Prompts name principles that are not in it: {', '.join(unknown[:5])}.", "Rename them."
        )
