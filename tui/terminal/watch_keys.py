"""Keys for the plain display that watches a run, without waiting for Enter, where stdin is a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from types import FrameType

from tui.terminal import output

QUIT = "q"

KEYS = "p pauses or continues the run, s stops it, d detaches it from its screen, q leaves it running"

ALARM_KEYS = "r returns to the last healthy checkpoint, k keeps training"


class Keys:
    """Yields the keys that are pressed.

    Args:
        descriptor: the terminal; -1 where there is none, and no key ever comes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]

    @property
    def known(self) -> bool:
        """Whether keys can come."""
        return self._descriptor >= 0

    def wait(self, seconds: float) -> str:
        """The key that was pressed within this time; "" for none, "q" once the terminal is gone.

        A lost terminal has to be noticed here: where SIGHUP is ignored (`nohup`, some supervisors) nothing else does.
        """
        if not all(os.isatty(stream) for stream in self._terminals):
            return QUIT
        if self._descriptor < 0:
            time.sleep(seconds)
            return ""
        try:
            ready, _, _ = select.select([self._descriptor], [], [], seconds)
            data = os.read(self._descriptor, 1) if ready else b""
        except OSError:
            ready, data = [self._descriptor], b""
        if ready and not data:
            return QUIT
        return data.decode("ascii", "replace")


@contextlib.contextmanager
def keys() -> Iterator[Keys]:
    """Take single keys from the terminal for the duration of the block; none where it is not interactive.

    In the background of a shell the terminal is left alone: changing it would stop the process.
    """
    if not (output.is_terminal(sys.stdin) and output.is_terminal(sys.stderr)) or not _in_front():
        yield Keys(-1)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def restore() -> None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)

    def end(number: int, _frame: FrameType | None) -> None:
        restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before_signal = signal.signal(signal.SIGTERM, end)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield Keys(descriptor)
    finally:
        restore()
        signal.signal(signal.SIGTERM, before_signal)


def _in_front() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False
