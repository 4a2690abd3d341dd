"""A tiny run for the chaos tests, the nursery that forks its lives, and a home without anything in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lives import Lives, Nursery, Whole, as_arguments, faults
from tiny_run import LETTERS, constitution, tiny_config

from engine.models.inference.requests import Sampling
from engine.settings import RunConfig
from engine.training.config import TrainConfig


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, settings and cache of all lives."""
    return tmp_path_factory.mktemp("chaos") / "home"


@pytest.fixture(scope="session")
def nursery(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(home, faults(tmp_path_factory.mktemp("faults")))
    yield nursery
    nursery.close()


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
def run(nursery: Nursery, config: RunConfig, tmp_path: Path) -> Callable[[str], Lives]:
    """A function name -> a run in a folder of that name."""
    return lambda name: Lives(nursery, tmp_path / name, config, as_arguments(config))


@pytest.fixture(scope="session")
def like(nursery: Nursery, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    lives = Lives(nursery, tmp_path_factory.mktemp("whole") / "run", config, as_arguments(config))
    lives.finish()
    return lives.folder


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
