"""A judge that knows no places in a text, together with the rules that do: they show where, it decides whether."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.base import Judge, Judged, Verdict, worst_of
from engine.judges.eval.report import Rating, rating
from engine.judges.rules.judge import RulesJudge


class WithSpans:
    """Adds the rules' findings to another judge's verdicts, and the kind of violation where a finding names it.

    Args:
        judge: decides.
        constitution: with the rules.
    """

    def __init__(self, judge: Judge, constitution: Constitution) -> None:
        self._judge = judge
        self._rules = RulesJudge(constitution)
        self.name = judge.name

    @property
    def rating(self) -> Rating:
        return rating(self._judge)

    def prepare(self, control: Control) -> None:
        """As the other judge does (see `WordsJudge.prepare`)."""
        prepare = getattr(self._judge, "prepare", None)
        if prepare is not None:
            prepare(control)

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text, as the other judge gives them."""
        words = {text.key: text.text for text in texts}
        for verdict in self._judge.judge(texts, control):
            findings = self._rules.find(words[verdict.key])
            worst = worst_of(findings, verdict.broken)
            yield replace(verdict, findings=findings, category=worst.category if worst else verdict.category)
