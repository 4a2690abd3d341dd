"""Killed anywhere, a run goes on and ends as if nothing had happened, with at most one item done twice."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import kill
from run_processes import COUNT, KILL, LONG, SEED, ForkServer, RunProcesses, Whole, check, events, repeated

pytestmark = pytest.mark.alone

Runs = Callable[[str], RunProcesses]


def kill_at(processes: RunProcesses, at: int, jitter: float) -> bool:
    """One life that is killed when there are this many records; False where it ended before."""
    child = processes.begin()
    if not processes.reach(at, child):
        return False
    time.sleep(jitter)
    already = processes.fork_server.poll(child)
    kill(child)
    code = processes.fork_server.wait(child)
    processes.look()
    assert code == -signal.SIGKILL or already is not None, processes.log.read_text()
    return code == -signal.SIGKILL


def test_a_kill_after_the_first_record_of_each_kind(run: Runs, like: Path, whole: Whole) -> None:
    """One run, killed again and again: right after every kind of record that it writes."""
    processes = run("kinds")
    seen: set[str] = set()
    kinds = list(dict.fromkeys(event.stage.split(" ")[0].split("-BATCH")[0] for event in events(like)))
    killed = 0
    for kind in kinds:
        child = processes.begin()
        end = time.monotonic() + 60
        while kind not in seen and processes.fork_server.poll(child) is None:
            assert time.monotonic() < end
            processes.look()
            seen |= {event.stage.split(" ")[0].split("-BATCH")[0] for event in processes.known}
        kill(child)
        killed += processes.fork_server.wait(child) == -signal.SIGKILL
        processes.look()
    assert killed > len(kinds) // 2
    processes.finish()
    check(processes.folder, whole, like)


def test_kills_at_random_moments_over_all_stages(run: Runs, like: Path, whole: Whole) -> None:
    source = random.Random(SEED)
    wanted = LONG or 3
    stages: Counter[str] = Counter()
    again: list[int] = []
    killed = runs = 0
    while killed < wanted:
        runs += 1
        processes = run(f"random-{runs}")
        # A moment is a place in the journal: all stages are met, whatever time each takes.
        for at in sorted(source.sample(range(whole.records), k=min(3, wanted - killed))):
            if not kill_at(processes, at, source.random() * 0.02):
                break
            killed += 1
            stages[processes.stage] += 1
        processes.finish()
        again += repeated(events(processes.folder))
        check(processes.folder, whole, like)
    print(f"{killed} kills in {runs} runs: {dict(stages)}; items repeated {dict(Counter(again))}", file=sys.stderr)


def test_a_kill_in_the_middle_of_each_operation_on_files(
    run: Runs, fork_server: ForkServer, like: Path, whole: Whole, tmp_path: Path
) -> None:
    """Before making, writing (half of it done, every other time), syncing or renaming the k-th file of all."""
    if not fork_server.faults:
        pytest.skip("there is no C compiler")
    counted = run("counted")
    code = fork_server.wait(counted.begin(fault=[str(counted.folder), COUNT, -1], count=str(tmp_path / "count")))
    assert code == 0
    total = int((tmp_path / "count").read_text())
    killed = 0
    step = max(1, total // (LONG or 3))
    for at in range(SEED % step, total, step):
        processes = run(f"operation-{at}")
        child = processes.begin(fault=[str(processes.folder), KILL, at])
        code = fork_server.wait(child)
        assert code in (0, -signal.SIGKILL), processes.log.read_text()
        killed += code == -signal.SIGKILL
        processes.finish()
        check(processes.folder, whole, like)
    print(f"{killed} kills at {total} operations", file=sys.stderr)
    assert killed > 1
