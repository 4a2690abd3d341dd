"""Where the log's events are: places in journal files, not texts, so that a million records take some 20 MB.

An event's text is read from its file when a line of it is drawn, and kept for a while.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import overload

from engine.events.base import ALL, KEY, OFF, SUMMARY, Record
from engine.events.codec import DamagedLine, decode

_KEPT_EVENTS = 512


class _EveryNumber(Sequence[int]):
    """The numbers of all events so far: like `range(len(events))`, but grows with them."""

    def __init__(self, events: Sized) -> None:
        self._events = events

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> range: ...

    def __getitem__(self, index: int | slice) -> int | range:
        return range(len(self._events))[index]


class LogStore:
    """The events that the log can show, numbered from 0 in order of arrival, whatever journal each is from."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._files: list[int] = []
        self._turns: list[int] = []  # the first event of each stretch that comes from one journal
        self._turn_sources: list[int] = []
        self._offset = array("Q")
        self._length = array("I")
        self._level = array("B")
        self._upto = {SUMMARY: array("I"), KEY: array("I")}
        self._recent: OrderedDict[int, Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offset)

    def add_source(self, path: Path) -> int:
        """The number of a journal that events will come from."""
        self._paths.append(path)
        self._files.append(-1)
        return len(self._paths) - 1

    def extend(self, source: int, offsets: Sequence[int], lengths: Sequence[int], levels: Sequence[int]) -> int:
        """Add events of the journal `source`: where each one's line begins, its bytes, and its level. Returns the first
        one's number."""
        first = len(self._offset)
        if offsets and (not self._turn_sources or self._turn_sources[-1] != source):
            self._turns.append(first)
            self._turn_sources.append(source)
        self._offset.extend(offsets)
        self._length.extend(lengths)
        self._level.extend([level if 0 <= level <= 255 else ALL for level in levels])
        for verbosity, numbers in self._upto.items():
            numbers.extend([number for number, level in enumerate(levels, first) if level <= verbosity])
        return first

    def level(self, number: int) -> int:
        """The lowest verbosity that shows the event."""
        return self._level[number]

    def shown(self, verbosity: int) -> Sequence[int]:
        """Numbers of the events that this verbosity shows, in order; grows as events arrive."""
        if verbosity <= OFF:
            return ()
        if verbosity >= ALL:
            return _EveryNumber(self._offset)
        return self._upto[verbosity]

    def event(self, number: int) -> Record:
        """The event, read from its journal. Where that has become impossible, a notice that says so."""
        event = self._recent.get(number)
        if event is not None:
            self._recent.move_to_end(number)
            return event
        try:
            event = decode(self.raw(number))
        except (OSError, DamagedLine):
            return Record(
                number, 0.0, "NOTICE", SUMMARY, f"Record {number} can no longer be read from its journal.", data={}
            )
        self._recent[number] = event
        if len(self._recent) > _KEPT_EVENTS:
            self._recent.popitem(last=False)
        return event

    def raw(self, number: int) -> bytes:
        """The bytes of the event's line.

        Raises:
            OSError: the journal cannot be read.
        """
        return os.pread(self._file(self._source(number)), self._length[number], self._offset[number])

    def block(self, first: int, limit: int) -> tuple[bytes, int]:
        """The bytes of as many whole lines of one journal as follow each other from event `first` on within about
        `limit` bytes, and the number of the first event after them.

        Raises:
            OSError: the journal cannot be read.
        """
        turn = bisect_right(self._turns, first) - 1
        end = self._turns[turn + 1] if turn + 1 < len(self._turns) else len(self._offset)
        source, start = self._turn_sources[turn], self._offset[first]
        stop = bisect_left(self._offset, start + limit, first + 1, end)
        length = self._offset[stop - 1] + self._length[stop - 1] - start
        return os.pread(self._file(source), length, start), stop

    def stretch_before(self, last: int, limit: int) -> int:
        """The first event of a stretch of one journal that ends with `last` and holds about `limit` bytes."""
        turn = self._turns[bisect_right(self._turns, last) - 1]
        return bisect_left(self._offset, max(0, self._offset[last] - limit), turn, last)

    def offset(self, number: int) -> int:
        """Where the event's line begins in its journal."""
        return self._offset[number]

    def numbers_at(self, first: int, stop: int, offsets: Sequence[int]) -> list[int]:
        """The events among `first` to `stop` (of one journal) whose lines hold these offsets; ascending, each once."""
        found: list[int] = []
        for offset in offsets:
            number = bisect_left(self._offset, offset + 1, first, stop) - 1
            if not found or number > found[-1]:
                found.append(number)
        return found

    def close(self) -> None:
        """Close the files."""
        for source, file in enumerate(self._files):
            if file >= 0:
                os.close(file)
                self._files[source] = -1

    def _source(self, number: int) -> int:
        return self._turn_sources[bisect_right(self._turns, number) - 1]

    def _file(self, source: int) -> int:
        if self._files[source] < 0:
            self._files[source] = os.open(self._paths[source], os.O_RDONLY | os.O_CLOEXEC)
        return self._files[source]
