"""Who performs runs for the app: the worker of this process, seen through the few things that the app needs of it."""

from __future__ import annotations

from typing import Protocol

from engine.worker import Command, Doing, State

BUSY = frozenset({Doing.LOADING, Doing.RUNNING, Doing.PAUSED, Doing.STOPPING})
"""What the worker is at while something goes on that quitting would end."""


class Host(Protocol):
    """A thread that runs models: commands in, events out by the journal."""

    @property
    def state(self) -> State: ...

    def start(self) -> None: ...

    def send(self, command: Command) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def stop(self) -> None: ...

    def shutdown(self, timeout: float = 10.0) -> bool: ...
