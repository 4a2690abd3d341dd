"""Events of the comparison of base and trained model on prompts that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.events.base import KEY
from engine.events.generation import Generated
from engine.events.schema import Event, Members, data, in_name, text
from engine.events.verdicts import VerdictData


@dataclass(frozen=True, kw_only=True)
class Answer(Generated):
    """The answer of the base or the trained model to a compared prompt."""

    STAGE = "COMPARISON-ANSWER"
    level: int = KEY
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
class SideEffects(Event):
    """How far the trained model moved from the base on neutral texts, where there was nothing to correct."""

    STAGE = "SIDE-EFFECTS"
    training: int = data("Which training of the run, from 1.", absent=1)
    texts: int = data("Neutral texts.")
    tokens: int = data("Tokens that were predicted.", absent=0)
    kl: float | None = data(
        "KL divergence of the trained model from the base, KL(base || trained): mean over the texts of the mean per "
        "token, nats.",
        absent=None,
        digits=5,
    )
    kl_interval: tuple[float, ...] = data("Its two-sided 95 % interval, clustered by text.", absent=())
    cross_entropy_base: float | None = data("Cross-entropy of the base model, nats per token.", absent=None, digits=4)
    cross_entropy_trained: float | None = data("Cross-entropy of the trained model.", absent=None, digits=4)
    cross_entropy_interval: tuple[float, ...] = data("Two-sided 95 % interval of their difference.", absent=())
    seconds: float = data("Wall time.", absent=0.0, digits=2)


@dataclass(frozen=True, kw_only=True)
class ComparisonSummary(Event):
    """Paired statistics over all compared prompts."""

    STAGE = "COMPARISON-SUMMARY"
    result: Mapping[str, Any] = data("The `summary` of the report (docs/report.md).", absent={})
