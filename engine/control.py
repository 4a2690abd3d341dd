"""Pausing and stopping a running stage: long loops call `Control.check` once per token step or micro-batch."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import Stopped


class Control:
    """Pause and stop requests, from any thread, for a loop that calls `check`.

    Args:
        callback: called from `check`, on the loop's thread, to do other short work there (a verdict that the user
            requested during a run). `add_check` adds more callbacks.
    """

    def __init__(self, callback: Callable[[], None] | None = None) -> None:
        self._stop = threading.Event()
        self._may_run = threading.Event()
        self._may_run.set()
        self._detach = threading.Event()
        self._decision = ""
        self._callbacks = [callback] if callback is not None else []
        self._inside = False

    def add_check(self, callback: Callable[[], None]) -> None:
        """Call this from `check`, too. It must be quick: `check` is called for every token step."""
        self._callbacks.append(callback)

    def stop(self) -> None:
        """Stop the loop at its next check; also ends a pause."""
        self._stop.set()
        self._may_run.set()

    def pause(self) -> None:
        """Pause the loop at its next check."""
        self._may_run.clear()

    def resume(self) -> None:
        """Continue a paused loop."""
        self._may_run.set()

    def detach(self) -> None:
        """Ask the process to leave its terminal; the loop itself continues."""
        self._detach.set()

    def decide(self, choice: str) -> None:
        """Answer an alarm of training: "restore" the last healthy checkpoint, or "continue"."""
        self._decision = choice

    def take_decision(self) -> str:
        """The answer since the last call; "" for none."""
        choice, self._decision = self._decision, ""
        return choice

    @property
    def detaching(self) -> bool:
        return self._detach.is_set()

    @property
    def paused(self) -> bool:
        return not self._may_run.is_set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Wait while paused; call the callbacks; raise if a stop was requested.

        Raises:
            Stopped: if `stop` was called.
        """
        while True:
            if self._stop.is_set():
                raise Stopped
            if self._callbacks and not self._inside:
                self._inside = True
                try:
                    for callback in self._callbacks:
                        callback()
                finally:
                    self._inside = False
            if self._may_run.wait(timeout=0.1 if self._callbacks else None):
                break
        if self._stop.is_set():
            raise Stopped
