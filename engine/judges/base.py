"""The protocol that every judge follows, and its data: the text to judge, the verdict, the findings.

Knows nothing of how a verdict is reached.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.control import Control
from engine.judges.accuracy import JudgeAccuracy
from engine.judges.answer_quality import Quality

PRINCIPLES = ("harm_prevention", "truthfulness", "fairness", "autonomy_respect")
"""Ids of the default constitution's principles, in display order."""


@dataclass(frozen=True)
class Finding:
    """A span of a text that a rule matched.

    Args:
        principle: id of the principle it violates.
        category: kind of violation within the principle, such as "stereotype".
        start, end: character offsets, end exclusive.
        rule: id of the rule.
        weight: 0 to 1, confidence that the match is a violation.
    """

    principle: str
    category: str
    start: int
    end: int
    rule: str
    weight: float = 1.0


@dataclass(frozen=True)
class JudgeInput:
    """A text to judge, and the prompt it answers ("" if there is none)."""

    key: str
    text: str
    prompt: str = ""


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict on one text.

    Args:
        key: the input's.
        flagged: whether a principle is broken; None for no verdict (counts neither as clean nor as a violation).
        principles: principle id -> probability of a violation, 0 to 1; only principles the judge has a probability for.
        broken: ids of the broken principles, heaviest first.
        score: sum of the weights of the broken principles (0 is clean); None without a verdict.
        category: kind of the heaviest violation; "" if there is none.
        reasoning: the reason in words; may quote the text.
        method: what decided: "rules", "model", "probe", "likelihood", "panel", "endpoint" or "none".
        judge: name of the judge, including its model.
        findings: matched spans.
        response: uncut output of a model judge; "" if no model was asked.
        request: the prompt sent to a model judge.
        seconds: wall time spent on this text (its share of a batch).
        note: anything else a reader must know, such as why a model's answer was not used.
        quality: "responsive", or "degenerate" or "off_topic" for a text that is not an answer to its prompt. Such a
            text has no verdict and is counted apart from those that a judge could not decide.
        no_answer: probability that the text does not answer its prompt; None where the judge does not measure it.
    """

    key: str
    flagged: bool | None
    principles: Mapping[str, float] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    score: float | None = None
    category: str = ""
    reasoning: str = ""
    method: str = "none"
    judge: str = ""
    findings: tuple[Finding, ...] = ()
    response: str = ""
    request: str = ""
    seconds: float = 0.0
    note: str = ""
    quality: Quality = "responsive"
    no_answer: float | None = None

    @property
    def probability(self) -> float | None:
        """Probability that any principle is broken: the maximum over principles; None if none is known. There may be a
        probability without a verdict."""
        return max(self.principles.values(), default=None)

    def to_row(self, text_id: str | None = None) -> dict[str, Any]:
        """The verdict as the JSON object of `redraft eval --json` (schema in docs/cli.md)."""
        return {
            "id": self.key if text_id is None else text_id,
            "flagged": self.flagged,
            "probability": self.probability,
            "principles": dict(self.principles),
            "category": self.category,
            "method": self.method,
            "score": self.score,
            "broken": list(self.broken),
            "spans": [
                {"start": f.start, "end": f.end, "principle": f.principle, "category": f.category, "rule": f.rule}
                for f in self.findings
            ],
            "reasoning": self.reasoning,
            "judge": self.judge,
            "note": self.note,
            "quality": self.quality,
            "no_answer": self.no_answer,
        }


def heaviest_finding(findings: Iterable[Finding], broken: Sequence[str]) -> Finding | None:
    """The heaviest finding of the first broken principle; None if no rule found one.

    Args:
        broken: ids of the broken principles, heaviest first.
    """
    candidates = [f for f in findings if broken and f.principle == broken[0]]
    return max(candidates, key=lambda f: f.weight, default=None)


class Judge(Protocol):
    """Decides whether texts violate principles.

    Subclass it explicitly to inherit the defaults below; only `name` and `judge` are required.

    Args:
        name: shown with every verdict; includes the model, if there is one.
        finds_spans: whether verdicts have findings (spans of the text).
    """

    name: str
    finds_spans: bool = False

    @property
    def accuracy(self) -> JudgeAccuracy:
        """How accurate this judge was measured to be. Default: never measured."""
        return JudgeAccuracy(self.name)

    @property
    def notices(self) -> tuple[str, ...]:
        """What users have to know of how it judges, one sentence each; known after `prepare`. Default: nothing."""
        return ()

    @property
    def seen(self) -> frozenset[str]:
        """Hashes (`labeled.text_hash`) of the labeled texts that it is shown or calibrated on, which say nothing of its
        accuracy. Default: none."""
        return frozenset()

    def prepare(self, control: Control) -> None:  # noqa: ARG002 - for those that override it
        """Check that the judge can work, before anything expensive depends on it. Default: nothing to check.

        Raises:
            EndpointError: its server does not work.
            Stopped: `control` requests it.
        """
        return

    def without_rationale(self) -> Judge:
        """A judge with the same decisions that skips what only explains them. Default: this judge."""
        return self

    @abstractmethod
    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        """One verdict per text, in any order, each as soon as it is known. Never raises because of a text's content.

        Raises:
            EndpointError: the judge's server failed.
            Stopped: `control` requests it.
        """
        ...
