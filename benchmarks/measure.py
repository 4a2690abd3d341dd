"""Ratios of two measured rates: interleaved rounds, medians, and whether the machine was quiet enough to trust them.

Knows nothing of models; importable without torch.

How a busy machine is detected: over each measured stretch the kernel's own account of the cores (/proc/stat, with the
time that a hypervisor took) is compared with the CPU time of this process and its children. The rest was used by
others. The load average does not separate them, and wall time over CPU time blames others for our own waiting.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.cores import busy_seconds, usable

BUSY = 0.1
"""Share of the cores that other programs may use before a sample counts as disturbed."""


@dataclass(frozen=True)
class Sample:
    """One measurement of one side.

    Args:
        units: work done: tokens, texts, FLOP, or bytes held.
        seconds: what it took.
        others: share (0 to 1) of the cores that other programs used meanwhile; None where the system does not say.
        note: what a reader must know, such as "4 of 64 prompts"; "" for nothing.
    """

    units: float
    seconds: float
    others: float | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds if self.seconds > 0 else 0.0

    @property
    def disturbed(self) -> bool:
        return self.others is not None and self.others > BUSY

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Sample:
        """From the object that another process sent."""
        others = values.get("others")
        return cls(
            float(values["units"]),
            float(values["seconds"]),
            None if others is None else float(others),
            str(values.get("note", "")),
        )


@dataclass(frozen=True)
class Ratio:
    """What a comparison gave.

    Args:
        name: what is compared with what.
        median: of the rounds' ratios.
        low, high: the smallest and the largest of them.
        goal: what the median is to reach; None where there is no goal.
        rounds: how many there were.
        trusted: fewer than half of the rounds were disturbed by other programs.
        detail: both rates, what was counted, what was sampled.
        at_most: the goal is an upper limit (memory), not a lower one.
    """

    name: str
    median: float
    low: float
    high: float
    goal: float | None
    rounds: int
    trusted: bool
    detail: str
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.median <= self.goal if self.at_most else self.median >= self.goal


@dataclass(frozen=True)
class Missing:
    """A comparison that could not be made.

    Args:
        name, goal, at_most: as in `Ratio`.
        reason: one sentence.
        install: the command that adds what is missing; "" where no package is.
    """

    name: str
    goal: float | None
    reason: str
    install: str = ""
    at_most: bool = False


Finding = Ratio | Missing
Measure = Callable[[int], Sample]
"""Measures one side in the round of this number, from 0."""


def interleave(
    sides: Mapping[str, Measure],
    rounds: int,
    log: Callable[[str], None] = lambda _: None,
    seconds: float = float("inf"),
) -> dict[str, list[Sample]]:
    """A B A B: every side once a round, in the order given, so that slow changes of the machine meet all of them.

    Args:
        sides: name -> how it is measured.
        rounds: at least 1.
        log: called with a sentence before and after each measurement.
        seconds: no round begins that would end after this time, by the rounds before it; the first always does.
    """
    found: dict[str, list[Sample]] = {name: [] for name in sides}
    began = time.monotonic()
    for number in range(rounds):
        taken = time.monotonic() - began
        if number and taken + taken / number > seconds:
            log(f"{number} of {rounds} rounds fit into {seconds:.0f} s (--seconds)")
            break
        for name, measure in sides.items():
            log(f"round {number + 1} of {rounds}: {name} …")
            sample = measure(number)
            busy = f"; other programs used {sample.others:.0%} of the cores" if sample.disturbed else ""
            log(f"round {number + 1} of {rounds}: {name}: {amount(sample.rate)} in {sample.seconds:.1f} s{busy}")
            found[name].append(sample)
    return found


def ratio(
    name: str,
    ours: Sequence[Sample],
    theirs: Sequence[Sample],
    *,
    unit: str,
    goal: float | None = None,
    at_most: bool = False,
    timed: bool = True,
    detail: str = "",
) -> Ratio:
    """Our rate over theirs in each round; the median of these ratios, with its range.

    Args:
        ours, theirs: one sample a round each.
        unit: what a rate counts, such as "tokens/s".
        timed: False for what other programs cannot disturb, such as memory.
        detail: what to add to the sentence on both rates.
    """
    pairs = list(zip(ours, theirs, strict=True))
    values = [a.rate / b.rate if b.rate > 0 else 0.0 for a, b in pairs]
    disturbed = [pair for pair in pairs if timed and any(sample.disturbed for sample in pair)]
    medians = [amount(statistics.median(s.rate for s in side)) for side in (ours, theirs)]
    parts = [f"{medians[0]} against {medians[1]} {unit}"]
    # A note that both sides have is written once.
    parts += dict.fromkeys(side[0].note for side in (ours, theirs) if side and side[0].note)
    parts += [detail, _disturbance(pairs, disturbed) if timed else ""]
    return Ratio(
        name=name,
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        goal=goal,
        rounds=len(values),
        trusted=2 * len(disturbed) < len(values),
        detail="; ".join(filter(None, parts)),
        at_most=at_most,
    )


def _disturbance(pairs: Sequence[tuple[Sample, Sample]], disturbed: Sequence[tuple[Sample, Sample]]) -> str:
    """How many rounds other programs disturbed, as words; "" for none."""
    shares = [sample.others for pair in pairs for sample in pair]
    if disturbed:
        highest = max(share or 0.0 for share in shares)
        return f"{len(disturbed)} of {len(pairs)} rounds disturbed: others used up to {highest:.0%} of the cores"
    return "whether other programs disturbed it is unknown here" if all(share is None for share in shares) else ""


def amount(value: float) -> str:
    """A number for display, about three digits: 0.031, 8.42, 351, 1,204, 1.87e+12."""
    if value >= 1e6:
        return f"{value:.3g}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class Stopwatch:
    """Times a stretch of work and reports the share of the cores that others used::

        with Stopwatch() as watch:
            work()
        watch.sample(units=tokens)

    Args:
        also: processes that work for us and are no children that have ended; their CPU time is ours.
    """

    def __init__(self, also: Sequence[int] = ()) -> None:
        self._also = tuple(also)
        self.seconds = 0.0
        self.others: float | None = None

    def __enter__(self) -> Stopwatch:
        self._busy, self._own = busy_seconds(), self._own_seconds()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        own, busy = self._own_seconds() - self._own, busy_seconds()
        if busy is not None and self._busy is not None and self.seconds > 0:
            # The kernel counts in ticks of 10 ms: a very short stretch says nothing.
            left = busy - self._busy - own - 0.05
            self.others = min(1.0, max(0.0, left) / (self.seconds * len(usable())))

    def sample(self, units: float, *, seconds: float | None = None, note: str = "") -> dict[str, Any]:
        """A `Sample` as an object to be sent; `seconds` where only a part of the stretch counts."""
        return {
            "units": units,
            "seconds": self.seconds if seconds is None else seconds,
            "others": self.others,
            "note": note,
        }

    def _own_seconds(self) -> float:
        return sum(os.times()[:4]) + sum(_process_seconds(pid) for pid in self._also)


def _process_seconds(pid: int) -> float:
    try:
        # After the name, which is in brackets and may hold anything, the 12th and 13th fields are CPU time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def peak_memory() -> int:
    """Most bytes that this process has held so far.

    Linux's own counter of the address space is preferred: `ru_maxrss` of a new process begins with what its parent
    held.
    """
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if match:
            return int(match.group(1)) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
