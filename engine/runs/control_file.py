"""Pause, go on, stop, leave the screen: asked of the process that performs a run by any other of the same person.

A wish is a line appended to the file `steering` in the run's folder, which its owner alone can open. The process that
holds the run's lock reads what was appended, in order, so no watcher can undo another's wish by writing at the same
moment, and nothing that was asked of a process that died is obeyed by the next one.
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

STEERING = "steering"
"""Name of the file in a run's folder; it is there while somebody has asked for something."""

PAUSE, CONTINUE, STOP, DETACH = "pause", "continue", "stop", "detach"
WISHES = (PAUSE, CONTINUE, STOP, DETACH)

EVERY = 0.1
"""Seconds between two looks at the file: a look costs 2 microseconds, and `Control.check` is called for every token."""

_MOST = 64 << 10
"""Bytes that are read at a time; wishes are a few bytes each."""


def ask(folder: Path, wish: str) -> None:
    """Ask the process that performs the run for one of `WISHES`; it obeys at its next token step or micro-batch.

    Raises:
        InputError: nobody performs the run.
        StorageError: the folder cannot be written.
    """
    assert wish in WISHES
    if not is_written(folder):
        raise InputError(
            "no process performs this run now.", where=folder.name, next_step=f"`redraft resume {folder.name}`."
        )
    try:
        descriptor = os.open(
            folder / STEERING, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            os.write(descriptor, f"{wish}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"the run cannot be steered ({error.strerror}).",
            where=str(folder / STEERING),
            next_step="Do it as the person whose run it is, on the machine where it is.",
        ) from error


class Steering:
    """The owner's side. Make it once the run's lock is held; what was asked before that is dropped.

    Args:
        folder: the run's.
        control: what obeys.
        told: called with True when the run begins to wait, with False when it goes on; by whomever it was asked.
    """

    def __init__(self, folder: Path, control: Control, told: Callable[[bool], None]) -> None:
        self._path = folder / STEERING
        self._control = control
        self._told = told
        self._paused = False
        self._read = 0
        self._next = 0.0
        self.close()

    def look(self) -> None:
        """Obey what was asked since the last look; called between the run's steps."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            for wish in self._wishes():
                self._obey(wish)
        if self._control.paused != self._paused and not self._control.stopping:
            self._paused = not self._paused
            self._told(self._paused)

    def close(self) -> None:
        """Drop what was asked."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _obey(self, wish: str) -> None:
        if wish == STOP:
            self._control.stop()
        elif wish == PAUSE:
            self._control.pause()
        elif wish == CONTINUE:
            self._control.resume()
        elif wish == DETACH:
            self._control.detach()

    def _wishes(self) -> list[str]:
        """Whole lines after what was read before. A file that is not this person's own is nobody's wish."""
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
            data = os.pread(descriptor, _MOST, min(self._read, status.st_size))
        except OSError:
            return []
        finally:
            os.close(descriptor)
        whole = data[: data.rfind(b"\n") + 1]
        self._read = min(self._read, status.st_size) + len(whole)
        return whole.decode("ascii", "replace").split()
