"""The training curves of a run as scalars with the names that transformers and TRL log, from its records one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.events.base import Record
from engine.events.registry import find, parse
from engine.events.schema import DamagedEvent
from engine.events.training import EpochEnd, TrainStart, TrainStep
from engine.export.tables import step_metrics, value
from engine.runs.journal_reader import read

_SCALARS = ("loss", "learning_rate", "grad_norm", "epoch", "num_tokens")
_EVENTS = (TrainStart, TrainStep, EpochEnd)


@dataclass(frozen=True)
class Scalar:
    """One point of a curve.

    Args:
        training: number of the training, from 1.
        tag: "train/loss", "train/rewards/chosen", "eval/loss" and so on.
        value: the number.
        step: optimizer steps done.
        seconds: since the epoch, as in the journal.
    """

    training: int
    tag: str
    value: float
    step: int
    seconds: float


class ScalarReader:
    """Takes records in their order; a step that was repeated after a resume counts once."""

    def __init__(self) -> None:
        self._metrics = step_metrics()
        self._training, self._step = 1, 0
        self._seen: set[tuple[int, int]] = set()

    def of(self, record: Record) -> list[Scalar]:
        """The scalars of a record; most have none."""
        if not any(cls in _EVENTS for cls in find(record.stage)):
            return []
        try:
            event = parse(record)
        except DamagedEvent:
            return []
        if isinstance(event, TrainStart):
            self._training = event.training
        elif isinstance(event, TrainStep):
            return self._of_step(event, record.time)
        elif isinstance(event, EpochEnd) and event.validation_loss is not None:
            return [Scalar(self._training, "eval/loss", event.validation_loss, self._step, record.time)]
        return []

    def _of_step(self, event: TrainStep, seconds: float) -> list[Scalar]:
        if (self._training, event.step) in self._seen:
            return []
        self._seen.add((self._training, event.step))
        self._step = event.step
        found = {name: getattr(event, name) for name in _SCALARS}
        found |= {name: value(event, name) for name in self._metrics}
        return [
            Scalar(self._training, f"train/{name}", float(number), event.step, seconds)
            for name, number in found.items()
            if isinstance(number, int | float)
        ]


def all_scalars(folder: Path) -> Iterator[Scalar]:
    """Each scalar of a run, in order.

    Raises:
        StorageError: the journal cannot be read.
    """
    reader = ScalarReader()
    for record in read(folder):
        yield from reader.of(record)
