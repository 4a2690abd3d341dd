"""A run that is launched as two processes: one journal, one set of pairs, and the training that one process does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import stages, tiny_files

from engine.control import Control
from engine.events.registry import parse
from engine.events.training import TrainStep
from engine.models.hub.adapter import load
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.settings import RunConfig, to_json
from engine.training.config import TrainConfig

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    train = TrainConfig.dpo(num_train_epochs=2, train_batch_size=2, learning_rate=2e-2, sample_steps=2)
    made = replace(tiny_files(tmp_path, tiny), train=train, n_samples=3, n_revised=0, teacher="samples")
    return replace(made, on_alarm="continue")


def launch(*words: object, processes: int = 2) -> list[tuple[int, str]]:
    """Run a command as `accelerate launch --cpu --num_processes N` starts it; exit code and stderr of each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(processes):
        told = {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, "-m", "tui.cli", *map(str, words)]
        environment = {**os.environ, **told, "PYTHONPATH": str(ROOT)}
        running.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    found = [process.communicate(timeout=120)[1] for process in running]
    return [(process.returncode, errors) for process, errors in zip(running, found, strict=True)]


def options(config: RunConfig) -> list[str]:
    """The settings as options of `redraft run`."""
    values = to_json(config)
    flat = {name: value for name, value in values.items() if not isinstance(value, dict) and name != "preset"}
    for group in ("draft", "critique", "revision", "answer", "train"):
        flat |= {f"{group}.{name}": value for name, value in values[group].items()}
    texts = {name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in flat.items()}
    return [word for name, text in texts.items() if text for word in ("--set", f"{name}={text}")]


def test_two_processes_train_as_one_and_write_one_run(config: RunConfig, tmp_path: Path) -> None:
    one = perform(config, tmp_path / "one", Control(), ModelCache())
    done = launch("run", "-o", tmp_path / "two", *options(config))
    assert [code for code, _ in done] == [0, 0], done
    assert (tmp_path / "two" / "pairs.jsonl").read_bytes() == (one / "pairs.jsonl").read_bytes()
    steps = [[parse(record) for record in read(folder)] for folder in (one, tmp_path / "two")]
    losses = [[event.loss for event in events if isinstance(event, TrainStep)] for events in steps]
    assert len(losses[0]) >= 2
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    count = Counter(stages(tmp_path / "two"))
    assert (count["RUN-START"], count["TRAIN-COMPLETE"], count["RUN-COMPLETE"]) == (1, 1, 1)
    adapters = [load(folder / "adapter").pairs for folder in (one, tmp_path / "two")]
    for name, pair in adapters[0].items():
        torch.testing.assert_close(adapters[1][name].b, pair.b, atol=1e-5, rtol=0)
    rows = [json.loads((folder / "report.json").read_text())["prompts"] for folder in (one, tmp_path / "two")]
    assert [row["base"] for row in rows[0]] == [row["base"] for row in rows[1]]
