"""The thread that runs the models: commands in by a queue, events out by the journal.

Readers (the app, the plain display) never wait for it and it never waits for them. Importing this module imports no
torch; the thread does, once it has something to run.
"""

from __future__ import annotations

import enum
import queue
import threading
from dataclasses import dataclass
from pathlib import Path

from engine.settings import RunConfig


class Doing(enum.Enum):
    """What the thread is at."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class Evaluate:
    """Judge a text; `prompt` is what it answers, where there is one. Served while a run goes on, too."""

    text: str
    prompt: str = ""


@dataclass(frozen=True)
class StartRun:
    """Perform a whole run."""

    config: RunConfig


@dataclass(frozen=True)
class ResumeRun:
    """Go on with a run that was interrupted."""

    folder: Path


@dataclass(frozen=True)
class State:
    """A snapshot for readers.

    Args:
        doing: what the thread is at.
        folder: of the run or session whose journal is being written; None before the first command.
        error: what the last command failed with, for a person; "" where it did not.
    """

    doing: Doing = Doing.IDLE
    folder: Path | None = None
    error: str = ""
