"""Threads follow the cores that other programs leave free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.models.thread_throttle import ThreadThrottle, Usage, read_usage, throttled


class Machine:
    """A clock and counters that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy = 0.0
        self.own = 0.0
        self.threads = 4

    def usage(self) -> Usage | None:
        return Usage(self.busy, self.own)

    def run(self, seconds: float, own: float, others: float) -> None:
        self.now += seconds
        self.own += own * seconds
        self.busy += (own + others) * seconds

    def set(self, threads: int) -> None:
        self.threads = threads

    def watch(self) -> ThreadThrottle:
        return ThreadThrottle(4, self.set, self.usage, lambda: self.now)


@pytest.mark.parametrize(("others", "expected"), [(0.0, 4), (0.3, 4), (0.6, 3), (1.0, 3), (2.0, 2), (3.9, 1), (9.0, 1)])
def test_each_core_that_others_use_takes_a_thread(others: float, expected: int) -> None:
    machine = Machine()
    watch = machine.watch()
    machine.run(1.0, own=max(0.0, 4 - others), others=others)
    watch.tick()
    assert machine.threads == watch.threads == expected


def test_the_threads_come_back_when_the_others_have_gone() -> None:
    machine = Machine()
    watch = machine.watch()
    seen = []
    for others in (1.0, 0.4, 0.1, 0.0):
        machine.run(1.0, own=3.0, others=others)
        watch.tick()
        seen.append(machine.threads)
    assert seen == [3, 3, 4, 4]


def test_it_looks_only_now_and_then() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.run(0.1, own=1.0, others=3.0)
    watch.tick()
    assert machine.threads == 4


def test_a_system_that_does_not_say_is_left_alone() -> None:
    machine = Machine()
    watch = ThreadThrottle(4, machine.set, lambda: None, lambda: machine.now)
    machine.run(5.0, own=0.0, others=4.0)
    watch.tick()
    assert machine.threads == 4
    assert read_usage(Path("/nonexistent/stat")) is None


def test_the_kernels_counters_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2}, raising=False)
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu 9 9 9\ncpu0 100 7 50 900 7 0 3 10 0 0\ncpu1 5000 0 0 0 0 0 0 0\ncpu2 40 20 0 1 1 0 0 0\nintr 1\n"
    )
    tick = os.sysconf("SC_CLK_TCK")
    for niceness, nice in ((0, 0), (10, 7 + 20)):
        monkeypatch.setattr("os.nice", lambda _, niceness=niceness: niceness)
        found = read_usage(stat)
        assert found is not None
        assert found.busy == pytest.approx((100 + nice + 50 + 3 + 10 + 40) / tick), "who is nice to us does not count"


def test_leaving_gives_all_threads_back() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.run(1.0, own=1.0, others=3.0)
    watch.tick()
    assert machine.threads == 1
    watch.leave()
    assert machine.threads == watch.threads == 4


def test_all_threads_are_back_after_generation_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    seen: list[int] = []
    watch = machine.watch()
    monkeypatch.setattr("engine.models.thread_throttle._current", [watch])
    with throttled() as tick:
        machine.run(1.0, own=2.0, others=2.0)
        tick()
        seen.append(machine.threads)
    assert [*seen, machine.threads] == [2, 4]
