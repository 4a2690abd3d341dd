"""News from journals: what was appended since the last call, with the place of each event in its file.

The work of one call is bounded, so that the app's thread stays free for keys while a journal of gigabytes is read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StorageError
from engine.events.base import Record
from engine.runs.journal_reader import PlacedReader

_CHUNK = 64 << 10
"""Bytes that are read and decoded before the clock is looked at: some 3 ms of work."""


@dataclass(frozen=True)
class JournalUpdate:
    """Events that were appended to the journal `source`, with the place of each one's line."""

    source: int
    offsets: list[int]
    lengths: list[int]
    events: list[Record]


class JournalTailer:
    """Follows journals, each known by the number that the caller gave it."""

    def __init__(self) -> None:
        self._readers: dict[int, PlacedReader] = {}
        self.behind = False
        """Whether the last call left something unread."""
        self.problem = ""
        """Why a journal cannot be read; "" where all can."""

    def follow(self, source: int, folder: Path) -> Path:
        """Read this folder's journal from its begin. Gives the journal's path."""
        reader = PlacedReader(folder, chunk=_CHUNK)
        self._readers[source] = reader
        return reader.path

    def forget(self) -> dict[int, PlacedReader]:
        """Follow nothing any more. Gives the readers, so that one can be followed on from where it is."""
        readers, self._readers, self.problem = self._readers, {}, ""
        return readers

    def follow_on(self, source: int, reader: PlacedReader) -> Path:
        """Read on with this reader under another number. Gives the journal's path."""
        self._readers[source] = reader
        return reader.path

    @property
    def damaged(self) -> int:
        """Stretches of the journals that hold no whole record."""
        return sum(len(reader.damage) for reader in self._readers.values())

    def poll(self, seconds: float) -> list[JournalUpdate]:
        """New events of all journals, oldest first in each; stops soon after `seconds` of work."""
        news: list[JournalUpdate] = []
        deadline = time.perf_counter() + seconds
        self.behind = False
        for source, reader in self._readers.items():
            try:
                while events := reader.poll(limit=1):
                    news.append(JournalUpdate(source, reader.offsets, reader.lengths, events))
                    reader.offsets, reader.lengths = [], []
                    if time.perf_counter() > deadline:
                        self.behind = True
                        return news
            except StorageError as error:
                self.problem = str(error)
        return news
