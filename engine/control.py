"""How a running stage is paused and stopped: long loops call `Control.check` once per token step or micro-batch."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import Stopped


class Control:
    """The switch between the one who asks for a pause or stop (any thread) and the loop that obeys it.

    `between` is called from `check`, on the loop's own thread, whenever the loop passes a point where other short
    work may be done (a verdict that a person asked for while a run goes on); `also` adds more of that.
    """

    def __init__(self, between: Callable[[], None] | None = None) -> None:
        self._stop = threading.Event()
        self._may_run = threading.Event()
        self._may_run.set()
        self._detach = threading.Event()
        self._between = [between] if between is not None else []
        self._inside = False

    def also(self, between: Callable[[], None]) -> None:
        """Call this between the loop's steps too; it must be quick, since `check` is called for every token step."""
        self._between.append(between)

    def stop(self) -> None:
        """Ask the loop to end at its next check; also ends a pause."""
        self._stop.set()
        self._may_run.set()

    def pause(self) -> None:
        """Ask the loop to wait at its next check."""
        self._may_run.clear()

    def resume(self) -> None:
        """Let a paused loop go on."""
        self._may_run.set()

    def detach(self) -> None:
        """Ask whoever shows the loop's work on a terminal to leave it; the loop itself goes on."""
        self._detach.set()

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
        """Wait while paused; do the short work that waits; raise where a stop was asked for.

        Raises:
            Stopped: if `stop` was called.
        """
        while True:
            if self._stop.is_set():
                raise Stopped
            if self._between and not self._inside:
                self._inside = True
                try:
                    for between in self._between:
                        between()
                finally:
                    self._inside = False
            if self._may_run.wait(timeout=0.1 if self._between else None):
                break
        if self._stop.is_set():
            raise Stopped
