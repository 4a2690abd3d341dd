"""The training curves of a run as TensorBoard event files, under the names that transformers and TRL log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError, StorageError
from engine.events.registry import parse
from engine.events.schema import DamagedEvent
from engine.events.training import EpochEnd, TrainStart, TrainStep
from engine.export.tables import step_metrics, value
from engine.runs.journal_reader import read

_SCALARS = ("loss", "learning_rate", "grad_norm", "epoch", "num_tokens")


def write_events(folder: Path, target: Path) -> int:
    """Write the scalars of a run's training as an event file; returns how many were written.

    Tags are `train/loss`, `train/rewards/chosen` and so on, with `eval/loss` at the end of epochs; the time of each is
    that of the journal's record. Trainings with further seeds are runs of their own, in folders `training-2`, ...

    Args:
        folder: the run's.
        target: the folder for the file, TensorBoard's `--logdir`.

    Raises:
        InputError: the run has not trained, or the package tensorboard is missing.
        StorageError: the journal cannot be read, or the file not be written.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise InputError(
            "writing event files needs the package tensorboard.",
            where="--format tensorboard",
            next_step="Install it: pip install 'redraft[trackers]'.",
        ) from None
    scalars = list(_scalars(folder))
    if not scalars:
        raise InputError("the run has not trained yet.", where=str(folder), next_step="Follow it: `redraft watch`.")
    try:
        for training in dict.fromkeys(scalar.training for scalar in scalars):
            place = target if training == 1 else target / f"training-{training}"
            place.mkdir(parents=True, exist_ok=True)
            writer = EventFileWriter(str(place))
            for one in scalars:
                if one.training == training:
                    summary = Summary(value=[Summary.Value(tag=one.tag, simple_value=one.value)])
                    writer.add_event(Event(wall_time=one.seconds, step=one.step, summary=summary))
            writer.close()
    except OSError as error:
        raise StorageError(
            f"the event file cannot be written ({error.strerror or error}).",
            where=str(target),
            next_step="Choose another folder.",
        ) from None
    return len(scalars)


@dataclass(frozen=True)
class _Scalar:
    training: int
    tag: str
    value: float
    step: int
    seconds: float


def _scalars(folder: Path) -> Iterator[_Scalar]:
    """Each scalar in order; a step that was repeated after a resume counts once."""
    metrics, done, training = step_metrics(), 0, 1
    seen: set[tuple[int, int]] = set()
    for record in read(folder):
        try:
            event = parse(record)
        except DamagedEvent:
            continue
        if isinstance(event, TrainStart):
            training = event.training
        elif isinstance(event, TrainStep) and (training, event.step) not in seen:
            seen.add((training, event.step))
            done = event.step
            found = {name: getattr(event, name) for name in _SCALARS}
            found |= {name: value(event, name) for name in metrics}
            for name, number in found.items():
                if isinstance(number, int | float):
                    yield _Scalar(training, f"train/{name}", float(number), done, record.time)
        elif isinstance(event, EpochEnd) and event.validation_loss is not None:
            yield _Scalar(training, "eval/loss", event.validation_loss, done, record.time)
