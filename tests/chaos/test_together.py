"""Several processes on one run, and files that go away under it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from lives import Lives, Nursery, Whole, as_arguments, check, events
from processes import kill

from engine.runs.control_file import CONTROL, PAUSE, STOP, send
from engine.settings import RunConfig

pytestmark = pytest.mark.alone

Runs = Callable[[str], Lives]


@pytest.mark.parametrize("begun", [False, True], ids=["a new run", "a run that is gone on with"])
def test_of_two_processes_on_one_run_one_performs_it_and_the_other_is_told(
    run: Runs, whole: Whole, like: Path, begun: bool
) -> None:
    lives = run("shared")
    if begun:
        first = lives.begin()
        assert lives.reach(50, first)
        kill(first)
        lives.nursery.wait(first)
    other = Lives(lives.nursery, lives.folder, lives.config, lives.arguments)
    command = lives.command
    children = [
        lives.nursery.begin(what="command", arguments=command, log=str(lives.folder.with_suffix(f".{name}")))
        for name in ("one", "two")
    ]
    codes = [lives.nursery.wait(child) for child in children]
    assert sorted(codes)[0] == 0
    # The one that came late is refused in whatever way it noticed: the lock, the folder in use, the run that runs; on a
    # busy machine it may come so late that there is nothing left to do.
    assert sorted(codes)[1] in (0, 2, 4)
    told = "".join(lives.folder.with_suffix(f".{name}").read_text() for name in ("one", "two"))
    assert any(words in told for words in ("another process", "is running", "not empty", "nothing left to do")), told
    assert other.look() > 0
    check(lives.folder, whole, like)


@pytest.mark.parametrize("wish", [PAUSE, STOP])
def test_what_was_asked_of_an_owner_that_died_binds_nobody(run: Runs, whole: Whole, like: Path, wish: str) -> None:
    lives = run("orphan")
    child = lives.begin()
    assert lives.reach(40, child)
    kill(child, signal.SIGSTOP)
    send(lives.folder, wish)
    kill(child)
    lives.nursery.wait(child)
    assert (lives.folder / CONTROL).exists()
    lives.finish()
    check(lives.folder, whole, like)
    assert not (lives.folder / CONTROL).exists()


def test_an_owner_that_dies_while_it_waits_is_gone_on_with_without_waiting(run: Runs, whole: Whole, like: Path) -> None:
    lives = run("waiting")
    child = lives.begin()
    assert lives.reach(40, child)
    send(lives.folder, PAUSE)
    end = time.monotonic() + 20
    while events(lives.folder)[-1].stage != "RUN-PAUSED":
        assert time.monotonic() < end
        time.sleep(0.01)
    kill(child)
    lives.nursery.wait(child)
    lives.finish()
    check(lives.folder, whole, like)


@pytest.fixture
def copied(nursery: Nursery, config: RunConfig, tmp_path: Path) -> Lives:
    """A run on a model of its own."""
    model = tmp_path / "model"
    copytree(config.generator, model)
    config = replace(config, generator=str(model))
    return Lives(nursery, tmp_path / "run", config, as_arguments(config))


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
    copied: Lives, nursery: Nursery, whole: Whole, harm: str
) -> None:
    lives = copied
    child = lives.begin()
    assert lives.reach(20, child)
    harmed(Path(lives.config.generator), harm)
    assert nursery.wait(child) == 0, lives.log.read_text()
    assert (lives.folder / "pairs.jsonl").read_bytes() == whole.pairs
    assert events(lives.folder)[-1].stage == "RUN-COMPLETE"


@pytest.mark.parametrize("harm", ["removed", "cut", "overwritten"])
def test_a_model_that_is_gone_when_the_run_goes_on_is_named(copied: Lives, nursery: Nursery, harm: str) -> None:
    lives = copied
    child = lives.begin()
    assert lives.reach(20, child)
    kill(child)
    nursery.wait(child)
    harmed(Path(lives.config.generator), harm, zeros=64)
    lives.log.unlink()
    code = nursery.wait(lives.begin())
    told = lives.log.read_text()
    assert code in (2, 3, 4), told
    assert lives.config.generator in told
    assert "Traceback" not in told
