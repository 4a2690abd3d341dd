"""Several training seeds in one run: what is shared, what is pooled, and that it resumes in the middle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import check_declared, last, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import Stopped
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.settings import RunConfig
from engine.training.config import TrainConfig


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    """A tiny run with three training seeds."""
    train = TrainConfig.dpo(num_train_epochs=2, train_batch_size=2, learning_rate=2e-2)
    made = replace(tiny_files(tmp_path, tiny), train=train, n_samples=3, n_revised=0, teacher="samples")
    return replace(made, seeds=3, n_benign=1, answers_per_prompt=2, on_alarm="continue")


def test_three_seeds_share_drafts_and_pairs_and_are_pooled(tmp_path: Path, config: RunConfig) -> None:
    folder = perform(config, tmp_path / "run", Control(), ModelCache())
    count = Counter(stages(folder))
    assert (count["INITIAL-GENERATION"], count["TRAINING-PAIR-CREATED"]) == (3, 3)
    assert (count["TRAIN-START"], count["TRAIN-COMPLETE"]) == (3, 3)
    # Two answers to the held-out prompt and one to the benign one: of the base once, of each trained model once.
    arms = Counter(record.data["arm"] for record in read(folder) if record.stage == "COMPARISON-ANSWER")
    assert arms == {"base": 3, "trained": 3, "trained-2": 3, "trained-3": 3}
    assert all(
        (folder / name / "adapter_model.safetensors").is_file() for name in ("adapter", "adapter-2", "adapter-3")
    )
    report = json.loads((folder / "report.json").read_text())
    summary = report["summary"]
    assert summary["scope"] == "3 training seeds"
    assert [one["seed"] for one in summary["trainings"]] == [0, 1, 2]
    assert all("score" in one for one in summary["trainings"])
    assert summary["score"]["n"] == 1
    assert len(report["prompts"]) == 9
    assert len({row["trained"] for row in report["prompts"] if row["sample"] == 0 and row["set"] == "heldout"}) > 1
    for record in read(folder):
        check_declared(record)


def test_the_first_of_several_seeds_is_the_run_with_one(tmp_path: Path, config: RunConfig) -> None:
    several = perform(config, tmp_path / "several", Control(), ModelCache())
    one = perform(replace(config, seeds=1), tmp_path / "one", Control(), ModelCache())
    rows = [json.loads((folder / "report.json").read_text())["prompts"] for folder in (several, one)]
    kept = ("set", "id", "sample", "base", "trained", "base_score", "trained_score")
    first, alone = ([{name: row[name] for name in kept} for row in part if row["training"] == 1] for part in rows)
    assert first == alone
    assert last(one, "COMPARISON-SUMMARY").data["result"]["scope"] == "this checkpoint"


@pytest.mark.parametrize("moment", [b'"training":2,"trainings":3', b'"arm":"trained-2"'])
def test_a_run_of_several_seeds_resumes_in_the_middle(moment: bytes, tmp_path: Path, config: RunConfig) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, moment), ModelCache())
    perform(config, folder, Control(), ModelCache())
    whole = perform(config, tmp_path / "whole", Control(), ModelCache())
    prompts = [json.loads((place / "report.json").read_text())["prompts"] for place in (folder, whole)]
    assert [row["trained"] for row in prompts[0]] == [row["trained"] for row in prompts[1]]
    assert Counter(stages(folder))["TRAIN-COMPLETE"] == 3
