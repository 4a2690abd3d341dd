"""The state of a run: what its records add up to, one at a time, in order.

The only reducer: a resumed run rebuilds with it what is finished, and the app what it shows. It keeps numbers and the
numbers of records; texts only in `finished`, which only the process that performs the run needs.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.events.base import Record
from engine.json_values import is_number, number_or_none
from engine.runs import time_left
from engine.runs.arms import arm_names, model_names
from engine.runs.series import Series
from engine.text import sanitize, truncate

if TYPE_CHECKING:  # the classes of all events are loaded with the first record: the app's first frame needs none
    from engine.events.comparison import Comparison, ComparisonSummary, Diff
    from engine.events.generation import PairDecided, TrainingExample
    from engine.events.notices import Notice, RunError
    from engine.events.run import (
        JudgesChosen,
        ModelLoaded,
        ModelLoading,
        RunComplete,
        RunContinued,
        RunPaused,
        RunResumed,
        RunStart,
        RunStopped,
        StageEnd,
        StageProgress,
        StageStart,
    )
    from engine.events.training import (
        EpochEnd,
        HealthAlarm,
        HealthDecision,
        TrainEnd,
        TrainSample,
        TrainStart,
        TrainStep,
    )
    from engine.events.verdicts import EvalDecision, EvalInput
    from engine.runs.finished import FinishedItems


@dataclass
class Progress:
    """The running stage.

    Args:
        name: as the journal names it; "" between stages.
        done, total: items; total 0 where it is not known.
        rate: tokens per second where measured, else 0.
        seconds: spent on the stage, pauses excluded.
        known: items that were done when the stage began: those of an earlier start.
        part: items' worth of work that is done in the batch that is not finished.
        measured: seconds left as the writer estimates them, which knows tokens; None where it does not say.
    """

    name: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    known: int = 0
    part: float = 0.0
    measured: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds left at the speed so far; None before it can be known."""
        if self.measured is not None:
            return self.measured
        return time_left.by_items(self.name, self.done, self.known, self.total, self.seconds)

    @property
    def share(self) -> float:
        """Share of the stage that is done, 0 to 1, the running batch included; 0 where the total is not known."""
        return max(0.0, min(1.0, (self.done + self.part) / self.total)) if self.total > 0 else 0.0


class Order(enum.Enum):
    """In which order comparisons are looked at; the value is how it is called."""

    CHANGE = "largest change first"
    CAME = "as they came"
    WORSE = "got worse first"
    PRINCIPLE = "by principle"


@dataclass(eq=False)
class Compared:
    """Two answers to one prompt: of the base and of the trained model, or the two sides of a preference pair.

    Args:
        item: the prompt's id.
        event: number of the record with both texts (COMPARISON-TEST, TRAINING-PAIR-CREATED).
        names: labels of the two texts in that record: ("base", "trained") or ("rejected", "chosen").
        diff: number of the SIDE-BY-SIDE-DIFF record; -1 where there is none (yet).
        base, trained: the verdicts' `data` on the first and on the second text; of a pair the scores alone.
        verdicts: numbers of the records with the whole verdicts on both; -1 where `base` and `trained` are whole.
        benign: from the set of prompts that should not be refused.
        changed: words that changed.
        changes: names of the kinds of change.
        cut: names of the texts that ended at the token limit.
        note: of a pair, "kept", or why it was dropped.
    """

    item: str
    event: int
    names: tuple[str, str] = ("base", "trained")
    diff: int = -1
    base: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)
    verdicts: tuple[int, int] = (-1, -1)
    benign: bool = False
    changed: int = 0
    changes: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    note: str = ""

    @property
    def rise(self) -> float:
        """How much the score of the second text is above the first's; below 0 is better. 0 without a verdict on both:
        no verdict is neither clean nor a violation."""
        before, after = _score(self.base), _score(self.trained)
        return 0.0 if before is None or after is None else after - before

    @property
    def drift(self) -> float:
        """The same of the sum of the principles' probabilities, which tells answers apart that cross no threshold."""
        before, after = _probabilities(self.base), _probabilities(self.trained)
        return 0.0 if before is None or after is None else round(after - before, 2)

    @property
    def order(self) -> tuple[bool, float, float, int, int]:
        """Sort key: held-out prompts before benign ones; the largest change of the score first, then of the
        probabilities, of words, then as they came."""
        return (self.benign, -abs(self.rise), -abs(self.drift), -self.changed, self.event)

    @property
    def principle(self) -> str:
        """The heaviest principle that either text breaks, the first text's before the second's; "" for none."""
        for verdict in (self.base, self.trained):
            broken = verdict.get("broken")
            if isinstance(broken, list | tuple) and broken:
                return str(broken[0])
        return ""

    def key(self, order: Order) -> tuple[Any, ...]:
        """The sort key of this order."""
        if order is Order.CAME:
            return (self.event,)
        if order is Order.WORSE:
            return (-self.rise, -self.drift, *self.order)
        if order is Order.PRINCIPLE:
            return (not self.principle, self.principle, *self.order)
        return self.order


