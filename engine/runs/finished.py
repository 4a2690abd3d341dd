"""The finished items of a run, from its events alone: those just written, or a journal's after a crash.

So a resumed run knows exactly what an uninterrupted one would, and repeats at most what was in progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.events.comparison import Answer, Comparison, Diff, SideEffects
from engine.events.generation import (
    Critique,
    Demonstration,
    Draft,
    DraftSample,
    PairDecided,
    Revision,
    RevisionCandidate,
)
from engine.events.run import RunComplete
from engine.events.schema import Event
from engine.events.training import HealthAlarm, HealthDecision, TrainEnd, TrainHealth, TrainStart, TrainStep
from engine.events.verdicts import (
    AnswerVerdict,
    CandidateVerdict,
    DraftVerdict,
    PairVerdict,
    RevisionVerdict,
    SecondVerdict,
)
from engine.judges.base import Verdict

AnswerKey = tuple[str, str, str, int]
"""Set, id of the prompt, model ("base", "trained"; "trained-2" of the second training seed), number of the sample."""


@dataclass
class TrainingHealth:
    """What was seen and decided of one training's health.

    Args:
        alarms: in order.
        last_healthy: the last step whose figures were all within their limits, before any alarm; 0 for none.
        choice: "continue" or "restore" after an alarm; "" while nothing was decided.
        steps: number of a step -> its loss, log-ratio of the chosen answers and margin.
        checks: number of a sample step -> what was measured there.
    """

    alarms: list[HealthAlarm] = field(default_factory=list)
    last_healthy: int = 0
    choice: str = ""
    steps: dict[int, tuple[float | None, float | None, float | None]] = field(default_factory=dict)
    checks: dict[int, TrainHealth] = field(default_factory=dict)


@dataclass
class FinishedItems:
    """What a run need not do again.

    Args:
        drafts, draft_verdicts, critiques: id of the prompt -> result. A draft that could not be written is "".
        principles: id of the prompt -> id of the principle that its critique is about.
        candidates, candidate_verdicts: (id of the prompt, number from 1) -> result; further samples of the draft, then
            revisions, then the demonstration.
        cut: (id of the prompt, number from 0) of texts that were cut at the maximum number of tokens.
        revised: ids of prompts whose revision was chosen.
        revision_judged: ids of prompts whose revision has a verdict.
        pair_verdicts: id of the prompt -> verdicts on the rejected and on the chosen answer of a pair that was brought.
        pairs: ids of prompts whose pair was decided.
        answers, answer_verdicts: (set, id of the prompt, "base" or "trained", number of the sample) -> result.
        second_verdicts: the same key -> verdict of the judge that chose the training pairs.
        compared, diffed: (set, id) that were compared.
        side_effects: number of a training -> what it changed on neutral texts.
        seconds: id of the prompt -> generation and judging time spent on its pair.
        trained: number of a training, from 1 -> its end; its adapter is in the run's folder.
        health: number of a training -> what was seen of its health.
        complete: the run reached its end.
    """

    drafts: dict[str, str] = field(default_factory=dict)
    draft_verdicts: dict[str, Verdict] = field(default_factory=dict)
    critiques: dict[str, str] = field(default_factory=dict)
    principles: dict[str, str] = field(default_factory=dict)
    candidates: dict[tuple[str, int], str] = field(default_factory=dict)
    candidate_verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)
    cut: set[tuple[str, int]] = field(default_factory=set)
    revised: set[str] = field(default_factory=set)
    revision_judged: set[str] = field(default_factory=set)
    pair_verdicts: dict[str, tuple[Verdict, Verdict]] = field(default_factory=dict)
    pairs: set[str] = field(default_factory=set)
    answers: dict[AnswerKey, str] = field(default_factory=dict)
    answer_verdicts: dict[AnswerKey, Verdict] = field(default_factory=dict)
    second_verdicts: dict[AnswerKey, Verdict] = field(default_factory=dict)
    compared: set[tuple[str, str]] = field(default_factory=set)
    diffed: set[tuple[str, str]] = field(default_factory=set)
    side_effects: dict[int, SideEffects] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    trained: dict[int, TrainEnd] = field(default_factory=dict)
    health: dict[int, TrainingHealth] = field(default_factory=dict)
    complete: bool = False
    _training: int = 1

    def health_of(self, training: int) -> TrainingHealth:
        """The health of the training with this number."""
        return self.health.setdefault(training, TrainingHealth())

    def apply(self, event: Event) -> None:
        """Add what an event finished; most finish nothing."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _draft(self, event: Draft) -> None:
        self.drafts[event.item] = event.draft
        self._mark_cut(event.item, 0, event.finish)
        self._spent(event.item, event.share or event.seconds)

    def _draft_verdict(self, event: DraftVerdict) -> None:
        self.draft_verdicts[event.item] = event.to_verdict(event.item)
        self._spent(event.item, event.seconds)

    def _sample(self, event: DraftSample) -> None:
        self.candidates[event.item, event.candidate] = event.sample
        self._mark_cut(event.item, event.candidate, event.finish)
        self._spent(event.item, event.share or event.seconds)

    def _demonstration(self, event: Demonstration) -> None:
        self.candidates[event.item, event.candidate] = event.demonstration

    def _critique(self, event: Critique) -> None:
        self.critiques[event.item] = event.critique
        self.principles[event.item] = event.principle
        self._spent(event.item, event.share or event.seconds)

    def _candidate(self, event: RevisionCandidate) -> None:
        self.candidates[event.item, event.candidate] = event.revision
        self._mark_cut(event.item, event.candidate, event.finish)
        self._spent(event.item, event.share or event.seconds)

    def _candidate_verdict(self, event: CandidateVerdict) -> None:
        self.candidate_verdicts[event.item, event.candidate] = event.to_verdict(event.item)
        self._spent(event.item, event.seconds)

    def _revision(self, event: Revision) -> None:
        self.revised.add(event.item)

    def _revision_verdict(self, event: RevisionVerdict) -> None:
        self.revision_judged.add(event.item)

    def _pair_verdict(self, event: PairVerdict) -> None:
        verdicts = event.rejected_verdict.to_verdict(event.item), event.chosen_verdict.to_verdict(event.item)
        self.pair_verdicts[event.item] = verdicts

    def _pair(self, event: PairDecided) -> None:
        self.pairs.add(event.item)

    def _train_start(self, event: TrainStart) -> None:
        self._training = event.training

    def _train_step(self, event: TrainStep) -> None:
        steps = self.health_of(self._training).steps
        steps[event.step] = event.loss, event.logratios_chosen, event.rewards_margins

    def _train_health(self, event: TrainHealth) -> None:
        health = self.health_of(event.training)
        health.checks[event.step] = event
        if event.healthy and not health.alarms:
            health.last_healthy = event.step

    def _health_alarm(self, event: HealthAlarm) -> None:
        self.health_of(event.training).alarms.append(event)

    def _health_decision(self, event: HealthDecision) -> None:
        self.health_of(event.training).choice = event.choice

    def _train_end(self, event: TrainEnd) -> None:
        self.trained[event.training] = event

    def _answer(self, event: Answer) -> None:
        self.answers[event.set, event.item, event.arm, event.sample] = event.answer

    def _answer_verdict(self, event: AnswerVerdict) -> None:
        self.answer_verdicts[event.set, event.item, event.arm, event.sample] = event.to_verdict(event.item)

    def _second_verdict(self, event: SecondVerdict) -> None:
        self.second_verdicts[event.set, event.item, event.arm, event.sample] = event.to_verdict(event.item)

    def _comparison(self, event: Comparison) -> None:
        self.compared.add((event.set, event.item))

    def _diff(self, event: Diff) -> None:
        self.diffed.add((event.set, event.item))

    def _side_effects(self, event: SideEffects) -> None:
        self.side_effects[event.training] = event

    def _complete(self, _event: RunComplete) -> None:
        self.complete = True

    def _mark_cut(self, item: str, number: int, finish: str) -> None:
        if finish == "length":
            self.cut.add((item, number))

    def _spent(self, item: str, seconds: float) -> None:
        if item:
            self.seconds[item] = self.seconds.get(item, 0.0) + seconds


