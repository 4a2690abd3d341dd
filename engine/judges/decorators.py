"""Judges that wrap another judge: to add matched spans or a model's rationale, to set degenerate answers apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.accuracy import JudgeAccuracy
from engine.judges.answer_quality import MAX_ANSWER_CHARS, explain
from engine.judges.base import Judge, JudgeInput, Verdict, heaviest_finding
from engine.judges.rules.judge import RulesJudge


class JudgeDecorator(Judge):
    """Forwards the whole protocol to another judge; subclasses override what they add.

    Args:
        inner: the wrapped judge.
    """

    def __init__(self, inner: Judge) -> None:
        self.inner = inner
        self.name = inner.name
        self.finds_spans = inner.finds_spans

    @property
    def accuracy(self) -> JudgeAccuracy:
        return replace(self.inner.accuracy, name=self.name)

    @property
    def notices(self) -> tuple[str, ...]:
        return self.inner.notices

    @property
    def seen(self) -> frozenset[str]:
        return self.inner.seen

    def prepare(self, control: Control) -> None:
        self.inner.prepare(control)

    def without_rationale(self) -> Judge:
        return self

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        yield from self.inner.judge(texts, control)


class SpanAnnotatedJudge(JudgeDecorator):
    """Adds the rules' findings to the verdicts of a judge that finds no spans, and the kind of violation they name.

    Args:
        inner: decides.
        constitution: its rules are matched.
    """

    def __init__(self, inner: Judge, constitution: Constitution) -> None:
        super().__init__(inner)
        self.finds_spans = True
        self._rules = RulesJudge(constitution)

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        text_of = {text.key: text.text for text in texts}
        for verdict in self.inner.judge(texts, control):
            findings = self._rules.find(text_of[verdict.key])
            heaviest = heaviest_finding(findings, verdict.broken)
            yield replace(verdict, findings=findings, category=heaviest.category if heaviest else verdict.category)


class RationaleJudge(JudgeDecorator):
    """A judge together with a model's own verdict and words on the same text.

    Args:
        inner: always asked.
        model: the model's own judge.
        model_decides: take the model's verdict if it was measured to be reliable and its answer is usable, otherwise
            the inner judge's. False: take the inner judge's and show the model's words with it.
        assume_reliable: let the model decide even if it was never measured, in order to measure it.
    """

    def __init__(self, inner: Judge, model: Judge, *, model_decides: bool, assume_reliable: bool = False) -> None:
        super().__init__(inner)
        self._model = model
        self._asked_to_decide = model_decides
        self._model_decides = model_decides and (assume_reliable or model.accuracy.reliable)
        if self._model_decides:
            self.name = f"{model.name}, else {inner.name}"

    @property
    def model_decides(self) -> bool:
        """Whether the model's verdict counts, rather than the inner judge's."""
        return self._model_decides

    @property
    def accuracy(self) -> JudgeAccuracy:
        """Of the judge that decides."""
        return replace((self._model if self._model_decides else self.inner).accuracy, name=self.name)

    def prepare(self, control: Control) -> None:
        self.inner.prepare(control)
        self._model.prepare(control)

    def without_rationale(self) -> Judge:
        return self if self._model_decides else self.inner

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        by_inner = {verdict.key: verdict for verdict in self.inner.judge(texts, control)}
        for verdict in self._model.judge(texts, control):
            yield self._merge(by_inner[verdict.key], verdict)

    def _merge(self, inner: Verdict, model: Verdict) -> Verdict:
        if self._model_decides and model.flagged is not None:
            return replace(model, findings=inner.findings, judge=self.name)
        rationale = f' The model\'s words: "{model.reasoning}"' if model.reasoning else ""
        return replace(
            inner,
            reasoning=inner.reasoning + rationale,
            response=model.response,
            request=model.request,
            seconds=inner.seconds + model.seconds,
            note=" ".join(part for part in (inner.note, self._note(model)) if part),
        )

    def _note(self, model: Verdict) -> str:
        """Why the model's verdict does not count."""
        if model.flagged is None:
            return f"{model.note} So {self.inner.name} decided." if self._model_decides else model.note
        said = f"flagged {model.category}" if model.flagged else "found nothing"
        note = f"The model {said}; its own verdict is shown but does not count"
        return note + (
            ", since no `redraft judge bench` has shown it to be reliable." if self._asked_to_decide else "."
        )


class AnswerQualityJudge(JudgeDecorator):
    """Returns no verdict on a degenerate answer (a loop, an empty or unfinished text), and asks the inner judge about
    the others only: a collapse must look neither clean nor like a violation."""

    def without_rationale(self) -> Judge:
        quick = self.inner.without_rationale()
        return self if quick is self.inner else AnswerQualityJudge(quick)

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        answers: list[JudgeInput] = []
        for text in texts:
            quality, reason = explain(text.prompt, text.text)
            # A document is not a model's answer; repetition in it is judged like the rest.
            if quality == "responsive" or len(text.text) > MAX_ANSWER_CHARS:
                answers.append(text)
            else:
                yield Verdict(text.key, None, judge=self.name, note=f"No answer. {reason}", quality=quality)
        if answers:
            yield from self.inner.judge(answers, control)
