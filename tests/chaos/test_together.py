"""Several processes on one run, and files that go away under it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from processes import kill
from run_processes import ForkServer, RunProcesses, Whole, as_arguments, check, events

from engine.runs.control_file import CONTROL, PAUSE, STOP, send
from engine.settings import RunConfig

pytestmark = pytest.mark.alone

Runs = Callable[[str], RunProcesses]


@pytest.mark.parametrize("begun", [False, True], ids=["a new run", "a run that is gone on with"])
def test_of_two_processes_on_one_run_one_performs_it_and_the_other_is_told(
    run: Runs, whole: Whole, like: Path, begun: bool
) -> None:
    processes = run("shared")
    if begun:
        first = processes.begin()
        assert processes.reach(50, first)
        kill(first)
        processes.fork_server.wait(first)
    other = RunProcesses(processes.fork_server, processes.folder, processes.config, processes.arguments)
    command = processes.command
    children = [
        processes.fork_server.begin(
            what="command", arguments=command, log=str(processes.folder.with_suffix(f".{name}"))
        )
        for name in ("one", "two")
    ]
    codes = [processes.fork_server.wait(child) for child in children]
    assert sorted(codes)[0] == 0
    # The one that came late is refused in whatever way it noticed: the lock, the folder in use, the run that runs; on a
    # busy machine it may come so late that there is nothing left to do.
    assert sorted(codes)[1] in (0, 2, 4)
    told = "".join(processes.folder.with_suffix(f".{name}").read_text() for name in ("one", "two"))
    assert any(words in told for words in ("another process", "is running", "not empty", "nothing left to do")), told
    assert other.look() > 0
    check(processes.folder, whole, like)


@pytest.mark.parametrize("wish", [PAUSE, STOP])
def test_what_was_asked_of_an_owner_that_died_binds_nobody(run: Runs, whole: Whole, like: Path, wish: str) -> None:
    processes = run("orphan")
    child = processes.begin()
    assert processes.reach(40, child)
    kill(child, signal.SIGSTOP)
    send(processes.folder, wish)
    kill(child)
    processes.fork_server.wait(child)
    assert (processes.folder / CONTROL).exists()
    processes.finish()
    check(processes.folder, whole, like)
    assert not (processes.folder / CONTROL).exists()


def test_an_owner_that_dies_while_it_waits_is_gone_on_with_without_waiting(run: Runs, whole: Whole, like: Path) -> None:
    processes = run("waiting")
    child = processes.begin()
    assert processes.reach(40, child)
    send(processes.folder, PAUSE)
    end = time.monotonic() + 20
    while events(processes.folder)[-1].stage != "RUN-PAUSED":
        assert time.monotonic() < end
        time.sleep(0.01)
    kill(child)
    processes.fork_server.wait(child)
    processes.finish()
    check(processes.folder, whole, like)


@pytest.fixture
def copied(fork_server: ForkServer, config: RunConfig, tmp_path: Path) -> RunProcesses:
    """A run on a model of its own."""
    model = tmp_path / "model"
    copytree(config.generator, model)
    config = replace(config, generator=str(model))
    return RunProcesses(fork_server, tmp_path / "run", config, as_arguments(config))


def harmed(model: Path, harm: str, zeros: int | None = None) -> None:
    """Harm a model's files; overwriting them touches the last `zeros` bytes, or all."""
    weights = model / "model.safetensors"
    if harm == "removed":
        rmtree(model)
        return
    held = weights.read_bytes()
    kept = held[:-zeros] if zeros else b""
    weights.write_bytes(held[:1000] if harm == "cut" else kept + b"\0" * (len(held) - len(kept)))


@pytest.mark.parametrize("harm", ["removed", "cut", "overwritten"])
def test_the_models_files_may_go_away_once_it_is_loaded(
    copied: RunProcesses, fork_server: ForkServer, whole: Whole, harm: str
) -> None:
    processes = copied
    child = processes.begin()
    assert processes.reach(20, child)
    harmed(Path(processes.config.generator), harm)
    assert fork_server.wait(child) == 0, processes.log.read_text()
    assert (processes.folder / "pairs.jsonl").read_bytes() == whole.pairs
    assert events(processes.folder)[-1].stage == "RUN-COMPLETE"


@pytest.mark.parametrize("harm", ["removed", "cut", "overwritten"])
def test_a_model_that_is_gone_when_the_run_goes_on_is_named(
    copied: RunProcesses, fork_server: ForkServer, harm: str
) -> None:
    processes = copied
    child = processes.begin()
    assert processes.reach(20, child)
    kill(child)
    fork_server.wait(child)
    harmed(Path(processes.config.generator), harm, zeros=64)
    processes.log.unlink()
    code = fork_server.wait(processes.begin())
    told = processes.log.read_text()
    assert code in (2, 3, 4), told
    assert processes.config.generator in told
    assert "Traceback" not in told
