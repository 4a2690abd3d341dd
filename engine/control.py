"""Pausing, stopping and observing a running stage: long loops call `Control.check` once per token step or micro-batch,
and may `report` how far they are inside a batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engine.errors import Stopped


@dataclass(frozen=True)
class InFlight:
    """How far a batch is whose items are not finished.

    Args:
        tokens: generated so far, one number for each completion that is being generated.
        read: sequences that were read so far, in parts of one: what a judge does before its verdicts.
        key: of one of the completions; "" for none.
        text: of that completion, so far.
    """

    tokens: Sequence[int] = ()
    read: float = 0.0
    key: str = ""
    text: str = ""


Observer = Callable[[Callable[[], InFlight]], None]
"""Called once per step with a function that returns how far the batch is; calls it only when it wants to know."""


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
        self._observer: Observer | None = None

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

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Pass what the loop reports to `observer` inside the `with` block."""
        before, self._observer = self._observer, observer
        try:
            yield
        finally:
            self._observer = before

    def report(self, in_flight: Callable[[], InFlight]) -> None:
        """Say how far the batch is. Costs nothing without an observer; `in_flight` is called only now and then."""
        if self._observer is not None:
            self._observer(in_flight)

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
