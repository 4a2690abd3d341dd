"""What a run's events add up to: the model, the stage and its progress, the losses, the comparisons, the outcome.

A reducer without a screen: `RunState.take` is called once for each event, in order, and keeps numbers and the numbers
of events, never texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.events.base import Event
from tui.views.series import Series

_BATCH = re.compile(r"EPOCH-(\d+)-BATCH-(\d+)")
_ENDS = {"RUN-COMPLETE": "done", "RUN-STOPPED": "stopped"}


@dataclass
class Progress:
    """The running stage.

    Args:
        name: as the journal names it; "" between stages.
        done, total: items; total 0 where it is not known.
        rate: tokens a second where measured, else 0.
        seconds: spent on the stage, pauses left out.
    """

    name: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at the speed measured so far; None before there is any."""
        if not self.done or not self.total or self.seconds <= 0:
            return None
        return self.seconds / self.done * max(0, self.total - self.done)


@dataclass
class Comparison:
    """Base and trained answer to one prompt.

    Args:
        item: the prompt's id.
        event: number of the COMPARISON-TEST event in the log's store.
        diff: number of the SIDE-BY-SIDE-DIFF event; -1 before it came.
        base, trained: verdicts as in the journal.
        benign: from the set that no good answer refuses.
        changed: words that changed.
    """

    item: str
    event: int
    diff: int = -1
    base: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)
    benign: bool = False
    changed: int = 0
    changes: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[float, int, int]:
        """Sort key: the greatest change of the score first, then of words, then as they came."""
        before, after = _float(self.base.get("score")), _float(self.trained.get("score"))
        return (-abs(before - after), -self.changed, self.event)


@dataclass
class Item:
    """A training prompt on its way: the number of its first event, and what became of its pair."""

    event: int
    kept: bool | None = None


