"""Every record that a whole run writes is exactly what its event class declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import LETTERS, check_declared, constitution, stages, stopping_at, tiny_config

from engine.control import Control
from engine.errors import Stopped
from engine.events.registry import EVENTS, parse
from engine.events.run import StageStart
from engine.pipeline.evaluation_journal import Session
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.training.config import TrainConfig


@pytest.fixture
def config(tiny: Callable[..., Path], redraft_home: Path, tmp_path: Path) -> RunConfig:
    rules = tmp_path / "plain.toml"
    rules.write_text(constitution(LETTERS))
    train = TrainConfig.sft(num_train_epochs=1, train_batch_size=2, sample_steps=1)
    return tiny_config(tiny, rules, candidates=3, n_benign=1, train=train)


def test_a_run_writes_what_its_event_classes_declare(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"REVISION-CANDIDATE"))
    perform(config, folder, Control())
    records = list(read(folder))
    for record in records:
        check_declared(record)
    begun = [event.summary for event in map(parse, records) if isinstance(event, StageStart) and event.name == "train"]
    assert begun == ["train"]
    written = {type(parse(record)).__name__ for record in records}
    judging = {"EvalInput", "EvalModelResponse", "EvalDecision", "SecondVerdict"}
    optional = {
        "DraftSample",
        "Demonstration",
        "PairVerdict",
        "RunPaused",
        "RunContinued",
        "HealthAlarm",
        "HealthDecision",
    }
    unusual = {"TornRecord", "RowTruncated", "Failure", "Notice", "RunError"}
    assert {cls.__name__ for cls in EVENTS} - written <= judging | optional | unusual


def test_dpo_and_evaluations_write_what_their_event_classes_declare(config: RunConfig, tmp_path: Path) -> None:
    train = TrainConfig.dpo(num_train_epochs=1, train_batch_size=2)
    folder = perform(dataclasses.replace(config, train=train, n_benign=0), tmp_path / "run", Control())
    session = Session(tmp_path / "sessions", config, ModelCache())
    session.evaluate("A text.", "A prompt?", "text-1")
    session.failed(ValueError("x"))
    session.close()
    assert {"EVAL-INPUT", "EVAL-DECISION", "NOTICE"} <= set(stages(session.folder))
    for record in (*read(folder), *read(session.folder)):
        check_declared(record)


def test_the_state_of_a_run_in_memory_is_that_of_its_journal(config: RunConfig, tmp_path: Path) -> None:
    folder = perform(config, tmp_path / "run", Control())
    whole, shown = RunState(), RunState(resumable=False)
    for record in read(folder):
        whole.apply(record)
        shown.apply(record)
    assert whole.unusable == shown.unusable == 0
    assert whole.finished.complete
    assert len(whole.finished.drafts) == config.n_train
    assert shown.finished.drafts == {}
    for state in (whole, shown):
        assert state.status == "done"
        assert state.loss.count == state.steps > 0
        assert len(state.comparisons) == 3
        assert state.result["outcome"]


def test_progress_inside_a_batch_counts_tokens_and_holds_the_last_words(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pipeline.recorder._PROGRESS_EVERY", 0.0)
    folder = perform(config, tmp_path / "run", Control())
    news = [record for record in read(folder) if record.stage == "PROGRESS"]
    drafts = [record for record in news if record.data["name"] == "draft"]
    inside = [record for record in drafts if record.data["done"] < config.n_train]
    assert [record.data["tokens"] for record in drafts] == sorted(record.data["tokens"] for record in drafts)
    assert any(record.data["tokens"] > 0 and record.data["done"] == 0 for record in inside)
    assert any(record.texts.get("writing") and record.item.startswith("train") for record in inside)
    assert any(record.data.get("left", 0) > 0 for record in inside)
    assert all(len(record.texts.get("writing", "")) <= 240 for record in news)
    answers = [record for record in news if record.data["name"] == "base answers" and record.texts]
    assert {record.item for record in answers} <= {event.item for event in read(folder) if event.item}


def test_a_private_run_writes_no_word_of_what_is_being_written(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pipeline.recorder._PROGRESS_EVERY", 0.0)
    folder = perform(dataclasses.replace(config, keep_texts=False), tmp_path / "run", Control())
    news = [record for record in read(folder) if record.stage == "PROGRESS"]
    assert news
    assert not any(text for record in news for text in record.texts.values())
