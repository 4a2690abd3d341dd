"""The curves of a run that stays in the chart beside whatever run is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import StorageError
from engine.events.codec import DamagedLine, decode
from engine.runs.journal_reader import JOURNAL
from engine.runs.state import RunState

_STAGES = (b'"stage":"EPOCH-', b'"stage":"TRAIN-')
_HEAD = 200
"""Bytes of a line in which its stage stands."""


@dataclass(frozen=True)
class PinnedRun:
    """A run whose curves are drawn; `state` holds what its records of training add up to, and nothing else."""

    name: str = ""
    folder: Path = field(default_factory=Path)
    state: RunState = field(default_factory=lambda: RunState(resumable=False))


def read(folder: Path) -> PinnedRun:
    """The curves of a run, from the records of its training; takes a moment, as its journal is read.

    Raises:
        StorageError: the journal cannot be read.
    """
    pinned = PinnedRun(folder.name, folder)
    try:
        with open(folder / JOURNAL, "rb") as file:
            for line in file:
                if any(stage in line[:_HEAD] for stage in _STAGES):
                    _apply(pinned.state, line)
    except OSError as error:
        raise StorageError(f"the journal cannot be read ({error.strerror}).", where=str(folder)) from error
    return pinned


def _apply(state: RunState, line: bytes) -> None:
    try:
        state.apply(decode(line))
    except DamagedLine:
        return  # as in the run that is shown: what is around it counts
