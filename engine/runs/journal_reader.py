"""Reads a journal while it grows, after a crash, or a year later. Never blocks or slows the writer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StorageError
from engine.events.base import Record
from engine.events.codec import DamagedLine, decode

JOURNAL = "journal.jsonl"
"""Name of the journal in a run's folder."""

MAX_LINE = 1 << 28
"""Bytes of a line beyond which it counts as damage; nothing that this program writes comes near it."""

_CHUNK = 1 << 20
_PORTION = 500


@dataclass(frozen=True)
class Damage:
    """A stretch of a journal that holds no whole record.

    Args:
        offset: of its first byte in the file.
        length: bytes; 0 where whole records are missing between two lines.
        reason: what is wrong with it.
    """

    offset: int
    length: int
    reason: str


class JournalReader:
    """Returns the records that were appended since the last call.

    A last line without its newline is not damage: the writer may be in the middle of it. Its bytes are read again by
    the next call, because a writer that ran out of space takes them back.
    """

    def __init__(self, path: Path, *, chunk: int = _CHUNK) -> None:
        # The folder may not be there yet, so its absence says nothing.
        self.path = path if path.suffix == ".jsonl" or path.is_file() else path / JOURNAL
        self.damage: list[Damage] = []
        self._chunk = chunk  # bytes read at a time: with a `limit` they bound the work of one `poll`
        self._offset = 0  # always the beginning of a line
        self._pending = 0
        self._at_end = (-1, -1)  # size and time of change of a file that was read to its end
        self._next_seq = 0
        self._damaged_since = 0

    def poll(self, limit: int | None = None) -> list[Record]:
        """New events, oldest first; at most about `limit` where given (the rest comes with the next call).

        A journal that does not exist yet has none.

        Raises:
            StorageError: the file is there but cannot be read.
        """
        events: list[Record] = []
        try:
            with open(self.path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if self._at_end == (status.st_size, status.st_mtime_ns):
                    return events
                self._at_end = (-1, -1)
                if status.st_size < self._offset:
                    self._shortened(status.st_size)
                file.seek(self._offset)
                rest: list[bytes] = []
                self._pending = 0
                while limit is None or len(events) < limit:
                    chunk = file.read(self._chunk)
                    if not chunk:
                        self._at_end = (status.st_size, status.st_mtime_ns)
                        break
                    self._take(chunk, rest, events)
        except FileNotFoundError:
            return events
        except OSError as error:
            raise StorageError(
                f"the journal cannot be read ({error.strerror}).",
                where=str(self.path),
                next_step="Check that it is a file that you may read.",
            ) from error
        return events

    def so_far(self) -> Iterator[Record]:
        """The records that are in the file now, in portions. It does not wait for those that a writer appends in the
        meantime: the writer may be faster than the caller.

        Raises:
            StorageError: as `poll` does.
        """
        try:
            size = self.path.stat().st_size
        except OSError:
            size = 0
        while events := self.poll(limit=_PORTION):
            yield from events
            if self._offset >= size:
                return

    def _take(self, chunk: bytes, rest: list[bytes], events: list[Record]) -> None:
        """Decode the lines that end in `chunk`; `rest` holds the pieces of the line that it begins in."""
        end = chunk.rfind(b"\n") + 1
        # Pieces are joined only where their line ends: a line of many megabytes would be copied at every chunk.
        if not end:
            rest.append(chunk)
            self._pending += len(chunk)
            if self._pending > MAX_LINE:
                self._note(self._pending, "no line ends here")
                rest.clear()
            return
        lines = b"".join([*rest, chunk[:end]]).split(b"\n")
        lines.pop()
        self._lines(lines, events)
        rest[:] = [chunk[end:]]
        self._pending = len(chunk) - end

    def _lines(self, lines: list[bytes], events: list[Record]) -> None:
        for line in lines:
            try:
                event = decode(line)
            except DamagedLine as error:
                self._note(len(line) + 1, str(error))
                continue
            if event.seq == self._next_seq and not self._damaged_since:
                self._next_seq += 1
            else:
                self._jumped(event.seq)
            self._offset += len(line) + 1
            events.append(event)

    def _jumped(self, seq: int) -> None:
        """Continue after this record, which does not follow the last one; note how many are missing between them."""
        missing = seq - self._next_seq - self._damaged_since
        if missing > 0:
            self.damage.append(Damage(self._offset, 0, f"{missing} records before record {seq} are missing"))
        self._next_seq, self._damaged_since = max(self._next_seq, seq + 1), 0

    def _note(self, length: int, reason: str) -> None:
        self.damage.append(Damage(self._offset, length, reason))
        self._damaged_since += 1
        self._offset += length
        self._pending = 0

    def _shortened(self, size: int) -> None:
        """Continue at the end of a file that lost lines which were read before; nothing is returned twice."""
        self.damage.append(Damage(size, 0, f"{self._offset - size} bytes that were here before are gone"))
        self._offset = size


class PlacedReader(JournalReader):
    """A reader that also notes where each record's line is, in `offsets` and `lengths`, for its caller to clear."""

    def __init__(self, path: Path, *, chunk: int = _CHUNK) -> None:
        super().__init__(path, chunk=chunk)
        self.offsets: list[int] = []
        self.lengths: list[int] = []

    def _lines(self, lines: list[bytes], events: list[Record]) -> None:
        lengths = [len(line) for line in lines]
        offsets = [at + newlines for newlines, at in enumerate(itertools.accumulate(lengths, initial=self._offset))]
        noted = len(self.damage)
        super()._lines(lines, events)
        damaged = {one.offset for one in self.damage[noted:] if one.length}
        for offset, length in zip(offsets, lengths, strict=False):
            if offset not in damaged:
                self.offsets.append(offset)
                self.lengths.append(length)

    def placed(self) -> Iterator[tuple[Record, int, int]]:
        """The records that are in the file now, each with offset and length of its line.

        Raises:
            StorageError: as `poll` does.
        """
        for event in self.so_far():
            yield event, self.offsets.pop(0), self.lengths.pop(0)


def read(path: Path) -> Iterator[Record]:
    """All whole records of a journal (a file, or the folder that holds it), oldest first; damage is skipped.

    Raises:
        StorageError: there is none, or it cannot be read.
    """
    reader = JournalReader(path)
    if not reader.path.exists():
        raise StorageError(
            "there is no journal here.", where=str(reader.path), next_step="`redraft runs` lists the runs there are."
        )
    yield from reader.so_far()
