"""Finds words in what the log shows, in slices, so that a search through gigabytes never holds up a key.

Whole blocks of the journal are scanned as bytes first; only records that may hold the words are decoded and then
compared as they are shown (at verbosity 2 a text's words beyond its cut are not shown, and so not found).
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable
from typing import Protocol

from engine.events.base import Record
from engine.events.verbosity import entry
from tui.services.log_store import LogStore

_BLOCK = 256 << 10
# Runs of characters that stand in a journal as they are: JSON escapes quotes and backslashes.
_PLAIN = re.compile(r"[ !#-\[\]-~]+")


class Matcher(Protocol):
    """Decides which records are looked for."""

    def in_block(self, block: bytes) -> list[int]:
        """Offsets in a block of records at which one may stand; one offset for each place."""
        ...

    def in_event(self, event: Record, verbosity: int) -> bool:
        """Whether this is one, as this verbosity shows it."""
        ...


def line_offsets(block: bytes, needle: bytes | re.Pattern[bytes]) -> list[int]:
    """Where the needle stands in a block of lines: its first place in each line that holds it."""
    find = _found(block, needle)
    offsets: list[int] = []
    at = find(0)
    while at >= 0:
        offsets.append(at)
        # The rest of the line is decided by decoding it.
        end = block.find(b"\n", at)
        if end < 0:
            break
        at = find(end + 1)
    return offsets


def _found(block: bytes, needle: bytes | re.Pattern[bytes]) -> Callable[[int], int]:
    if isinstance(needle, bytes):
        return lambda start: block.find(needle, start)

    def find(start: int) -> int:
        match = needle.search(block, start)
        return -1 if match is None else match.start()

    return find


class Words:
    """What is searched for, without regard to case."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lower = text.lower()
        self._needle = max(_PLAIN.findall(self._lower), key=len, default="").encode()

    def in_block(self, block: bytes) -> list[int]:
        """Offsets in a block of records at which the words may stand; one offset for each place."""
        if not self._needle:
            return [0, *(match.end() for match in re.finditer(b"\n", block))]
        return line_offsets(block.lower(), self._needle)

    def in_event(self, event: Record, verbosity: int) -> bool:
        """Whether the words stand in what this verbosity shows of the event."""
        shown = entry(event, verbosity)
        if shown is None:
            return False
        texts = [shown.stage, shown.summary, *(text for part in shown.parts for text in (part.label, part.text))]
        return any(self._lower in text.lower() for text in texts)

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Where the words stand in a line that is drawn."""
        lower = line.lower()
        spans: list[tuple[int, int]] = []
        if len(lower) != len(line) or not self._lower:
            return spans
        at = lower.find(self._lower)
        while at >= 0:
            spans.append((at, at + len(self._lower)))
            at = lower.find(self._lower, at + len(self._lower))
        return spans


class Scan:
    """One pass over events from `start` towards the end (`step` 1) or the begin (-1), in slices.

    Gives hits in the order in which it meets them.
    """

    def __init__(self, store: LogStore, words: Matcher, verbosity: int, start: int, step: int = 1) -> None:
        self._store = store
        self._words = words
        self._verbosity = verbosity
        self.next = start
        """The event that is looked at next."""
        self._step = step
        self.forward = step > 0
        self._candidates: list[int] = []

    @property
    def done(self) -> bool:
        """Whether there is nothing left to look at."""
        return not self._candidates and not 0 <= self.next < len(self._store)

    def run(self, seconds: float, limit: int = 1) -> list[int]:
        """Up to `limit` more hits, or fewer (perhaps none) when the time is up or the end is reached."""
        hits: list[int] = []
        deadline = time.perf_counter() + seconds
        while not self.done:
            while self._candidates:
                number = self._candidates.pop()
                if self._words.in_event(self._store.event(number), self._verbosity):
                    hits.append(number)
                    if len(hits) >= limit:
                        return hits
                if time.perf_counter() > deadline:
                    return hits
            if time.perf_counter() > deadline:
                return hits
            self._fill()
        return hits

    def _fill(self) -> None:
        """Read one block and note its records that may hold the words, the nearest last."""
        store = self._store
        if not 0 <= self.next < len(store):
            return
        first = self.next if self._step > 0 else store.stretch_before(self.next, _BLOCK)
        try:
            block, stop = store.block(first, _BLOCK)
        except OSError:
            self.next += self._step
            return
        if self._step < 0:
            stop = min(stop, self.next + 1)
        base = store.offset(first)
        numbers = store.numbers_at(first, stop, [base + at for at in self._words.in_block(block)])
        candidates = [number for number in numbers if number < stop and store.level(number) <= self._verbosity]
        self._candidates = candidates[::-1] if self._step > 0 else candidates
        self.next = stop if self._step > 0 else first - 1


class Filter:
    """The numbers of all events that match, filled from a place outwards, so that the page there is first.

    Args:
        around: the event that the window stands at.
    """

    def __init__(self, store: LogStore, words: Matcher, verbosity: int, around: int) -> None:
        self._before = array("I")  # descending
        self._from = array("I")
        self._forward = Scan(store, words, verbosity, around)
        self._backward = Scan(store, words, verbosity, around - 1, -1)
        self._store = store
        self._around = around

    def __len__(self) -> int:
        return len(self._before) + len(self._from)

    def __getitem__(self, index: int) -> int:
        if index < 0:
            index += len(self)
        before = len(self._before)
        return self._before[before - 1 - index] if index < before else self._from[index - before]

    @property
    def done(self) -> bool:
        """Whether every event so far was looked at."""
        return self._forward.done and self._backward.done

    @property
    def share(self) -> float:
        """The share of all events that was looked at, 0 to 1."""
        total = len(self._store)
        looked = self._forward.next - self._around + self._around - 1 - self._backward.next
        return looked / total if total else 1.0

    def run(self, seconds: float, enough: int = 0) -> bool:
        """Look further for this long, or until there are `enough` hits after the place; True where hits were added."""
        deadline = time.perf_counter() + seconds
        count = len(self)
        while not self._forward.done and time.perf_counter() < deadline:
            self._from.extend(self._forward.run(deadline - time.perf_counter(), enough or 1000))
            if 0 < enough <= len(self._from):
                return True
        while not self._backward.done and time.perf_counter() < deadline:
            self._before.extend(self._backward.run(deadline - time.perf_counter(), 1000))
        return len(self) > count
