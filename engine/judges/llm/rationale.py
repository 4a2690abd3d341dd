"""A judge together with a model's own words on the same text.

Who decides is set once, by name, and every verdict says which of them did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.control import Control
from engine.judges.base import Judge, Judged, Verdict
from engine.judges.eval.cache import deserves
from engine.judges.eval.report import Rating, rating
from engine.judges.llm.generative import ModelJudge


class WordsJudge:
    """A judge together with a model's own verdict.

    Args:
        first: always asked.
        model: asked too; None where no model takes part.
        model_decides: True takes the model's verdict where it was measured to deserve it and its answer is usable, and
            the first one's where not; False takes the first one's and shows the model's words beside it.
        unproven: take the model's verdict also where nothing was measured: for the measurement itself.
    """

    def __init__(self, first: Judge, model: ModelJudge | None, *, model_decides: bool, unproven: bool = False) -> None:
        self._first = first
        self._model = model
        self._asked_to_decide = model_decides
        self._model_decides = model_decides and model is not None and (unproven or deserves(rating(model).measures))
        self.name = f"{model.name}, else {first.name}" if model is not None and self._model_decides else first.name

    @property
    def rating(self) -> Rating:
        """Of the judge that decides."""
        decider = self._model if self._model is not None and self._model_decides else self._first
        return replace(rating(decider), name=self.name)

    def prepare(self, control: Control) -> None:
        """Let a judge that needs it look whether it can work at all, before much is done that rests on it.

        Raises:
            EndpointError: it cannot.
            Stopped: where `control` asks for it.
        """
        prepare = getattr(self._first, "prepare", None)
        if prepare is not None:
            prepare(control)

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text."""
        if self._model is None:
            yield from self._first.judge(texts, control)
            return
        by_first = {verdict.key: verdict for verdict in self._first.judge(texts, control)}
        for verdict in self._model.judge(texts, control):
            yield self._together(by_first[verdict.key], verdict)

    def quick(self) -> WordsJudge:
        """The same decision without words where the model does not decide: for texts that nobody reads one by one."""
        return self if self._model_decides else WordsJudge(self._first, None, model_decides=False)

    def _together(self, first: Verdict, model: Verdict) -> Verdict:
        if self._model_decides and model.flagged is not None:
            return replace(model, findings=first.findings, judge=self.name)
        if model.flagged is None:
            note = f"{model.note} So {self._first.name} decided." if self._model_decides else model.note
        else:
            said = f"flagged {model.category}" if model.flagged else "found nothing"
            note = f"The model {said}; its own verdict is shown but does not count"
            note += ", since no `redraft judge bench` has shown that it deserves to." if self._asked_to_decide else "."
        words = f' The model\'s words: "{model.reasoning}"' if model.reasoning else ""
        return replace(
            first,
            reasoning=first.reasoning + words,
            response=model.response,
            request=model.request,
            seconds=first.seconds + model.seconds,
            note=" ".join(part for part in (first.note, note) if part),
        )
