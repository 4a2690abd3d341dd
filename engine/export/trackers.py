"""Experiment trackers that follow a run's training: TensorBoard, trackio, W&B, by the names of TRL's `report_to`.

A tracker is imported only where it was asked for, gets numbers and settings alone, never a prompt or an answer, and
cannot stop a run: where it fails, the run continues without it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from engine.errors import InputError
from engine.events.base import Record
from engine.export.scalars import Scalar, ScalarReader
from engine.export.tensorboard import EventFiles
from engine.settings import RunConfig
from engine.text import sanitize, truncate

TRACKERS = ("tensorboard", "trackio", "wandb")
_PROJECT = "redraft"


class Tracker(Protocol):
    """Where scalars go."""

    def log(self, scalars: Sequence[Scalar]) -> None:
        """Those of one step."""

    def close(self) -> None:
        """No more come."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse names that are none, and trackers whose package is missing.

    Raises:
        InputError: says which, and what to install.
    """
    for name in names:
        if name not in TRACKERS:
            raise InputError(
                f"unknown tracker {truncate(sanitize(name), 40)!r}.",
                where="--report-to",
                next_step=f"Choose one of {', '.join(TRACKERS)}.",
            )
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"reporting to {name} needs the package {name}.",
                where="--report-to",
                next_step=f"Install it: pip install {name}.",
            ) from None


def make_tracker(name: str, folder: Path, config: RunConfig) -> Tracker:
    """The tracker of this name, which `check_trackers` has let pass, for a run in `folder`."""
    if name == "tensorboard":
        return _TensorBoard(folder / "exports" / "tensorboard")
    project = os.environ.get(f"{name.upper()}_PROJECT", _PROJECT)
    return _Online(importlib.import_module(name), project, folder.name, config)


class _TensorBoard:
    def __init__(self, target: Path) -> None:
        self._files = EventFiles(target)
        # Of a run that is resumed all is written again, from its journal.
        for old in target.rglob("events.out.tfevents*"):
            old.unlink(missing_ok=True)

    def log(self, scalars: Sequence[Scalar]) -> None:
        for one in scalars:
            self._files.add(one)

    def close(self) -> None:
        self._files.close()


class _Online:
    """trackio or W&B, which have the same functions. Each training is a run of its own there."""

    def __init__(self, module: Any, project: str, name: str, config: RunConfig) -> None:
        self._module = module
        self._project = project
        self._name = name
        self._config = {"generator": config.generator, "preset": config.preset, **config.train.as_dict()}
        self._training = 0

    def log(self, scalars: Sequence[Scalar]) -> None:
        if scalars[0].training != self._training:
            self.close()
            self._training = scalars[0].training
            name = self._name if self._training == 1 else f"{self._name}-{self._training}"
            self._module.init(project=self._project, name=name, config={**self._config, "training": self._training})
        self._module.log({one.tag: one.value for one in scalars}, step=scalars[0].step)

    def close(self) -> None:
        if self._training:
            self._module.finish()
            self._training = 0


class Reporting:
    """The trackers of a run, fed with its records as they are written.

    Args:
        trackers: name -> tracker.
        on_failure: called with a sentence where one fails; it gets nothing more.
    """

    def __init__(self, trackers: dict[str, Tracker], on_failure: Callable[[str], None]) -> None:
        self._trackers = trackers
        self._on_failure = on_failure
        self._reader = ScalarReader()

    def add(self, records: Sequence[Record]) -> None:
        """Report what these records add to the curves."""
        if not self._trackers:
            return
        for record in records:
            scalars = self._reader.of(record)
            if scalars:
                self._each(lambda tracker, found=scalars: tracker.log(found))  # type: ignore[misc]

    def close(self) -> None:
        """End the run of each tracker."""
        self._each(lambda tracker: tracker.close())

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                with contextlib.redirect_stdout(sys.stderr):  # trackers say hello, and stdout is for results
                    work(tracker)
            except Exception as error:  # noqa: BLE001 - whatever a tracker does, it must not cost the run
                del self._trackers[name]
                self._on_failure(f"{name} failed ({type(error).__name__}: {error}); the run continues without it.")
