"""Why the app leaves the screen, and what becomes of the run then. Signals come in here."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from tui.terminal import detach


class Ending(enum.Enum):
    """Why the app ended, with the exit code of the process."""

    QUIT = 0
    TERMINATED = 128 + signal.SIGTERM
    HUNG_UP = 0x100
    """The terminal went away: the run continues without it."""
    DETACHED = 0x101
    """The user detached: the run continues without the screen."""


_late: list[Ending] = []
"""Signals that came after the app's loop had ended and before `finish` listened itself."""


def listen(leave: Callable[[Ending], None]) -> None:
    """Call `leave` on SIGTERM and SIGHUP, on the running loop's thread.

    Textual knows neither; without this the process would die at once and leave the terminal in its alternate screen.
    A lost connection brings several hang-ups, one after the other (from the kernel, the shell, the parent that waits),
    so the handlers must outlive the loop: asyncio's own would restore the default handlers as it ends.
    """
    loop = asyncio.get_running_loop()
    _late.clear()

    def handler(number: int, _frame: FrameType | None) -> None:
        ending = Ending.TERMINATED if number == signal.SIGTERM else Ending.HUNG_UP
        try:
            loop.call_soon_threadsafe(leave, ending)
        except RuntimeError:  # the loop has ended; `finish` looks at what came since
            _late.append(ending)

    with contextlib.suppress(ValueError):  # not on the main thread of a test
        signal.signal(signal.SIGTERM, handler)
        signal.signal(signal.SIGHUP, handler)


def finish(ending: Ending, is_busy: Callable[[], bool], shut_down: Callable[[float], bool]) -> tuple[int, bool]:
    """Finish after the screen is gone; returns the exit code, and whether the worker's thread has ended.

    Without a terminal this waits until the run has ended; more hang-ups change nothing, SIGTERM stops the run as ever.
    Where a stop is under way, another SIGTERM or Ctrl-C ends the process at once: journals hold whole records, so that
    costs no more than what was in the air.
    """
    asked = False
    if ending in (Ending.HUNG_UP, Ending.DETACHED):
        asked = _wait_for_runs(is_busy)
    _on_signals(_force)
    ended = shut_down(10.0 if ending is Ending.QUIT else 4.0)
    left = ending in (Ending.HUNG_UP, Ending.DETACHED)
    code = Ending.TERMINATED.value if asked else 0 if left else int(ending.value)
    return code, ended


def _wait_for_runs(is_busy: Callable[[], bool]) -> bool:
    """Wait without a terminal until nothing is running. Returns whether a signal asked to end before that."""
    detach.leave_terminal()
    asked = [False]
    _on_signals(lambda *_: asked.__setitem__(0, True))
    asked[0] = asked[0] or Ending.TERMINATED in _late
    while is_busy() and not asked[0]:
        time.sleep(0.2)
    return asked[0]


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    with contextlib.suppress(ValueError):  # not on the main thread of a test
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handler)


def _force(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
