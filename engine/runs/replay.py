"""Writes the journal of a finished run once more, in its own rhythm or faster, for whoever follows the copy.

Readers cannot tell the copy from a live run: it grows record by record, is locked while it grows, and obeys pause,
continue and stop.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from engine.control import Control
from engine.errors import InputError, StorageError
from engine.events.base import Record
from engine.events.codec import DamagedLine, decode
from engine.runs.control_file import CommandListener
from engine.runs.folder import RUN
from engine.runs.journal_reader import JOURNAL
from engine.runs.journal_writer import LOCK
from engine.runs.store import REPORT

MAX_SPEED = 100_000.0

_STEP = 0.05
"""Seconds of sleep at a time: a pause or stop is obeyed within this."""


def replay(source: Path, target: Path, speed: float, control: Control, max_wait: float = 3.0) -> int:
    """Copy a run's records into another folder at `speed` times the pace at which they were written.

    Args:
        source: the run's folder.
        target: a new folder; the report follows once all records are there.
        speed: 1 is the run's own pace.
        control: pauses and stops the copy, as it would the run.
        max_wait: longest wait between two records, in seconds: nights and stops of the run are skipped.

    Returns:
        The number of records that were written.

    Raises:
        InputError: the run has no records.
        Stopped: `control` stopped it.
        StorageError: a file cannot be read or written.
    """
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (source / RUN).exists():
            shutil.copyfile(source / RUN, target / RUN)
        lock = os.open(target / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            count = _copy(source, target, speed, control, max_wait)
        finally:
            os.close(lock)
        if (source / REPORT).exists():
            shutil.copyfile(source / REPORT, target / REPORT)
    except OSError as error:
        raise StorageError(
            f"the run cannot be replayed ({error.strerror or error}).", where=str(error.filename or source)
        ) from error
    if not count:
        raise InputError("the run has no records.", where=str(source), next_step="`redraft runs` lists the runs.")
    return count


def _copy(source: Path, target: Path, speed: float, control: Control, max_wait: float) -> int:
    listener = CommandListener(target, control, lambda _paused: None)
    control.add_check(listener.poll)
    before, count = 0.0, 0
    with open(target / JOURNAL, "ab", buffering=0) as file:
        for record, line in _lines(source / JOURNAL):
            if before:
                _wait(min(max_wait, max(0.0, record.time - before) / speed), control)
            before = record.time
            control.check()
            file.write(line)
            count += 1
    listener.close()
    return count


def _lines(journal: Path) -> Iterator[tuple[Record, bytes]]:
    with open(journal, "rb") as file:
        for line in file:
            try:
                yield decode(line.rstrip(b"\n")), line
            except DamagedLine:
                continue


def _wait(seconds: float, control: Control) -> None:
    """Sleep, in steps that a pause or a stop ends; a pause does not count."""
    left = seconds
    while left > 0:
        control.check()
        step = min(_STEP, left)
        time.sleep(step)
        left -= step
