"""Processes as the system sees them, and a terminal for one of them to sit in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path


class Pty:
    """A terminal for one life: what is sent is kept, what the app asks of a terminal is answered."""

    def __init__(self, columns: int = 100, lines: int = 30) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.name = os.ttyname(self._slave)
        self.before = termios.tcgetattr(self._slave)
        self.sent = b""

    def pump(self, seconds: float = 0.0) -> None:
        """Take in what was sent, for about this long."""
        end = time.monotonic() + seconds
        while self._master >= 0 and select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                return
            if b"\x1b[?2026$p" in data:
                os.write(self._master, b"\x1b[?2026;1$y")
            self.sent += data

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Take in what is sent until something holds.

        Raises:
            AssertionError: it never does.
        """
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.sent[-3000:]
            self.pump(0.02)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def close(self) -> None:
        """Hang up, as a lost connection does."""
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def let_go(self) -> None:
        """Keep only the side that a terminal program keeps, so that a hang-up can be seen."""
        os.close(self._slave)
        self._slave = -1

    @property
    def restored(self) -> bool:
        """Main screen, cursor, mouse, paste and the line's modes are as they were found."""
        modes = ((b"?1049h", b"?1049l"), (b"?1003h", b"?1003l"), (b"?2004h", b"?2004l"), (b"?25l", b"?25h"))
        shown = all(self.sent.rfind(end) >= self.sent.rfind(begin) for begin, end in modes)
        return shown and termios.tcgetattr(self._master)[3] == self.before[3]


def owner(folder: Path) -> int | None:
    """The process that last took the run's lock."""
    with contextlib.suppress(OSError, ValueError):
        return int((folder / "lock").read_text())
    return None


def alive(process: int) -> bool:
    """Whether it processes; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def used(process: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def terminals_of(process: int) -> list[str]:
    """Terminals that it still holds."""
    held = []
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.append(os.readlink(entry))
    return [link for link in held if link.startswith(("/dev/pts", "/dev/tty"))]


def kill(process: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
