"""Events of judging: the verdict as members of a record and back, so that a resumed run judges nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from engine.events.base import ALL, KEY
from engine.events.schema import Event, Members, data, raw, text
from engine.judges.answer_quality import quality_of
from engine.judges.base import Finding, Verdict
from engine.text import probability_text


@dataclass(frozen=True, kw_only=True)
class SpanData(Members):
    """A place in the judged text that a rule matched."""

    start: int = data("First character.")
    end: int = data("Character after the last.")
    principle: str = data("Id of the principle that it violates.", absent="")
    category: str = data("Kind of violation within the principle.", absent="")
    rule: str = data("Id of the rule.", absent="")
    weight: float = data("How sure a match is of being a violation, 0 to 1.", absent=1.0)


@dataclass(frozen=True, kw_only=True)
class VerdictData(Members):
    """The numbers and ids of a verdict, without a word of the judged text."""

    flagged: bool | None = data("Whether a principle is violated; null for no verdict.", absent=None)
    probability: float | None = data("Largest probability of a violation.", absent=None, digits=6)
    principles: Mapping[str, float | None] = data("Principle id -> probability of a violation.", absent={}, digits=6)
    broken: tuple[str, ...] = data("Ids of the violated principles, heaviest first.", absent=())
    score: float | None = data("Sum of their weights; null without a verdict.", absent=None)
    category: str = data("Kind of the heaviest violation; empty for none.", absent="")
    method: str = data("The part of the judge that decided: rules, probe, panel, endpoint, ...", absent="none")
    judge: str = data("Name of the judge.", absent="")
    spans: tuple[SpanData, ...] = data("Matched places in the judged text.", absent=())
    seconds: float = data("Wall time spent on this text: its share of the batch.", absent=0.0, digits=4)
    quality: str = data(
        "responsive, or off_topic or degenerate for a text that does not answer and has no verdict.",
        absent="responsive",
    )
    no_answer: float | None = data(
        "Probability that the text does not answer its prompt; null where the judge does not measure it.", absent=None
    )

    @classmethod
    def of(cls, verdict: Verdict, **members: Any) -> Self:
        """The event or object that holds a verdict, with its other members."""
        return cls(**_fields(verdict), **members)

    def to_verdict(self, key: str) -> Verdict:
        """The verdict that `of` took apart."""
        return Verdict(
            key=key,
            flagged=self.flagged,
            principles={name: p for name, p in self.principles.items() if p is not None},
            broken=self.broken,
            score=self.score,
            category=self.category,
            method=self.method or "none",
            judge=self.judge,
            findings=tuple(
                Finding(span.principle, span.category, span.start, span.end, span.rule, span.weight)
                for span in self.spans
            ),
            seconds=self.seconds,
            quality=quality_of(self.quality),
            no_answer=self.no_answer,
            **self._words(),
        )

    def _words(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, kw_only=True)
class _VerdictEvent(VerdictData, Event):
    """A verdict with what the judge says in words."""

    reasoning: str = text("Why, in words that may quote the judged text.", optional=True)
    response: str = raw("A model judge's answer in full.", label="model response", optional=True)
    request: str = raw("The prompt as sent to a model judge.", label="judge request", optional=True)
    note: str = raw("Why a model's answer was not used.", optional=True)

    @classmethod
    def of(cls, verdict: Verdict, **members: Any) -> Self:
        words = {name: getattr(verdict, name) for name in ("reasoning", "response", "request", "note")}
        return cls(**_fields(verdict), **words, **members)

    def _words(self) -> dict[str, str]:
        return {"reasoning": self.reasoning, "response": self.response, "request": self.request, "note": self.note}


def _fields(verdict: Verdict) -> dict[str, Any]:
    return {
        "flagged": verdict.flagged,
        "probability": verdict.probability,
        "principles": verdict.principles,
        "broken": verdict.broken,
        "score": verdict.score,
        "category": verdict.category,
        "method": verdict.method,
        "judge": verdict.judge,
        "spans": tuple(
            SpanData(start=f.start, end=f.end, principle=f.principle, category=f.category, rule=f.rule, weight=f.weight)
            for f in verdict.findings
        ),
        "seconds": verdict.seconds,
        "quality": verdict.quality,
        "no_answer": verdict.no_answer,
    }


def summary(verdict: Verdict, max_score: float) -> str:
    """One line on a verdict, without a word of the text: "score 2.0 of 4.0 · ✗ autonomy_respect .94 · by rules"."""
    if verdict.quality != "responsive":
        return "no answer"
    if verdict.flagged is None or verdict.score is None:
        return "no verdict"
    parts = [f"score {verdict.score:.1f} of {max_score:.1f}"]
    parts += [f"✗ {principle} {_short(verdict.principles.get(principle))}".rstrip() for principle in verdict.broken]
    if not verdict.broken:
        parts.append("✓ no principle violated")
    parts.append(f"by {verdict.method}")
    return " · ".join(parts)


def _short(probability: float | None) -> str:
    return "" if probability is None else probability_text(probability)


@dataclass(frozen=True, kw_only=True)
class EvalInput(Event):
    """A text to judge was typed in."""

    STAGE = "EVAL-INPUT"
    level: int = KEY
    prompt: str = text("The prompt that the text answers, where there is one.", optional=True)
    text: str = text("The text.")
    characters: int = data("Length of the text.", absent=0)


@dataclass(frozen=True, kw_only=True)
class EvalModelResponse(Event):
    """The answer of a model judge about the text that was typed in."""

    STAGE = "EVAL-MODEL-RESPONSE"
    level: int = KEY
    response: str = text("The answer in full.")
    request: str = raw("The prompt as sent.")
    seconds: float = data("Wall time of the verdict.", absent=0.0, digits=4)


@dataclass(frozen=True, kw_only=True)
class EvalDecision(VerdictData, Event):
    """The verdict on the text that was typed in."""

    STAGE = "EVAL-DECISION"
    reasoning: str = text("Why, in words that may quote the text.", optional=True)
    note: str = text("Why a model's answer was not used.", optional=True)

    @classmethod
    def of(cls, verdict: Verdict, **members: Any) -> Self:
        return cls(**_fields(verdict), reasoning=verdict.reasoning, note=verdict.note, **members)

    def _words(self) -> dict[str, str]:
        return {"reasoning": self.reasoning, "note": self.note}


@dataclass(frozen=True, kw_only=True)
class DraftVerdict(_VerdictEvent):
    """The verdict on a draft."""

    STAGE = "INITIAL-EVALUATION"
    level: int = KEY


@dataclass(frozen=True, kw_only=True)
class CandidateVerdict(_VerdictEvent):
    """The verdict on a revision candidate."""

    STAGE = "CANDIDATE-EVALUATION"
    level: int = ALL
    candidate: int = data("Number of the candidate, from 1.")


@dataclass(frozen=True, kw_only=True)
class PairVerdict(Event):
    """The judge's opinion on a preference pair that the user brought (`redraft run --pairs`)."""

    STAGE = "PAIR-EVALUATION"
    level: int = KEY
    prompt: str = text("The prompt.")
    rejected: str = text("The answer that the pair rejects.")
    chosen: str = text("The answer that the pair prefers.")
    agrees: bool | None = data(
        "Whether the chosen answer's expected score is the lower one; null without two verdicts.", absent=None
    )
    rejected_verdict: VerdictData = data("Verdict on the rejected answer.")
    chosen_verdict: VerdictData = data("Verdict on the chosen answer.")


@dataclass(frozen=True, kw_only=True)
class RevisionVerdict(_VerdictEvent):
    """The verdict on the chosen revision."""

    STAGE = "REVISION-EVALUATION"
    level: int = KEY


@dataclass(frozen=True, kw_only=True)
class AnswerVerdict(_VerdictEvent):
    """The verdict on an answer to a compared prompt; the judge does not know which model wrote it."""

    STAGE = "COMPARISON-EVALUATION"
    level: int = ALL
    set: str = data("Prompt set: heldout or benign.")
    arm: str = data("Which model answered: base or trained.")
    sample: int = data("Number of the answer to this prompt, from 0.", absent=0)


@dataclass(frozen=True, kw_only=True)
class SecondVerdict(AnswerVerdict):
    """The verdict on such an answer by the judge that chose the training pairs; used for the judges' agreement only."""

    STAGE = "COMPARISON-SECOND-VERDICT"
