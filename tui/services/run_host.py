"""Who performs runs for the app: the worker of this process, seen through the few things that the app needs of it."""

from __future__ import annotations

from typing import Protocol

from engine.worker import Command, WorkerState, WorkerStatus

BUSY = frozenset({WorkerStatus.LOADING, WorkerStatus.RUNNING, WorkerStatus.PAUSED, WorkerStatus.STOPPING})
"""Worker states in which quitting would end something."""


class Host(Protocol):
    """A thread that runs models: commands in, events out by the journal."""

    @property
    def state(self) -> WorkerState: ...

    def start(self) -> None: ...

    def send(self, command: Command) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def stop(self) -> None: ...

    def decide(self, choice: str) -> None: ...

    def shutdown(self, timeout: float = 10.0) -> bool: ...
