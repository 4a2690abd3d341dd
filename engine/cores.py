"""The processor's cores that this process may use, and how long they were busy. Knows nothing of models or torch."""

from __future__ import annotations

import os
from pathlib import Path

STAT = Path("/proc/stat")
"""Where Linux reports the time of each core."""


def usable() -> set[int]:
    """Numbers of the cores that this process may use."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:
        return set(range(os.cpu_count() or 1))


def busy_seconds(stat: Path = STAT, *, lowered: bool = True) -> float | None:
    """Core-seconds since the system's start that the usable cores were busy, by all programs, with the time that a
    hypervisor gave to others; None where the system does not report it (not Linux).

    Args:
        lowered: count programs of a lowered priority too.
    """
    try:
        lines = stat.read_text().splitlines()
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    busy, cores = 0, usable()
    for line in lines:
        name, _, counts = line.partition(" ")
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            # user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two already
            user, nice, system, _, _, *kernel = (int(word) for word in counts.split()[:8])
            busy += user + system + sum(kernel) + (nice if lowered else 0)
    return busy / tick if busy else None
