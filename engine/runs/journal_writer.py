"""The one writer of a journal: appends whole records, syncs at the end of every stage, holds the run's lock.

Any thread may read the files while it writes; only one thread may call it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import StorageError
from engine.events.base import Record
from engine.events.codec import MAX_TIME, DamagedLine, NewerLine, decode, encode
from engine.events.schema import Event
from engine.files import own_folder
from engine.runs.journal_reader import JOURNAL

LOCK = "lock"
"""Name of the lock file in a run's folder; the kernel frees the lock of a dead process."""


class JournalWriter:
    """Appends records to the journal of a run's folder.

    Args:
        folder: the run's; created, for its owner only, where it does not exist.
        texts: False keeps every prompt, answer and other text out of the file; labels stay, so a reader sees that
            there was one.

    Raises:
        StorageError: the folder cannot be created or written, or another process writes this journal.
    """

    def __init__(self, folder: Path, *, texts: bool = True) -> None:
        self.folder = folder
        self.path = folder / JOURNAL
        self._texts = texts
        self._lock = -1
        self._file = -1
        self._seq = 0
        try:
            own_folder(folder)
            self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _take_lock(self._lock):
                raise StorageError(
                    f"another process{owner_of(folder)} is writing this run.",
                    where=str(folder),
                    next_step="Watch it, or stop it first.",
                )
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._repair_tail()
        except StorageError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise StorageError(
                f"the run's folder cannot be written ({error.strerror}).",
                where=str(folder),
                next_step="Choose another folder with REDRAFT_HOME, or free some space.",
            ) from error

    @property
    def next_seq(self) -> int:
        """The position of the next record."""
        return self._seq

    def append(
        self,
        stage: str,
        level: int,
        summary: str,
        *,
        item: str = "",
        texts: Mapping[str, str] | None = None,
        raw: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        sync: bool = False,
    ) -> Record:
        """Write a record of any stage (see `write`)."""
        return self._append(
            Record(
                self._seq, _now(), stage, level, summary, item, dict(texts or {}), dict(raw or {}), dict(data or {})
            ),
            sync,
        )

    def write(self, event: Event, *, sync: bool = False) -> Record:
        """Write one event; its record is in the file, whole, when this returns. `sync` also waits for the disk.

        Returns:
            The record with its texts, also where the file gets none of them.

        Raises:
            StorageError: the record could not be written; the file then ends with the record before it.
        """
        return self._append(event.to_record(self._seq, _now()), sync)

    def _append(self, record: Record, sync: bool) -> Record:
        line = encode(record if self._texts else _without_texts(record))
        end = os.fstat(self._file).st_size
        try:
            _write_all(self._file, line)
            if sync:
                os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # a torn tail that stays is set aside by the next writer
                os.ftruncate(self._file, end)
            raise StorageError(
                f"the journal could not be written ({error.strerror}).",
                where=str(self.path),
                next_step="Free some space, then resume the run: everything up to here is kept.",
            ) from error
        self._seq += 1
        return record

    def sync(self) -> None:
        """Wait until everything appended so far is on the disk."""
        if self._file >= 0:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the files and release the lock. Idempotent."""
        for name in ("_file", "_lock"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repair_tail(self) -> None:
        """Move the bytes after the last whole line to their own file; continue counting after the last whole record.

        Raises:
            StorageError: the journal is of a newer version; nothing is changed then.
        """
        _last_seq(self.path)
        size = os.fstat(self._file).st_size
        end, pieces = size, [b""]
        while end > 0 and b"\n" not in pieces[-1]:
            start = max(0, end - (1 << 20))
            pieces.append(os.pread(self._file, end - start, start))
            end = start
        pieces[-1] = pieces[-1][pieces[-1].rfind(b"\n") + 1 :]
        torn = b"".join(reversed(pieces))
        if torn:
            aside = self.folder / f"journal.torn-{size - len(torn)}"
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, torn)
            finally:
                os.close(descriptor)
            os.ftruncate(self._file, size - len(torn))
        self._seq = _last_seq(self.path) + 1
        if torn:
            from engine.events.notices import TornRecord  # half of this module's time to import, and rarely needed

            sentence = f"{len(torn)} bytes of a record that was cut off were moved to {aside.name}."
            self.write(TornRecord(summary=sentence, bytes=len(torn)))


def _now() -> float:
    """Seconds since the epoch by this machine's clock, which may be set to anything, within what a record can hold."""
    return min(MAX_TIME, max(0.0, time.time()))


def owner_of(folder: Path) -> str:
    """ " (process 123)" for the process that last took the run's lock, "" where unknown."""
    try:
        return f" (process {int((folder / LOCK).read_text().strip())})"
    except (OSError, ValueError):
        return ""


def is_written(folder: Path) -> bool:
    """Whether a process (this one included) writes the run now."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def holding_lock(folder: Path) -> Iterator[bool]:
    """Keep other processes from writing the run inside the `with` block; False where one writes it already, or where
    the run has no lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield _take_lock(descriptor)
    finally:
        os.close(descriptor)


def _without_texts(record: Record) -> Record:
    return dataclasses.replace(record, texts=dict.fromkeys(record.texts, ""), raw={})


def _take_lock(descriptor: int) -> bool:
    """Whether this process has the lock now; a reader that asks `is_written` holds it for some microseconds."""
    for wait in (0.01, 0.05, 0.2, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait is not None:
                time.sleep(wait)
        else:
            return True
    return False


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _last_seq(path: Path) -> int:
    """Position of the last whole record, -1 where there is none; read from the end, since a journal may hold gigabytes.

    Raises:
        StorageError: a newer version of Redraft wrote the last one.
    """
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end > 0:
            start = max(0, end - (1 << 20))
            file.seek(start)
            lines = (file.read(end - start) + rest).split(b"\n")
            # The first piece may be the end of a longer line, unless it begins the file.
            rest = lines.pop(0) if start else b""
            for line in reversed(lines):
                try:
                    return decode(line).seq
                except NewerLine:
                    raise StorageError(
                        "this journal was written by a newer version of Redraft.",
                        where=str(path),
                        next_step="Resume it with that version; this one would damage it.",
                    ) from None
                except DamagedLine:
                    continue
            end = start
    return -1