def _score(verdict: Mapping[str, Any]) -> float | None:
    return number_or_none(verdict.get("score"))


def _probabilities(verdict: Mapping[str, Any]) -> float | None:
    """The sum of the principles' probabilities; None without a verdict."""
    principles = verdict.get("principles")
    if verdict.get("flagged") is None or not isinstance(principles, Mapping):
        return None
    return float(sum(filter(is_number, principles.values())))


def _scored(score: float | None, broken: Any) -> dict[str, Any]:
    """What a pair's score, and the principles that the text breaks, say of the verdict."""
    return {"score": score, "flagged": None if score is None else score > 0, "broken": broken}


@dataclass
class Health:
    """The alarms of training, and whether one of them waits for an answer.

    Args:
        alarms: in order.
        open: the newest alarm while the user may still choose; None else.
        decision: the newest decision.
    """

    alarms: list[HealthAlarm] = field(default_factory=list)
    open: HealthAlarm | None = None
    decision: HealthDecision | None = None

    @property
    def short(self) -> str:
        """As `line`, without the kind."""
        if self.decision is not None and self.decision.restored is not None:
            return f"back to step {self.decision.restored}"
        return f"alarm at step {self.alarms[-1].step}" if self.alarms else ""

    @property
    def line(self) -> str:
        """What is to be known of the health of training, in a few words; "" where there was no alarm."""
        if self.decision is not None and self.decision.restored is not None:
            return f"back to step {self.decision.restored} after an alarm"
        if not self.alarms:
            return ""
        # A journal may come from elsewhere.
        kind = truncate(" ".join(sanitize(self.alarms[-1].kind).split()), 20)
        return f"alarm at step {self.alarms[-1].step}: {kind}"


@dataclass
class Item:
    """A training prompt: the number of its first record, and whether its pair was kept (None before that)."""

    event: int
    kept: bool | None = None


