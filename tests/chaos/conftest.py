"""A tiny run for the chaos tests, the fork server that forks its processes, and a home without anything in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_processes import ForkServer, RunProcesses, Whole, as_arguments, faults
from tiny_run import LETTERS, constitution, tiny_config

from engine.models.inference.requests import Sampling
from engine.settings import RunConfig
from engine.training.config import TrainConfig


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, settings and cache of all processes."""
    return tmp_path_factory.mktemp("chaos") / "home"


@pytest.fixture(scope="session")
def fork_server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    fork_server = ForkServer(home, faults(tmp_path_factory.mktemp("faults")))
    yield fork_server
    fork_server.close()


@pytest.fixture(scope="session")
def config(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of about a second on a tiny random model, with every stage in it."""
    rules = tmp_path_factory.mktemp("constitution") / "plain.toml"
    rules.write_text(constitution(LETTERS))
    return tiny_config(
        tiny,
        rules,
        preset="custom",
        n_train=12,
        n_heldout=3,
        n_benign=1,
        teacher="samples",
        n_samples=4,
        n_revised=6,
        answers_per_prompt=2,
        candidates=2,
        draft=Sampling(max_tokens=24, temperature=1.0),
        critique=Sampling(max_tokens=12, temperature=1.0),
        revision=Sampling(max_tokens=24, temperature=1.0),
        answer=Sampling(max_tokens=16),
        train=TrainConfig.dpo(
            num_train_epochs=2, train_batch_size=2, save_steps=1, sample_steps=3, micro_batch_tokens=256
        ),
        seed=3,
    )


@pytest.fixture
def run(fork_server: ForkServer, config: RunConfig, tmp_path: Path) -> Callable[[str], RunProcesses]:
    """A function name -> a run in a folder of that name."""
    return lambda name: RunProcesses(fork_server, tmp_path / name, config, as_arguments(config))


@pytest.fixture(scope="session")
def like(fork_server: ForkServer, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    processes = RunProcesses(fork_server, tmp_path_factory.mktemp("whole") / "run", config, as_arguments(config))
    processes.finish()
    return processes.folder


@pytest.fixture(scope="session")
def whole(like: Path) -> Whole:
    return Whole.of(like)


@pytest.fixture
def bare_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A REDRAFT_HOME with nothing in it, and a working folder with nothing in it either."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(work)
    return home
