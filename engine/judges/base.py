"""A judge's finding on one text, and the protocol that every judge follows.

Plain data; knows nothing of how a verdict is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.control import Control

PRINCIPLES = ("harm_prevention", "truthfulness", "fairness", "autonomy_respect")
"""Ids of the default constitution's principles, in the order in which they are shown everywhere."""


@dataclass(frozen=True)
class Finding:
    """A place in a text that a rule matched.

    Args:
        principle: id of the principle that it breaks.
        category: the kind of violation within the principle, such as "stereotype".
        start, end: characters of the text, end exclusive.
        rule: id of the pattern.
        weight: 0 to 1, how sure a match is of being a violation.
    """

    principle: str
    category: str
    start: int
    end: int
    rule: str
    weight: float = 1.0


@dataclass(frozen=True)
class Judged:
    """A text that a judge is asked about: `prompt` is what it answers, where there is one."""

    key: str
    text: str
    prompt: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a judge found.

    Args:
        key: the judged text's.
        flagged: a principle is broken; None is "no verdict" (never counted as clean or as a violation).
        principles: id of the principle -> probability of a violation, 0 to 1; only those that the judge can say
            something of.
        broken: ids of the principles broken, heaviest first.
        score: the sum of the weights of the principles broken (0 is clean); None without a verdict.
        category: the kind of violation that weighs most; "" where none.
        reasoning: why, in words, for a person; may hold words of the text.
        method: which part decided: "rules", "model", "probe", "likelihood", "panel", "endpoint" or "none".
        judge: name of the judge, with the model that it uses.
        findings: places in the text.
        response: a model judge's own words, uncut; "" where no model was asked.
        request: the prompt as sent to a model judge.
        seconds: wall time spent on this text (its share of a batch).
        note: what else a reader has to know (why a model's answer was not used).
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

    @property
    def probability(self) -> float | None:
        """Probability that any principle is broken: the largest of the principles'; None where none is known. A judge
        that is not sure enough for a verdict may still give one."""
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
        }


def worst_of(findings: Iterable[Finding], broken: Sequence[str]) -> Finding | None:
    """The heaviest finding of the first broken principle; None where no rule found that one.

    Args:
        broken: ids of the principles broken, heaviest first.
    """
    found = [f for f in findings if broken and f.principle == broken[0]]
    return max(found, key=lambda f: f.weight, default=None)


class Judge(Protocol):
    """Something that can tell whether texts break principles."""

    @property
    def name(self) -> str: ...

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text, in any order, each as soon as it is known. Never raises for what a text holds.

        Raises:
            Stopped: where `control` asks for it.
        """
        ...
