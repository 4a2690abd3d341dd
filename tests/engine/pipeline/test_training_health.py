"""Alarms of training in a run: what is written, what is decided, and which adapter is compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_run import check_declared, last, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import Stopped
from engine.models.hub.adapter import load
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.control_file import KEEP_TRAINING, RESTORE, send
from engine.runs.journal_reader import JOURNAL, read
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.training.config import TrainConfig

HEALTHY = 2e-4


@pytest.fixture
def configured(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> Callable[..., RunConfig]:
    """The settings of a tiny DPO run of 20 steps, with a learning rate and other changes."""
    base = tiny_files(tmp_path, tiny)
    prompts = tmp_path / "many.txt"
    prompts.write_text("".join(f"What is number {n}?\n" for n in range(12)))

    def make(learning_rate: float, **changes: Any) -> RunConfig:
        train = TrainConfig.dpo(
            num_train_epochs=6, train_batch_size=4, learning_rate=learning_rate, sample_steps=2, max_grad_norm=0
        )
        changed = {"train_prompts": str(prompts), "n_train": 12, "n_samples": 3, "n_revised": 0, "teacher": "samples"}
        return replace(base, train=train, **{**changed, "on_alarm": "ask", **changes})

    return make


def _of(folder: Path, stage: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in read(folder) if record.stage == stage]


def _steps(folder: Path) -> int:
    return sum("loss" in record.data and "step" in record.data for record in read(folder))


def test_a_healthy_training_measures_every_sample_step_and_raises_nothing(
    tmp_path: Path, configured: Callable[..., RunConfig]
) -> None:
    folder = perform(configured(HEALTHY), tmp_path / "run", Control(), ModelCache())
    health = _of(folder, "TRAIN-HEALTH")
    assert [one["step"] for one in health][:3] == [1, 2, 4]
    assert all(one["healthy"] and one["samples"] == 4 for one in health)
    assert all(one["margin"] is not None and one["chosen"] is not None for one in health)
    assert "HEALTH-ALARM" not in stages(folder)
    assert last(folder, "TRAIN-COMPLETE").data.get("restored") is None
    assert not (folder / "healthy").exists()
    for record in read(folder):
        check_declared(record)


def test_a_hundred_times_the_learning_rate_is_flagged_and_the_healthy_checkpoint_compared(
    tmp_path: Path, configured: Callable[..., RunConfig]
) -> None:
    folder = perform(configured(100 * HEALTHY, on_alarm="restore"), tmp_path / "run", Control(), ModelCache())
    alarm, decision, end = (last(folder, name).data for name in ("HEALTH-ALARM", "HEALTH-DECISION", "TRAIN-COMPLETE"))
    assert alarm["step"] <= 20
    assert not -1 <= alarm["measured"] <= 2
    assert decision["choice"] == "restore"
    assert end["restored"] == decision["restored"] == alarm["last_healthy"] < alarm["step"] == end["steps"]
    report = json.loads((folder / "report.json").read_text())
    assert report["summary"]["trainings"][0]["restored"] == end["restored"]
    assert report["summary"]["trainings"][0]["alarms"][0]["kind"] == alarm["kind"]
    adapter = load(folder / "adapter")
    if end["restored"] == 0:
        assert all(not pair.b.any() for pair in adapter.pairs.values())
        assert all(row["base"] == row["trained"] for row in report["prompts"])
    for record in read(folder):
        check_declared(record)


def test_an_unanswered_alarm_restores_at_the_end_and_continue_keeps_the_last_step(
    tmp_path: Path, configured: Callable[..., RunConfig]
) -> None:
    asked = perform(configured(100 * HEALTHY), tmp_path / "asked", Control(), ModelCache())
    decision, end = last(asked, "HEALTH-DECISION").data, last(asked, "TRAIN-COMPLETE").data
    assert (decision["choice"], decision["by"]) == ("restore", "the end of training")
    assert end["steps"] == _steps(asked)
    assert end["restored"] is not None
    kept = perform(configured(100 * HEALTHY, on_alarm="continue"), tmp_path / "kept", Control(), ModelCache())
    assert last(kept, "TRAIN-COMPLETE").data.get("restored") is None
    assert _of(kept, "HEALTH-ALARM")[0] == {**_of(asked, "HEALTH-ALARM")[0], "action": "continue"}


def _answering(folder: Path, command: str) -> Control:
    """A control that answers the first alarm through the run's control file, as another process does."""
    control, sent = Control(), []

    def answer() -> None:
        if not sent and b'"HEALTH-ALARM"' in (folder / JOURNAL).read_bytes():
            sent.append(send(folder, command))

    control.add_check(answer)
    return control


@pytest.mark.parametrize(("command", "choice"), [(RESTORE, "restore"), (KEEP_TRAINING, "continue")])
def test_the_user_answers_an_alarm_through_the_control_file(
    command: str, choice: str, tmp_path: Path, configured: Callable[..., RunConfig]
) -> None:
    folder = tmp_path / "run"
    perform(configured(100 * HEALTHY), folder, _answering(folder, command), ModelCache())
    decision, end = last(folder, "HEALTH-DECISION").data, last(folder, "TRAIN-COMPLETE").data
    assert (decision["choice"], decision["by"]) == (choice, "user")
    assert (end.get("restored") is not None) == (choice == "restore")
    state = RunState()
    for record in read(folder):
        state.apply(record)
    assert state.health.alarms
    assert state.health.open is None


def test_a_run_that_stopped_at_an_alarm_resumes_to_the_same_decision(
    tmp_path: Path, configured: Callable[..., RunConfig]
) -> None:
    config, folder = configured(100 * HEALTHY), tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b'"HEALTH-ALARM"'), ModelCache())
    before = RunState()
    for record in read(folder):
        before.apply(record)
    assert before.health.open is not None
    perform(config, folder, Control(), ModelCache())
    kinds = [one["kind"] for one in _of(folder, "HEALTH-ALARM")]
    assert len(kinds) == len(set(kinds))
    assert last(folder, "TRAIN-COMPLETE").data["restored"] == before.health.open.last_healthy
    whole = perform(config, tmp_path / "whole", Control(), ModelCache())
    answers = [
        [row["trained"] for row in json.loads((f / "report.json").read_text())["prompts"]] for f in (folder, whole)
    ]
    assert answers[0] == answers[1]
