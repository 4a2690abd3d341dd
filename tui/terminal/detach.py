"""The app's process can leave its terminal and go on: by a key, or because the terminal went away.

A shell waits for the process that it started. So that process only waits too (`launch`); the app lives in its child,
which tells it to end when the run is to go on without a screen, and takes a session of its own then. A parent that sees
its child die of a crash also puts the terminal right.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
from types import FrameType
from typing import Any, TypeAlias

from tui.terminal import driver

_DETACHED = b"D"

_RESTORE = b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?2048l\x1b[<u"
"""Main screen, cursor, mouse, paste, resize reports and keyboard protocol as a shell expects them."""

_Settings: TypeAlias = "list[Any]"
"""What `termios.tcgetattr` gives."""

_channel = -1
"""The child's end of the pipe to the parent that waits for it; -1 where there is none."""


def launch() -> None:
    """Go on in a child process; the process that called waits for it and never comes back from here.

    To be called before any thread is started. Without `fork` nothing happens, and `can_detach` is False.
    """
    global _channel
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    told, tell = os.pipe()
    lives, live = os.pipe()
    settings = _settings()
    child = os.fork()
    if child:
        os.close(tell)
        os.close(lives)
        _wait(child, told, settings)
    os.close(told)
    os.close(live)
    _channel = tell
    threading.Thread(target=_watch_parent, args=(lives,), name="redraft-parent", daemon=True).start()


def can_detach() -> bool:
    """Whether the shell gets its prompt back when the process goes on without the terminal."""
    return _channel >= 0


def leave_terminal() -> None:
    """Let go of the terminal and go on: nothing is read from it or written to it any more, no hang-up comes from it,
    and a parent that waits (`launch`) ends with code 0. Twice is no error."""
    global _channel
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a leader of a process group cannot; it stays in the session that it has
        os.setsid()
    driver.release()
    channel, _channel = _channel, -1
    if channel >= 0:
        with contextlib.suppress(OSError):
            os.write(channel, _DETACHED)
        os.close(channel)


def _watch_parent(lives: int) -> None:
    """A parent that was killed gives the terminal back to the shell: to the app that is a hang-up."""
    while os.read(lives, 1):
        pass
    if _channel >= 0:
        os.kill(os.getpid(), signal.SIGHUP)


def _wait(child: int, told: int, settings: _Settings | None) -> None:
    """Be the child's face to the shell: pass signals on, stop and go on with it, end as it ends."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
        signal.signal(number, forward)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the child as well
    threading.Thread(target=_end_when_detached, args=(told,), daemon=True).start()
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.kill(os.getpid(), signal.SIGSTOP)
            continue
        break
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _restore(settings)
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _end_when_detached(told: int) -> None:
    if os.read(told, 1) == _DETACHED:
        os._exit(0)


def _settings() -> _Settings | None:
    try:
        return termios.tcgetattr(1)
    except termios.error:
        return None


def _restore(settings: _Settings | None) -> None:
    """Make the terminal usable after the app died on it."""
    if settings is None:
        return
    with contextlib.suppress(OSError, termios.error):
        os.write(1, _RESTORE)
        termios.tcsetattr(1, termios.TCSADRAIN, settings)
