"""Commands from other processes of the same user to the process that performs a run: pause, continue, stop, detach, and
the answer to an alarm of training.

A command is a line appended to the file `control` in the run's folder, which only its owner can open. The process that
holds the run's lock reads the lines in order, so two watchers that write at the same moment do not overwrite each
other's commands; commands to a process that died are not obeyed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from engine.control import Control
from engine.errors import InputError, StorageError
from engine.runs.journal_writer import is_written

CONTROL = "control"
"""Name of the file in a run's folder; it exists once a command was sent."""

PAUSE, CONTINUE, STOP, DETACH = "pause", "continue", "stop", "detach"
RESTORE, KEEP_TRAINING = "restore", "keep-training"
COMMANDS = (PAUSE, CONTINUE, STOP, DETACH, RESTORE, KEEP_TRAINING)

POLL_SECONDS = 0.1
"""Seconds between two polls of the file: each costs 2 microseconds, and `Control.check` is called for every token."""

_MAX_READ = 64 << 10
"""Bytes that are read at a time; commands are a few bytes each."""


def send(folder: Path, command: str) -> None:
    """Send one of `COMMANDS` to the process that performs the run; it obeys at its next token step or micro-batch.

    Raises:
        InputError: no process performs the run.
        StorageError: the folder cannot be written.
    """
    assert command in COMMANDS
    if not is_written(folder):
        raise InputError(
            "no process performs this run now.", where=folder.name, next_step=f"`redraft resume {folder.name}`."
        )
    try:
        descriptor = os.open(
            folder / CONTROL, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            os.write(descriptor, f"{command}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"the command cannot be sent ({error.strerror}).",
            where=str(folder / CONTROL),
            next_step="Send it as the user who owns the run, on its machine.",
        ) from error


class CommandListener:
    """The receiving side. Create it once the run's lock is held; earlier commands are dropped.

    Args:
        folder: the run's.
        control: what obeys the commands.
        on_pause: called with True when the run is paused, with False when it continues, whatever the cause.
    """

    def __init__(self, folder: Path, control: Control, on_pause: Callable[[bool], None]) -> None:
        self._path = folder / CONTROL
        self._control = control
        self._on_pause = on_pause
        self._paused = False
        self._read = 0
        self._next = 0.0
        self.close()

    def poll(self) -> None:
        """Obey the commands since the last poll; called between the run's steps."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + POLL_SECONDS
            for command in self._commands():
                self._obey(command)
        if self._control.paused != self._paused and not self._control.stopping:
            self._paused = not self._paused
            self._on_pause(self._paused)

    def close(self) -> None:
        """Drop all commands."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _obey(self, command: str) -> None:
        if command == STOP:
            self._control.stop()
        elif command == PAUSE:
            self._control.pause()
        elif command == CONTINUE:
            self._control.resume()
        elif command == DETACH:
            self._control.detach()
        elif command == RESTORE:
            self._control.decide("restore")
        elif command == KEEP_TRAINING:
            self._control.decide("continue")

    def _commands(self) -> list[str]:
        """Whole lines after what was read before. A file that this user does not own is ignored."""
        try:
            if os.stat(self._path, follow_symlinks=False).st_size == self._read:
                return []
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return []
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return []
            data = os.pread(descriptor, _MAX_READ, min(self._read, status.st_size))
        except OSError:
            return []
        finally:
            os.close(descriptor)
        whole = data[: data.rfind(b"\n") + 1]
        self._read = min(self._read, status.st_size) + len(whole)
        return whole.decode("ascii", "replace").split()