_HANDLERS: dict[type[Event], Callable[[FinishedItems, Any], None]] = {
    Draft: FinishedItems._draft,
    DraftSample: FinishedItems._sample,
    Demonstration: FinishedItems._demonstration,
    DraftVerdict: FinishedItems._draft_verdict,
    Critique: FinishedItems._critique,
    RevisionCandidate: FinishedItems._candidate,
    CandidateVerdict: FinishedItems._candidate_verdict,
    Revision: FinishedItems._revision,
    RevisionVerdict: FinishedItems._revision_verdict,
    PairVerdict: FinishedItems._pair_verdict,
    PairDecided: FinishedItems._pair,
    TrainStart: FinishedItems._train_start,
    TrainStep: FinishedItems._train_step,
    TrainHealth: FinishedItems._train_health,
    HealthAlarm: FinishedItems._health_alarm,
    HealthDecision: FinishedItems._health_decision,
    TrainEnd: FinishedItems._train_end,
    Answer: FinishedItems._answer,
    AnswerVerdict: FinishedItems._answer_verdict,
    SecondVerdict: FinishedItems._second_verdict,
    Comparison: FinishedItems._comparison,
    Diff: FinishedItems._diff,
    SideEffects: FinishedItems._side_effects,
    RunComplete: FinishedItems._complete,
}