class RunState:
    """What a run's records add up to.

    Args:
        resumable: keep `finished`, with all texts, so that the run can be continued from this state.
    """

    def __init__(self, *, resumable: bool = True) -> None:
        self.unusable = 0
        """Records whose members are not what their stage declares; they count as lost."""
        self.config: Mapping[str, Any] = {}
        self.model = ""
        self.status = ""
        """ "", "running", "paused", "done", "stopped" or "failed", according to the journal."""
        self.progress = Progress()
        self.loss = Series()
        self.valid = Series()
        self.margin = Series()
        """Mean reward margins of the steps, where the objective has them."""
        self.steps = 0
        self.epoch_lines: list[float] = []
        self.sample = -1
        """Number of the record with the newest sample answer; -1 for none."""
        self.sample_step = 0
        self.training = 1
        """Number of the running training; there is one per training seed."""
        self.trainings = 1
        self.health = Health()
        """Alarms of the running training."""
        self.comparisons: list[Compared] = []
        self.pairs: list[Compared] = []
        """The preference pairs, kept and dropped."""
        self.max_score: float | None = None
        """The highest score that a text can have; None where the journal does not say it."""
        self.principles: dict[str, None] = {}
        """Ids of the principles that verdicts name, in the judge's order."""
        self.items: dict[str, Item] = {}
        self.pairs_kept = 0
        self.pairs_dropped = 0
        self.decision = -1
        """Number of the newest EVAL-DECISION; -1 for none."""
        self.decision_data: Mapping[str, Any] = {}
        self.decision_input = -1
        """Number of the EVAL-INPUT that it is about; -1 where it is not known."""
        self.judges: Mapping[str, Any] = {}
        """Which judge decides what, and how good each was measured to be: the `data` of the newest JUDGES."""
        self.notice = -1
        """Number of the newest NOTICE; -1 for none."""
        self.notice_words = ""
        self.writing = -1
        """Number of the newest PROGRESS record that holds the text that is being written; -1 while there is none."""
        self.loading_share = 0.0
        """Share of the model that is loaded, 0 to 1; 0 before it is known."""
        self.loading = ""
        """Progress of the model that is being loaded, such as "Writing the embedded model. 80 %"; else ""."""
        self.result: Mapping[str, Any] = {}
        """The statistics of the comparison."""
        self.outcome = ""
        """Result of a complete run in one or two words; "" before that."""
        self.seconds = 0.0
        """Wall time of a complete run since it was started or resumed."""
        self.problem = ""
        """Why the run failed; "" where it did not."""
        self.started = 0.0
        self.updated = 0.0
        self.last_score: tuple[str, float | None, float | None] | None = None
        """"pair" or "comparison", the score before and after."""
        self._resumable = resumable
        self._inputs: dict[str, int] = {}
        self._by_item: dict[str, Compared] = {}
        self._stage_began = 0.0
        self._paused_at = 0.0
        self._first_step = self._last_step = 0.0
        self._sorted: dict[tuple[bool, Order], list[Compared]] = {}
        self._candidates: dict[str, dict[int, list[Any]]] = {}
        """Prompts without a pair yet: candidate (0 is the draft) -> number of its verdict's record, whether it was cut
        at the token limit, and the principles that it breaks."""
        self._answers: dict[tuple[str, str], dict[str, list[Any]]] = {}
        """Prompts that are not compared yet (set and id): arm -> number of its verdict's record, and whether the answer
        was cut."""

    @functools.cached_property
    def finished(self) -> FinishedItems:
        """What need not be done again; empty where the state is not for resuming."""
        from engine.runs.finished import FinishedItems

        return FinishedItems()

    def apply(self, record: Record, number: int | None = None) -> None:
        """Add a record. One that is damaged adds nothing, and is counted in `unusable`.

        Args:
            number: what the state calls the record; its `seq` if not given.
        """
        if record.time > self.updated:
            self.updated = record.time
        note = _NOTED.get(record.stage)
        if note is not None:
            note(self, record, record.seq if number is None else number)
        if not (self._resumable or _is_handled(record.stage)):
            self.loading = ""
            return
        from engine.events.registry import parse
        from engine.events.schema import DamagedEvent

        try:
            event = parse(record)
        except DamagedEvent:
            self.unusable += 1
            return
        # Whatever comes next, the model is loaded or has failed.
        self.loading = ""
        handler = _HANDLERS.get(type(event).__name__)
        if handler is not None:
            handler(self, event, record, record.seq if number is None else number)
        if self._resumable:
            self.finished.apply(event)

    @property
    def by_change(self) -> list[Compared]:
        """The comparisons, the largest change first."""
        return self.ordered(Order.CHANGE)

    def ordered(self, order: Order, *, pairs: bool = False) -> list[Compared]:
        """The comparisons, or the preference pairs, in this order."""
        found = self._sorted.get((pairs, order))
        if found is None:
            found = sorted(self.pairs if pairs else self.comparisons, key=lambda one: one.key(order))
            self._sorted[pairs, order] = found
        return found

    def compared(self, item: str) -> Compared | None:
        """The comparison of the prompt with this id; None where there is none yet."""
        return self._by_item.get(item)

    @property
    def arms(self) -> tuple[str, str]:
        """How the two models are called whose answers are compared (`arm_names`)."""
        return arm_names(self.config.get("against"))

    @property
    def ended(self) -> bool:
        return self.status in ("done", "stopped", "failed")

    def _run_start(self, event: RunStart, record: Record, _number: int) -> None:
        self.config = event.config
        self.max_score = event.max_score
        self.model = model_names(event.config)
        self.status = "running"
        self.started = record.time
        self.problem = ""

    def _run_resumed(self, _event: RunResumed, record: Record, _number: int) -> None:
        self.status = "running"
        self.problem = ""
        self.started = self.started or record.time

    def _run_paused(self, _event: RunPaused, record: Record, _number: int) -> None:
        self.status = "paused"
        self._paused_at = record.time

    def _run_continued(self, _event: RunContinued, record: Record, _number: int) -> None:
        self.status = "running"
        if self._paused_at:
            self._stage_began += max(0.0, record.time - self._paused_at)
            self._paused_at = 0.0

    def _run_stopped(self, _event: RunStopped, _record: Record, _number: int) -> None:
        self.status = "stopped"
        self.progress, self.writing = Progress(), -1

    def _run_complete(self, event: RunComplete, _record: Record, _number: int) -> None:
        self.status = "done"
        self.outcome, self.seconds = event.outcome, event.seconds
        self.progress, self.writing = Progress(), -1

    def _run_error(self, event: RunError, _record: Record, _number: int) -> None:
        self.status = "failed" if self.status == "running" else self.status
        self.problem = event.summary

    def _notice(self, event: Notice, _record: Record, number: int) -> None:
        self.notice, self.notice_words = number, event.summary

    def _model_loading(self, event: ModelLoading, _record: Record, _number: int) -> None:
        # The first event's summary is the model's name; the others' are sentences.
        self.loading = f"Loading {event.summary} …" if event.summary == event.model else event.summary
        self.loading_share = event.fraction or 0.0

    def _model_loaded(self, event: ModelLoaded, _record: Record, _number: int) -> None:
        self.model = self.model or event.model

    def _judges(self, event: JudgesChosen, _record: Record, _number: int) -> None:
        self.judges = event.to_data()

    def _stage_start(self, event: StageStart, record: Record, _number: int) -> None:
        self.progress = Progress(event.name, event.done, event.total, known=event.done)
        self.writing = -1
        self._stage_began = record.time

    def _stage_progress(self, event: StageProgress, record: Record, number: int) -> None:
        progress = self.progress
        if event.name is not None and event.name != progress.name:
            progress = self.progress = Progress(event.name)
            self._stage_began = record.time
        progress.done = event.done
        progress.total = event.total or progress.total
        progress.rate = event.rate or 0.0
        progress.part = event.part or 0.0
        progress.measured = None if event.left is None else max(0.0, event.left)
        progress.seconds = max(progress.seconds, self._seconds(event.seconds, record))
        self.writing = number if event.writing else -1

    def _stage_end(self, event: StageEnd, record: Record, _number: int) -> None:
        self.progress.done = event.done or self.progress.total
        self.progress.part = 0.0
        self.progress.measured = None
        self.writing = -1
        self.progress.seconds = self._seconds(event.seconds, record)

    def _seconds(self, measured: float | None, record: Record) -> float:
        """Seconds of the running stage: the writer's measurement, which a clock that is set cannot change, else the
        difference of times."""
        return max(0.0, record.time - self._stage_began if measured is None else measured)

    def _training_example(self, event: TrainingExample, _record: Record, number: int) -> None:
        if event.item:
            self.items.setdefault(event.item, Item(number))

    def _pair(self, event: PairDecided, _record: Record, number: int) -> None:
        self.pairs_kept += event.kept
        self.pairs_dropped += not event.kept
        self.items.setdefault(event.item, Item(number)).kept = event.kept
        self.last_score = ("pair", event.expected_rejected, event.expected_chosen)
        known = self._candidates.pop(event.item, {})
        rejected, chosen = (known.get(candidate, (-1, False, ())) for candidate in (event.against, event.taken))
        self.pairs.append(
            Compared(
                event.item,
                number,
                ("rejected", "chosen"),
                base=_scored(event.score_rejected, rejected[2]),
                trained=_scored(event.score_chosen, chosen[2]),
                verdicts=(rejected[0], chosen[0]),
                cut=tuple(name for name, one in (("rejected", rejected), ("chosen", chosen)) if one[1]),
                note="kept" if event.kept else f"dropped: {event.reason}",
            )
        )
        self._sorted.clear()

    def _note_candidate(self, record: Record, number: int) -> None:
        """Remember the verdict on a draft or candidate, or that it was cut, until its pair is decided."""
        candidate = record.data.get("candidate", 0)
        if not record.item or not isinstance(candidate, int):
            return
        is_verdict, cut = record.stage.endswith("EVALUATION"), record.data.get("finish") == "length"
        if not is_verdict and not cut and record.item not in self._candidates:
            return  # what is not known counts as not cut
        known = self._candidates.setdefault(record.item, {}).setdefault(candidate, [-1, False, ()])
        if is_verdict:
            known[0], known[2] = number, record.data.get("broken", ())
            self._note_principles(record.data)
        else:
            known[1] = cut

    def _note_answer(self, record: Record, number: int) -> None:
        """Remember the verdict on a compared answer, or that it was cut, until the answers are compared."""
        data = record.data
        if data.get("sample"):
            return
        place = str(data.get("set")), record.item
        known = self._answers.setdefault(place, {}).setdefault(str(data.get("arm")), [-1, False])
        if record.stage.endswith("EVALUATION"):
            known[0] = number
            self._note_principles(data)
        else:
            known[1] = data.get("finish") == "length"

    def _note_principles(self, verdict: Mapping[str, Any]) -> None:
        names = verdict.get("principles")
        if isinstance(names, Mapping) and not names.keys() <= self.principles.keys():
            self.principles |= dict.fromkeys(map(str, names))

    def _train_start(self, event: TrainStart, _record: Record, _number: int) -> None:
        if event.training != self.training:
            self.health = Health()
        self.training, self.trainings = event.training, event.trainings

    def _health_alarm(self, event: HealthAlarm, _record: Record, _number: int) -> None:
        self.health.alarms.append(event)
        if event.action == "ask" and self.health.decision is None:
            self.health.open = event

    def _health_decision(self, event: HealthDecision, _record: Record, _number: int) -> None:
        self.health.decision, self.health.open = event, None

    def _train_end(self, _event: TrainEnd, _record: Record, _number: int) -> None:
        self.health.open = None

    def _train_step(self, event: TrainStep, _record: Record, _number: int) -> None:
        step = float(event.step)
        self._train_progress(event.step, event.steps)
        if event.loss is None:
            return
        if step <= self._last_step:
            if step > 1:
                return  # a step that was repeated after a resume
            # A second training (DPO after SFT) counts from 1 again; the curve continues.
            self._first_step = self.loss.latest_step
        self._last_step = step
        self.loss.add(step + self._first_step, event.loss)
        if event.rewards_margins is not None:
            self.margin.add(step + self._first_step, event.rewards_margins)
        self.steps = int(self._first_step) + event.steps or self.steps

    def _train_sample(self, event: TrainSample, _record: Record, number: int) -> None:
        self._train_progress(event.step, 0)
        self.sample, self.sample_step = number, int(event.step + self._first_step)

    def _train_progress(self, step: int, steps: int) -> None:
        if self.progress.name == "train" and step:
            self.progress.done = step
            self.progress.total = steps or self.progress.total

    def _epoch_end(self, event: EpochEnd, _record: Record, _number: int) -> None:
        if event.validation_loss is not None:
            self.valid.add(self.loss.latest_step, event.validation_loss)
        self.epoch_lines.append(self.loss.latest_step)

    def _comparison(self, event: Comparison, record: Record, number: int) -> None:
        known = self._answers.pop((event.set, event.item), {})
        base, trained = (known.get(arm, (-1, False)) for arm in ("base", "trained"))
        compared = Compared(
            event.item,
            number,
            base=record.data["base"],
            trained=record.data["trained"],
            benign=event.set == "benign",
            verdicts=(base[0], trained[0]),
            cut=tuple(arm for arm, answer in (("base", base), ("trained", trained)) if answer[1]),
        )
        self.comparisons.append(compared)
        self._by_item[event.item] = compared
        self._note_principles(compared.base)
        self._sorted.clear()
        self.last_score = ("comparison", event.base.score, event.trained.score)

    def _diff(self, event: Diff, _record: Record, number: int) -> None:
        compared = self._by_item.get(event.item)
        if compared is None:
            return
        compared.diff = number
        compared.changed = event.words_removed + event.words_added
        compared.changes = tuple(change.label for change in event.changes)
        self._sorted.clear()

    def _comparison_summary(self, event: ComparisonSummary, _record: Record, _number: int) -> None:
        self.result = event.result
        highest = event.result.get("max_score", event.result.get("most"))
        if self.max_score is None and is_number(highest):
            self.max_score = float(highest)

    def _eval_input(self, event: EvalInput, _record: Record, number: int) -> None:
        self._inputs[event.item] = number

    def _eval_decision(self, event: EvalDecision, record: Record, number: int) -> None:
        self.decision, self.decision_data = number, record.data
        self._note_principles(record.data)
        self.decision_input = self._inputs.pop(event.item, -1)


