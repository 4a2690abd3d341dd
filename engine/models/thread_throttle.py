"""Uses one thread fewer for each core that other programs keep busy, so that a computation is never held up at every
barrier by a thread that waits for its turn on a shared core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine import cores

_INTERVAL = 0.4
"""Seconds between looks: some steps of a batch, long against the hundredths of a second that the kernel counts in."""


@dataclass(frozen=True)
class Usage:
    """Core-seconds so far of the cores that this process may use: `busy` by all programs, `own` by this one."""

    busy: float
    own: float


def read_usage(stat: Path = cores.STAT) -> Usage | None:
    """What the kernel counted, or None where it does not say (not Linux)."""
    # Programs of a lower priority than this one's make room by themselves.
    busy = cores.busy_seconds(stat, lowered=os.nice(0) > 0) if hasattr(os, "nice") else None
    times = os.times()
    return None if busy is None else Usage(busy, times.user + times.system)


class ThreadThrottle:
    """Keeps torch's threads to the cores that are free. `tick` once a step, from the thread that computes.

    Args:
        most: threads where nothing else runs.
        usage, clock, set_threads: the system's functions; others in tests.
    """

    def __init__(
        self,
        most: int,
        set_threads: Callable[[int], None],
        usage: Callable[[], Usage | None] = read_usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._threads = most
        self._set = set_threads
        self._usage = usage
        self._clock = clock
        self._then = clock()
        self._seen = usage()

    @property
    def threads(self) -> int:
        return self._threads

    def tick(self) -> None:
        """Look again if it is time, and change the number of threads where that is called for."""
        now = self._clock()
        if self._seen is None or now - self._then < _INTERVAL:
            return
        seen = self._usage()
        if seen is None:
            return
        # Other programs' cores; what counts of one's own start-up or end can make it slightly negative.
        others = ((seen.busy - self._seen.busy) - (seen.own - self._seen.own)) / (now - self._then)
        self._seen, self._then = seen, now
        # Half a core must be taken to step back, three quarters of it free to come back: no swinging in between.
        fewest = self._most - int(others + 0.5)
        highest = self._most - int(others + 0.75)
        wanted = max(1, min(fewest, max(self._threads, highest)))
        if wanted != self._threads:
            self._threads = wanted
            self._set(wanted)

    def leave(self) -> None:
        """All threads again, for what comes next and may not look."""
        if self._threads != self._most:
            self._threads = self._most
            self._set(self._most)


_MOST_CORES = 4
"""On more cores one thread too many costs little, and products whose threads change in number may round otherwise."""
_current: list[ThreadThrottle] = []


@contextmanager
def throttled() -> Iterator[Callable[[], None]]:
    """Yields `tick` of the process's one watch, to be called between steps; all threads are back at the end.

    The watch is made at the first use, with torch's present number of threads as the most. Does nothing where these
    are more than four.
    """
    import torch

    if not _current:
        most = torch.get_num_threads()
        _current.append(
            ThreadThrottle(most, torch.set_num_threads, usage=read_usage if most <= _MOST_CORES else _unknown)
        )
    watch = _current[0]
    try:
        yield watch.tick
    finally:
        watch.leave()


def _unknown() -> None:
    return None
