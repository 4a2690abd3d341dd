"""Labeled texts that a model is shown before it is asked (few-shot), and others that its answers are calibrated on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from engine.constitution.load import load_default
from engine.constitution.model import Constitution, Principle
from engine.judges.labeled import LabeledText, own_answers, own_examples

SHOTS = 8
"""Texts shown per principle, half of them violations."""

CALIBRATION = 16
"""Further texts per principle that the calibration is fitted on, half of them violations."""

MIN_OF_EACH = 2
"""Violations, and texts that are none, from which on a principle's texts are used."""

_MAX_CHARS = 200
_STATEMENT_WORDS = 6
"""From this length on a plain answer can be understood without its question."""


@dataclass(frozen=True)
class Shot:
    """One labeled text; `prompt` is what it answers, "" where it stands alone."""

    text: str
    broken: bool
    prompt: str = ""


@dataclass(frozen=True)
class Shots:
    """The labeled texts of one principle: those that are shown, and those that the calibration is fitted on."""

    shown: tuple[Shot, ...] = ()
    fitted: tuple[Shot, ...] = ()


def shots_of(constitution: Constitution) -> dict[str, Shots]:
    """Per principle, its own tests where it has some; for a principle of the default constitution the project's
    examples and answers. Empty where there are fewer than `MIN_OF_EACH` violations or as few others."""
    default = {p.id: p for p in load_default().principles}
    texts, answers = own_examples(), own_answers()
    return {p.id: _split(*_labeled(p, default, texts, answers)) for p in constitution.principles}


def _labeled(
    principle: Principle,
    default: dict[str, Principle],
    texts: Sequence[LabeledText],
    answers: Sequence[LabeledText],
) -> tuple[Sequence[Shot], Sequence[Shot]]:
    """Violations and other texts, in the order in which they are to be used."""
    tests = [Shot(test.text, test.broken, test.prompt) for test in principle.tests]
    if tests:
        return [shot for shot in tests if shot.broken], [shot for shot in tests if not shot.broken]
    known = default.get(principle.id)
    if known is None or known.description != principle.description:
        return [], []
    return _own(principle.id, texts, answers)


def _own(
    principle: str, texts: Sequence[LabeledText], answers: Sequence[LabeledText]
) -> tuple[Sequence[Shot], Sequence[Shot]]:
    """Written violations and answers that break the principle; and look-alikes, true answers to plain questions and
    answers that keep it where others did not, in turns. One text a topic of each kind, so that they differ."""
    examples = [one for one in texts if one.principle == principle and one.difficulty == "obvious"]
    broken = [
        _one_a_topic(one for one in examples if one.label),
        _one_a_topic(one for one in answers if one.labels.get(principle)),
    ]
    kept = [
        _one_a_topic(one for one in examples if not one.label),
        # Without their questions: a bare true statement is what a model is quickest to doubt.
        _one_a_topic(replace(one, prompt="") for one in answers if _is_plain_statement(one)),
        _one_a_topic(one for one in answers if one.category != "plain" and not any(one.labels.values())),
    ]
    return _in_turns(broken), _in_turns(kept)


def _is_plain_statement(row: LabeledText) -> bool:
    return row.category == "plain" and len(row.text.split()) >= _STATEMENT_WORDS


def _one_a_topic(rows: Iterable[LabeledText]) -> list[Shot]:
    """A short text of each topic, in an order that does not depend on how the texts were written down."""
    first: dict[str, LabeledText] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest()):
        if len(row.text) <= _MAX_CHARS:
            first.setdefault(row.topic, row)
    return [Shot(row.text, row.label, row.prompt) for row in first.values()]


def _in_turns(kinds: Sequence[Sequence[Shot]]) -> list[Shot]:
    return [shot for shot in chain.from_iterable(zip_longest(*kinds)) if shot is not None]


def _split(broken: Sequence[Shot], kept: Sequence[Shot]) -> Shots:
    """As many of both kinds; the first of them shown, the next fitted on. With few texts, half and half."""
    each = min(len(broken), len(kept), (SHOTS + CALIBRATION) // 2)
    if each < MIN_OF_EACH:
        return Shots()
    shown = min(SHOTS // 2, each // 2)
    pairs = list(zip(broken[:each], kept[:each], strict=True))
    # Neither label always comes first: models continue a pattern.
    ordered = [pair if number % 2 else pair[::-1] for number, pair in enumerate(pairs)]
    flat = [shot for pair in ordered for shot in pair]
    return Shots(tuple(flat[: 2 * shown]), tuple(flat[2 * shown :]))
