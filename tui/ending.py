"""Why the app leaves the screen, and what becomes of the run then. Signals come in here."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import signal
import time
from collections.abc import Callable

from tui.host import BUSY, Host


class Ending(enum.Enum):
    """Why the app ended, with the exit code of the process."""

    QUIT = 0
    TERMINATED = 128 + signal.SIGTERM
    HUNG_UP = 0x100
    """The terminal went away: the run goes on without it."""


def listen(leave: Callable[[Ending], None]) -> None:
    """Call `leave` on SIGTERM and SIGHUP, on the running loop's thread.

    Textual knows neither; without this the process would die at once and leave the terminal in its alternate screen.
    Where the loop has no signals (a thread of a test), nothing is listened to.
    """
    loop = asyncio.get_running_loop()
    for number, ending in ((signal.SIGTERM, Ending.TERMINATED), (signal.SIGHUP, Ending.HUNG_UP)):
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, leave, ending)


def finish(ending: Ending, host: Host) -> tuple[int, bool]:
    """What is left to do after the screen is gone; gives the exit code, and whether the worker's thread has ended.

    A lost terminal does not end a run: this waits, without a screen, until it has ended. A second SIGHUP changes
    nothing; SIGTERM ends it as ever.
    """
    if ending is Ending.HUNG_UP:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        asked = [False]
        signal.signal(signal.SIGTERM, lambda *_: asked.__setitem__(0, True))
        while host.state.doing in BUSY and not asked[0]:
            time.sleep(0.2)
        ended = host.shutdown(4.0)
        return (Ending.TERMINATED.value if asked[0] else 0), ended
    ended = host.shutdown(4.0 if ending is Ending.TERMINATED else 10.0)
    return int(ending.value), ended
