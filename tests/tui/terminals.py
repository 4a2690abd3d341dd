"""A real pseudo-terminal with a terminal emulator behind it, for tests of what the app really sends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte


class Terminal:
    """Runs Python code in a terminal of this size.

    Args:
        code: what the child runs.
        environment: variables beside those that a terminal over SSH has.
    """

    def __init__(self, code: str, columns: int = 120, lines: int = 40, **environment: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = b""
        """Everything that the app sent."""
        self.status: int | None = None
        root = Path(__file__).parents[2]
        variables = {
            **{
                name: os.environ[name] for name in ("PATH", "HOME", "REDRAFT_HOME", "VIRTUAL_ENV") if name in os.environ
            },
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(root),
            **environment,
        }
        self.process, self._terminal = pty.fork()
        if self.process == 0:  # the child
            os.execve(sys.executable, [sys.executable, "-c", code], variables)
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._terminal)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window this large."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def read(self, seconds: float) -> bytes:
        """What the app sends within this time."""
        end = time.monotonic() + seconds
        got = b""
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._terminal], [], [], left)
            if not ready:
                break
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                break
            if not data:
                break
            got += data
            if b"\x1b[?2026$p" in data:
                os.write(self._terminal, b"\x1b[?2026;1$y")
            self._feed(data)
        self.sent += got
        return got

    def _feed(self, data: bytes) -> None:
        # The other screen is empty when it is entered; pyte has only one.
        data = data.replace(b"\x1b[?1049h", b"\x1b[?1049h\x1b[2J")
        # pyte knows neither private reports with several parameters nor the keyboard protocol.
        for unknown in (b"\x1b[?2026h", b"\x1b[?2026l", b"\x1b[?2026$p", b"\x1b[?2048$p", b"\x1b[>25u", b"\x1b[<u"):
            data = data.replace(unknown, b"")
        self._stream.feed(data)

    def until(self, wanted: str | Callable[[], bool], seconds: float = 20.0) -> None:
        """Read until the picture holds these words, or the condition is met.

        Raises:
            AssertionError: it never does.
        """
        end = time.monotonic() + seconds
        met = wanted if callable(wanted) else lambda: wanted in self.picture
        while not met():
            assert time.monotonic() < end, self.picture
            self.read(0.1)

    @property
    def picture(self) -> str:
        """The lines on the screen."""
        return "\n".join(self.screen.display)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def write(self, data: bytes) -> int:
        """Type as many of these bytes as the terminal takes now. Gives their number."""
        _, ready, _ = select.select([], [self._terminal], [], 0)
        if not ready:
            return 0
        os.set_blocking(self._terminal, False)
        try:
            return os.write(self._terminal, data)
        except BlockingIOError:
            return 0
        finally:
            os.set_blocking(self._terminal, True)

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.process, number)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self._terminal)
        self._terminal = -1

    def wait(self, seconds: float = 20.0) -> int:
        """The exit code.

        Raises:
            AssertionError: the process does not end.
        """
        end = time.monotonic() + seconds
        while self.status is None:
            if self._terminal >= 0:
                self.read(0.05)
            else:
                time.sleep(0.05)
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
            assert self.status is not None or time.monotonic() < end, self.picture
        if self._terminal >= 0:
            self.read(0.2)
        return self.status

    @property
    def restored(self) -> bool:
        """Whether the terminal was left as it was found: main screen, cursor, mouse, paste and line modes."""
        data = self.sent
        pairs = ((b"?1049h", b"?1049l"), (b"?1003h", b"?1003l"), (b"?2004h", b"?2004l"), (b"?25l", b"?25h"))
        shown = all(data.rfind(end) > data.rfind(begin) for begin, end in pairs)
        return shown and termios.tcgetattr(self._terminal)[3] == self.before[3]

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
        if self._terminal >= 0:
            os.close(self._terminal)
