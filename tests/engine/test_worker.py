"""The thread that runs the models: commands in, events out, and no command that ends it."""

from __future__ import annotations

import dataclasses
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config

from engine import paths
from engine.events.base import Record
from engine.models import local
from engine.models.inference.requests import Sampling
from engine.runs.journal_reader import JournalReader, read
from engine.settings import RunConfig
from engine.worker import Evaluate, ResumeRun, StartRun, Worker, WorkerStatus


@pytest.fixture
def worker(redraft_home: Path) -> Iterator[Worker]:
    worker = Worker(settings=RunConfig(judge="rules"))
    worker.start()
    yield worker
    assert worker.shutdown(60)


@pytest.fixture
def config(tiny: Callable[..., Path]) -> RunConfig:
    """A run on a tiny random model that goes on for a while if nobody stops it."""
    long = Sampling(max_tokens=24, temperature=1.0)
    return tiny_config(tiny, n_train=40, draft=long, critique=long, revision=long, answer=long)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def events_of(worker: Worker) -> list[Record]:
    folder = worker.state.folder
    return [] if folder is None else JournalReader(folder).poll()


def has(worker: Worker, stage: str) -> bool:
    return any(event.stage.startswith(stage) for event in events_of(worker))


def test_a_text_is_judged_outside_a_run_into_a_journal_of_its_own(worker: Worker) -> None:
    worker.send(Evaluate("You must sell your house today or you will regret it forever."))
    wait_for(lambda: has(worker, "EVAL-DECISION"))
    decision = next(e for e in events_of(worker) if e.stage == "EVAL-DECISION")
    assert decision.data["flagged"] is True
    assert "autonomy_respect" in decision.data["broken"]
    assert worker.state.error == ""


def test_an_empty_text_gives_a_sentence_and_the_thread_goes_on(worker: Worker) -> None:
    worker.send(Evaluate("  \n"))
    worker.send(Evaluate("The bus leaves at nine."))
    wait_for(lambda: has(worker, "EVAL-DECISION"))
    assert any(e.stage == "NOTICE" and "empty" in e.summary for e in events_of(worker))


def test_a_run_is_paused_continued_judged_in_between_and_stopped(worker: Worker, config: RunConfig) -> None:
    worker.send(StartRun(config))
    wait_for(lambda: has(worker, "INITIAL-GENERATION"))
    worker.pause()
    wait_for(lambda: worker.state.status is WorkerStatus.PAUSED)
    worker.send(Evaluate("You must obey me now."))
    wait_for(lambda: has(worker, "EVAL-DECISION"))
    count = len(events_of(worker))
    time.sleep(0.5)
    assert len(events_of(worker)) == count, "a paused run writes nothing"
    assert has(worker, "RUN-PAUSED")
    assert not has(worker, "RUN-CONTINUED")
    worker.resume()
    wait_for(lambda: has(worker, "RUN-CONTINUED"))
    folder = worker.state.folder
    worker.stop()
    wait_for(lambda: worker.state.status is WorkerStatus.IDLE)
    assert folder is not None
    assert list(read(folder))[-1].stage == "RUN-STOPPED"
    assert worker.state.error == ""


def test_a_stopped_run_goes_on_to_its_end(worker: Worker, config: RunConfig) -> None:
    worker.send(StartRun(dataclasses.replace(config, n_train=6)))
    wait_for(lambda: has(worker, "INITIAL-GENERATION"))
    folder = worker.state.folder
    worker.stop()
    wait_for(lambda: worker.state.status is WorkerStatus.IDLE)
    assert folder is not None
    worker.send(ResumeRun(folder))
    wait_for(lambda: list(read(folder))[-1].stage == "RUN-COMPLETE")


def test_a_run_that_cannot_begin_says_why_and_the_next_command_is_served(worker: Worker, config: RunConfig) -> None:
    worker.send(StartRun(dataclasses.replace(config, generator="no-such-model")))
    wait_for(lambda: worker.state.error)
    assert "no-such-model" in worker.state.error
    worker.send(StartRun(dataclasses.replace(config, train_prompts="/nowhere/prompts.txt")))
    wait_for(lambda: "prompts.txt" in worker.state.error)
    worker.send(Evaluate("The bus leaves at nine."))
    wait_for(lambda: has(worker, "EVAL-DECISION"))


def test_a_run_that_fails_before_its_first_stage_leaves_no_folder(
    worker: Worker, config: RunConfig, tmp_path: Path, redraft_home: Path
) -> None:
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(config.generator, tmp_path / "broken"))
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    worker.send(StartRun(dataclasses.replace(config, generator=str(broken))))
    wait_for(lambda: worker.state.error)
    assert "model.norm.weight" in worker.state.error
    assert worker.state.folder is None
    assert not list(paths.runs_dir().glob("*"))


def test_a_folder_that_cannot_be_written_is_named(redraft_home: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    worker = Worker(runs=blocked / "runs", settings=RunConfig(judge="rules"))
    worker.start()
    worker.send(Evaluate("The bus leaves at nine."))
    wait_for(lambda: worker.state.error)
    assert str(blocked) in worker.state.error
    assert worker.shutdown(10)


def test_a_run_leaves_no_model_in_memory(worker: Worker, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[local.LocalModel]] = []

    def load_model(*arguments: Any, **options: Any) -> local.LocalModel:
        model = load(*arguments, **options)
        loaded.append(weakref.ref(model))
        return model

    load = local.load_model
    monkeypatch.setattr(local, "load_model", load_model)
    worker.send(StartRun(dataclasses.replace(config, n_train=4)))
    wait_for(lambda: has(worker, "RUN-COMPLETE"))
    assert loaded
    wait_for(lambda: all(model() is None for model in loaded))