@functools.lru_cache(maxsize=1024)  # a journal from elsewhere may name any number of stages
def _is_handled(stage: str) -> bool:
    """Whether records of this stage change the state."""
    from engine.events.registry import find

    return any(cls.__name__ in _HANDLERS for cls in find(stage))


_NOTED: dict[str, Callable[[RunState, Record, int], None]] = {
    "INITIAL-GENERATION": RunState._note_candidate,
    "DRAFT-SAMPLE": RunState._note_candidate,
    "DEMONSTRATION": RunState._note_candidate,
    "REVISION-CANDIDATE": RunState._note_candidate,
    "INITIAL-EVALUATION": RunState._note_candidate,
    "CANDIDATE-EVALUATION": RunState._note_candidate,
    "COMPARISON-ANSWER": RunState._note_answer,
    "COMPARISON-EVALUATION": RunState._note_answer,
}
"""Stages of which a few figures are kept without parsing the whole record."""

_HANDLERS: dict[str, Callable[[RunState, Any, Record, int], None]] = {
    "RunStart": RunState._run_start,
    "RunResumed": RunState._run_resumed,
    "RunPaused": RunState._run_paused,
    "RunContinued": RunState._run_continued,
    "RunStopped": RunState._run_stopped,
    "RunComplete": RunState._run_complete,
    "RunError": RunState._run_error,
    "Notice": RunState._notice,
    "TornRecord": RunState._notice,
    "RowTruncated": RunState._notice,
    "Failure": RunState._notice,
    "ModelLoading": RunState._model_loading,
    "ModelLoaded": RunState._model_loaded,
    "JudgesChosen": RunState._judges,
    "StageStart": RunState._stage_start,
    "StageProgress": RunState._stage_progress,
    "StageEnd": RunState._stage_end,
    "TrainStart": RunState._train_start,
    "HealthAlarm": RunState._health_alarm,
    "HealthDecision": RunState._health_decision,
    "TrainEnd": RunState._train_end,
    "TrainingExample": RunState._training_example,
    "PairDecided": RunState._pair,
    "TrainStep": RunState._train_step,
    "TrainSample": RunState._train_sample,
    "EpochEnd": RunState._epoch_end,
    "Comparison": RunState._comparison,
    "Diff": RunState._diff,
    "ComparisonSummary": RunState._comparison_summary,
    "EvalInput": RunState._eval_input,
    "EvalDecision": RunState._eval_decision,
}
"""Name of an event's class -> what it changes."""
