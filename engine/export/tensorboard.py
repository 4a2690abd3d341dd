"""The training curves of a run as TensorBoard event files, under the names that transformers and TRL log."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from engine.errors import InputError, StorageError
from engine.export.scalars import Scalar, all_scalars
from engine.files import write_atomically


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
    scalars = list(all_scalars(folder))
    if not scalars:
        raise InputError("the run has not trained yet.", where=str(folder), next_step="Follow it: `redraft watch`.")
    try:
        with tempfile.TemporaryDirectory(prefix="redraft-events-") as place:
            files = EventFiles(Path(place))
            for one in scalars:
                files.add(one)
            files.close()
            # TensorBoard shows the points of all files of a folder: those of the run's own folder, which a tracker may
            # have written, are replaced, and elsewhere that of the same name.
            if folder in target.parents:
                for old in target.rglob("events.out.tfevents*"):
                    old.unlink(missing_ok=True)
            for path in Path(place).rglob("*tfevents*"):
                name = f"events.out.tfevents.{int(scalars[0].seconds)}.{folder.name}"
                write_atomically(target / path.parent.relative_to(place) / name, path.read_bytes(), 0o644)
    except OSError as error:
        raise StorageError(
            f"the event file cannot be written ({error.strerror or error}).",
            where=str(target),
            next_step="Choose another folder.",
        ) from None
    return len(scalars)


class EventFiles:
    """Event files that grow: one per training, the first in `target` itself.

    Args:
        target: TensorBoard's `--logdir`.

    Raises:
        InputError: the package tensorboard is missing.
    """

    def __init__(self, target: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise InputError(
                "writing event files needs the package tensorboard.",
                where="tensorboard",
                next_step="Install it: pip install 'redraft[trackers]'.",
            ) from None
        self._event: Any = Event
        self._summary: Any = Summary
        self._open: Any = EventFileWriter
        self._target = target
        self._writers: dict[int, Any] = {}

    def add(self, one: Scalar) -> None:
        """Append a scalar to the file of its training.

        Raises:
            OSError: it cannot be written.
        """
        if one.training not in self._writers:
            place = self._target if one.training == 1 else self._target / f"training-{one.training}"
            place.mkdir(parents=True, exist_ok=True)
            self._writers[one.training] = self._open(str(place))
        found = self._summary(value=[self._summary.Value(tag=one.tag, simple_value=one.value)])
        self._writers[one.training].add_event(self._event(wall_time=one.seconds, step=one.step, summary=found))

    def close(self) -> None:
        """Write out what is buffered."""
        for writer in self._writers.values():
            writer.close()
