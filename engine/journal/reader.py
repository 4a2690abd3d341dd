"""Reads a journal while it grows, after a crash, or a year later. Never blocks or slows the writer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StorageError
from engine.journal.codec import DamagedLine, decode
from engine.journal.event import Event

JOURNAL = "journal.jsonl"
"""Name of the journal in a run's folder."""

_CHUNK = 4 << 20


@dataclass(frozen=True)
class Damage:
    """A stretch of a journal that holds no whole record.

    Args:
        offset: of its first byte in the file.
        length: bytes.
        reason: what is wrong with it.
    """

    offset: int
    length: int
    reason: str


class JournalReader:
    """Gives the events that were appended since the last call.

    A last line without its newline is not damage: the writer may be in the middle of it. `pending` says how many
    such bytes there are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / JOURNAL if path.is_dir() else path
        self._offset = 0
        self._rest = b""
        self.damage: list[Damage] = []

    @property
    def pending(self) -> int:
        """Bytes after the last newline that was seen."""
        return len(self._rest)

    def poll(self, limit: int | None = None) -> list[Event]:
        """New events, oldest first; at most about `limit` where given (the rest comes with the next call).

        A journal that does not exist yet gives none.

        Raises:
            StorageError: the file is there but cannot be read.
        """
        events: list[Event] = []
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self._offset)
                while limit is None or len(events) < limit:
                    chunk = file.read(_CHUNK)
                    if not chunk:
                        break
                    self._take(chunk, events)
        except FileNotFoundError:
            return events
        except OSError as error:
            raise StorageError(
                f"the journal cannot be read ({error.strerror}).",
                where=str(self.path),
                next_step="Check the folder's permissions.",
            ) from error
        return events

    def _take(self, chunk: bytes, events: list[Event]) -> None:
        start = self._offset - len(self._rest)
        self._offset += len(chunk)
        # Only the new bytes are searched: a line of many megabytes would be searched again at every chunk otherwise.
        if b"\n" not in chunk:
            self._rest += chunk
            return
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line:
                try:
                    events.append(decode(line))
                except DamagedLine as error:
                    self.damage.append(Damage(start, len(line) + 1, str(error)))
            start += len(line) + 1


def read(path: Path) -> Iterator[Event]:
    """All whole events of a journal (a file, or the folder that holds it), oldest first.

    Raises:
        StorageError: there is none, or it cannot be read.
    """
    reader = JournalReader(path)
    if not reader.path.exists():
        raise StorageError(
            "there is no journal here.", where=str(reader.path), next_step="`redraft runs` lists the runs there are."
        )
    while events := reader.poll(limit=1000):
        yield from events
