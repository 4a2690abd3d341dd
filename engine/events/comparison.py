"""Events of the comparison of base and trained model on prompts that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.events.base import ALL, KEY
from engine.events.generation import Generated
from engine.events.schema import Event, Members, data, in_name, text
from engine.events.verdicts import VerdictData


@dataclass(frozen=True, kw_only=True)
class Answer(Generated):
    """The answer of the base or the trained model to a compared prompt."""

    STAGE = "COMPARISON-ANSWER"
    level: int = ALL
    prompt: str = text("The prompt.")
    answer: str = text("The answer.")
    set: str = data("Prompt set: heldout or benign.")
    arm: str = data("Which model answered: base or trained.")
    sample: int = data("Number of the answer to this prompt, from 0.", absent=0)
    finish: str = data("Why generation ended: stop or length.", absent="")


@dataclass(frozen=True, kw_only=True)
class Comparison(Event):
    """Both answers to one prompt, with their verdicts."""

    STAGE = "COMPARISON-TEST {number}/{total}"
    level: int = KEY
    number: int = in_name("Number of the comparison, from 1.")
    total: int = in_name("Number of compared prompts.")
    prompt: str = text("The prompt.")
    base_answer: str = text("The base model's answer.", label="base")
    trained_answer: str = text("The trained model's answer.", label="trained")
    set: str = data("Prompt set: heldout or benign.")
    topic: str = data("Topic of the prompt; may be empty.", absent="")
    principle: str = data("Id of the principle that the prompt was written to test; may be empty.", absent="")
    base: VerdictData = data("Verdict on the base model's answer.")
    trained: VerdictData = data("Verdict on the trained model's answer.")


@dataclass(frozen=True, kw_only=True)
class ChangeData(Members):
    """A kind of change between the two answers that the rules can name."""

    id: str = data("Id of the kind.", absent="")
    label: str = data("Its name.", absent="")
    better: bool = data("Whether the trained answer is the better one in this.", absent=False)


@dataclass(frozen=True, kw_only=True)
class Diff(Event):
    """What changed from the base to the trained answer."""

    STAGE = "SIDE-BY-SIDE-DIFF"
    level: int = KEY
    diff: str = text("Removed words as [-words-], added words as {+words+}.")
    set: str = data("Prompt set: heldout or benign.", absent="")
    changes: tuple[ChangeData, ...] = data("Kinds of change.", absent=())
    words_removed: int = data("Words removed.", absent=0)
    words_added: int = data("Words added.", absent=0)
    truncated: bool = data("Whether the diff ran out of time.", absent=False)


@dataclass(frozen=True, kw_only=True)
class ComparisonSummary(Event):
    """Paired statistics over all compared prompts."""

    STAGE = "COMPARISON-SUMMARY"
    result: Mapping[str, Any] = data("The `summary` of the report (docs/report.md).", absent={})
