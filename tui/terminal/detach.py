"""The app's process can detach from its terminal and continue: by a key, or because the terminal went away.

A shell waits for the process that it started. So that process only waits too (`launch`); the app runs in its child,
which signals it to end when the run continues without a screen, and starts its own session then. A parent that sees
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
"""What `termios.tcgetattr` returns."""

_channel = -1
"""The child's end of the pipe to the parent that waits for it; -1 where there is none."""


def launch() -> None:
    """Continue in a child process; the caller's process waits for it and never returns from here.

    To be called before any thread is started. Without `fork` nothing happens, and `can_detach` is False.
    """
    global _channel
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    detach_read, detach_write = os.pipe()
    parent_read, parent_write = os.pipe()
    settings = _settings()
    child = os.fork()
    if child:
        os.close(detach_write)
        os.close(parent_read)
        _wait(child, detach_read, settings)
    os.close(detach_read)
    os.close(parent_write)
    _channel = detach_write
    threading.Thread(target=_watch_parent, args=(parent_read,), name="redraft-parent", daemon=True).start()


def can_detach() -> bool:
    """Whether the shell gets its prompt back when the process continues without the terminal."""
    return _channel >= 0


def leave_terminal() -> None:
    """Detach from the terminal: nothing is read from it or written to it any more, no hang-up comes from it,
    and a parent that waits (`launch`) ends with code 0. Idempotent."""
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


def _watch_parent(parent_read: int) -> None:
    """A killed parent returns the terminal to the shell: the app treats that as a hang-up."""
    while os.read(parent_read, 1):
        pass
    if _channel >= 0:
        os.kill(os.getpid(), signal.SIGHUP)


def _wait(child: int, detach_read: int, settings: _Settings | None) -> None:
    """Proxy the child for the shell: forward signals, stop and continue with it, end with its status."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
        signal.signal(number, forward)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the child as well
    threading.Thread(target=_end_when_detached, args=(detach_read,), daemon=True).start()
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


def _end_when_detached(detach_read: int) -> None:
    if os.read(detach_read, 1) == _DETACHED:
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