class RunState:
    """All that the panes show of one run besides the log."""

    def __init__(self) -> None:
        self.config: Mapping[str, Any] = {}
        self.model = ""
        self.status = ""
        """ "", "running", "paused", "done", "stopped" or "failed", as far as the journal tells."""
        self.progress = Progress()
        self.loss = Series()
        self.valid = Series()
        self.steps = 0
        self.epoch_lines: list[float] = []
        self.sample = -1
        """Number of the event that holds the newest sample answer; -1 for none."""
        self.sample_step = 0
        self.comparisons: list[Comparison] = []
        self.items: dict[str, Item] = {}
        self.pairs_kept = 0
        self.pairs_dropped = 0
        self.decision = -1
        """Number of the newest EVAL-DECISION; -1 for none."""
        self.decision_data: Mapping[str, Any] = {}
        self.decision_input = -1
        """Number of the EVAL-INPUT that it is about; -1 where it is not known."""
        self.judges: Mapping[str, Any] = {}
        """Who judges what, and how good each was measured to be; as in the newest JUDGES event."""
        self.notice = -1
        """Number of the newest NOTICE; -1 for none."""
        self.notice_words = ""
        self.loading = ""
        """What is told of the model that is being loaded, such as "Writing the embedded model. 80%"; else ""."""
        self.result: Mapping[str, Any] = {}
        self.problem = ""
        self.started = 0.0
        self.updated = 0.0
        self.last_score: tuple[str, Any, Any] | None = None
        self._inputs: dict[str, int] = {}
        self._by_item: dict[str, Comparison] = {}
        self._stage_began = 0.0
        self._paused_at = 0.0
        self._step_base = self._last_step = 0.0
        self._sorted: list[Comparison] | None = None

    def take(self, number: int, event: Event) -> None:
        """Take note of the event that has this number in the log's store."""
        stage = event.stage
        if event.time > self.updated:
            self.updated = event.time
        # Whatever comes next, the model is there or has failed.
        self.loading = ""
        handler = _HANDLERS.get(stage)
        if handler is None:
            # Names that end in i/n, or carry numbers inside.
            if stage.startswith("EPOCH-"):
                handler = RunState._batch if _BATCH.match(stage) else RunState._epoch
            else:
                handler = _HANDLERS.get(stage.partition(" ")[0])
        if handler is not None:
            try:
                handler(self, number, event)
            except (TypeError, ValueError, AttributeError, KeyError, ArithmeticError):
                # A journal from elsewhere may hold anything under `data`; the log still shows the event.
                return

    @property
    def by_change(self) -> list[Comparison]:
        """The comparisons, the greatest change first."""
        if self._sorted is None:
            self._sorted = sorted(self.comparisons, key=lambda comparison: comparison.order)
        return self._sorted

    @property
    def ended(self) -> bool:
        return self.status in ("done", "stopped", "failed")

    def _run_start(self, _number: int, event: Event) -> None:
        config = event.data.get("config")
        self.config = config if isinstance(config, Mapping) else {}
        self.model = str(self.config.get("generator", ""))
        self.status = "running"
        self.started = event.time
        self.problem = ""

    def _resumed(self, _number: int, event: Event) -> None:
        self.status = "running"
        self.problem = ""
        self.started = self.started or event.time

    def _model_loading(self, _number: int, event: Event) -> None:
        # The journal tells the model's name first, then sentences.
        self.loading = f"Loading {event.summary} …" if event.summary == event.data.get("model") else event.summary

    def _model(self, _number: int, event: Event) -> None:
        if not self.model:
            self.model = str(event.data.get("model", ""))

    def _stage_start(self, _number: int, event: Event) -> None:
        name, total = str(event.data.get("name", "")), int(event.data.get("total") or 0)
        self.progress = Progress(name, int(event.data.get("done") or 0), total)
        self._stage_began = event.time

    def _progress(self, _number: int, event: Event) -> None:
        data, progress = event.data, self.progress
        name = str(data.get("name", progress.name))
        if name != progress.name:
            progress = self.progress = Progress(name)
            self._stage_began = event.time
        progress.done = int(data.get("done") or 0)
        progress.total = int(data.get("total") or progress.total)
        progress.rate = _float(data.get("rate"))
        progress.seconds = max(progress.seconds, self._spent(event))

    def _stage_end(self, _number: int, event: Event) -> None:
        progress = self.progress
        progress.done = int(event.data.get("done") or progress.total)
        progress.seconds = self._spent(event)

    def _spent(self, event: Event) -> float:
        """Seconds of the running stage: the writer's own count, which goes on evenly where its clock is set back or
        forth, else the difference of times."""
        if "seconds" in event.data:
            return _float(event.data["seconds"])
        return max(0.0, event.time - self._stage_began)

    def _paused(self, _number: int, event: Event) -> None:
        self.status = "paused"
        self._paused_at = event.time

    def _continued(self, _number: int, event: Event) -> None:
        self.status = "running"
        if self._paused_at:
            self._stage_began += max(0.0, event.time - self._paused_at)
            self._paused_at = 0.0

    def _item(self, number: int, event: Event) -> None:
        if event.item:
            self.items.setdefault(event.item, Item(number))

    def _pair(self, number: int, event: Event) -> None:
        kept = bool(event.data.get("kept", True))
        self.pairs_kept += kept
        self.pairs_dropped += not kept
        self.items.setdefault(event.item, Item(number)).kept = kept
        self.last_score = ("pair", event.data.get("from"), event.data.get("to"))

    def _batch(self, number: int, event: Event) -> None:
        data = event.data
        step = float(data.get("step") or 0)
        if data.get("loss") is not None:
            if step <= self._last_step:
                if step > 1:
                    return  # a step that was done again after a resume
                # A second training (DPO after SFT) counts from 1 again; the curve goes on.
                self._step_base = self.loss.latest_step
            self._last_step = step
            self.loss.add(step + self._step_base, float(data["loss"]))
            if data.get("valid") is not None:
                self.valid.add(step + self._step_base, float(data["valid"]))
            self.steps = int(self._step_base) + int(data.get("steps") or 0) or self.steps
        if self.progress.name == "train" and data.get("step"):
            self.progress.done = int(data["step"])
            self.progress.total = int(data.get("steps") or self.progress.total)
        if any(event.texts.get(label) for label in ("sample", "sample prompt")):
            self.sample, self.sample_step = number, int(step + self._step_base)

    def _epoch(self, _number: int, event: Event) -> None:
        valid = event.data.get("valid")
        if valid is not None:
            self.valid.add(self.loss.latest_step, float(valid))
        self.epoch_lines.append(self.loss.latest_step)

    def _comparison(self, number: int, event: Event) -> None:
        data = event.data
        base, trained = data.get("base"), data.get("trained")
        comparison = Comparison(
            event.item,
            number,
            base=base if isinstance(base, Mapping) else {},
            trained=trained if isinstance(trained, Mapping) else {},
            benign=data.get("set") == "benign",
        )
        self.comparisons.append(comparison)
        self._by_item[event.item] = comparison
        self._sorted = None
        self.last_score = ("comparison", comparison.base.get("score"), comparison.trained.get("score"))

    def _diff(self, number: int, event: Event) -> None:
        comparison = self._by_item.get(event.item)
        if comparison is None:
            return
        comparison.diff = number
        comparison.changed = int(event.data.get("words_removed") or 0) + int(event.data.get("words_added") or 0)
        changes = event.data.get("changes") or ()
        comparison.changes = tuple(str(change.get("label", "")) for change in changes if isinstance(change, Mapping))
        self._sorted = None

    def _input(self, number: int, event: Event) -> None:
        self._inputs[event.item] = number

    def _decision(self, number: int, event: Event) -> None:
        self.decision, self.decision_data = number, event.data
        self.decision_input = self._inputs.pop(event.item, -1)

    def _judged_by(self, _number: int, event: Event) -> None:
        self.judges = event.data

    def _notice(self, number: int, event: Event) -> None:
        self.notice, self.notice_words = number, event.summary

    def _summary(self, _number: int, event: Event) -> None:
        result = event.data.get("result", event.data)
        self.result = result if isinstance(result, Mapping) else event.data

    def _ended(self, _number: int, event: Event) -> None:
        self.status = _ENDS[event.stage]
        self.progress = Progress()
        summary = event.data.get("summary")
        if not self.result and isinstance(summary, Mapping):
            self.result = summary

    def _error(self, _number: int, event: Event) -> None:
        self.status = "failed" if self.status == "running" else self.status
        self.problem = event.summary


_HANDLERS = {
    "RUN-START": RunState._run_start,
    "RUN-RESUMED": RunState._resumed,
    "MODEL-LOADING": RunState._model_loading,
    "MODEL-LOADED": RunState._model,
    "STAGE-START": RunState._stage_start,
    "PROGRESS": RunState._progress,
    "STAGE-END": RunState._stage_end,
    "RUN-PAUSED": RunState._paused,
    "RUN-CONTINUED": RunState._continued,
    "TRAINING-EXAMPLE": RunState._item,
    "TRAINING-PAIR-CREATED": RunState._pair,
    "COMPARISON-TEST": RunState._comparison,
    "SIDE-BY-SIDE-DIFF": RunState._diff,
    "COMPARISON-SUMMARY": RunState._summary,
    "EVAL-INPUT": RunState._input,
    "EVAL-DECISION": RunState._decision,
    "JUDGES": RunState._judged_by,
    "NOTICE": RunState._notice,
    "RUN-COMPLETE": RunState._ended,
    "RUN-STOPPED": RunState._ended,
    "ERROR": RunState._error,
}


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
