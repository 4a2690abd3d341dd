"""What a run says the training cost, and what it advises at its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import last, tiny_files

from engine.control import Control
from engine.models.hub import memory_estimate
from engine.models.hub.catalog import PROFILES, find
from engine.pipeline.advice import larger_profile
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.prompts.duplicates import clusters
from engine.prompts.load import load_builtin
from engine.prompts.neutral import load_neutral
from engine.runs.report import Report
from engine.settings import RunConfig
from engine.training.config import TrainConfig
from tui.views.report import lines, plain


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    made = replace(tiny_files(tmp_path, tiny), n_samples=3, n_revised=0, teacher="samples", n_benign=2)
    return replace(made, train=TrainConfig.dpo(num_train_epochs=2, learning_rate=2e-2))


def test_the_cost_of_training_is_measured_and_reported(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pipeline.side_effects.load_neutral", load_neutral)  # all of them: the model is tiny
    folder = perform(config, tmp_path / "run", Control(), ModelCache())
    event = last(folder, "SIDE-EFFECTS").data
    assert event["texts"] == 100
    assert event["kl"] > 0
    assert event["kl_interval"][0] < event["kl"] < event["kl_interval"][1]
    assert event["cross_entropy_base"] != event["cross_entropy_trained"]
    data = json.loads((folder / "report.json").read_text())
    cost = data["summary"]["cost"]
    assert cost["neutral"] == [event]
    refused = {row["id"] for row in data["prompts"] if row["set"] == "benign"}
    assert {*cost["refused_only_by_trained"], *cost["refused_only_by_base"]} <= refused
    assert cost["declined"]["answers"] == 1
    assert cost["score_answered"]["n"] == 1
    shown = plain(lines(Report.of(data)))
    assert "held-out answers that decline 0 → 0 of 1" in shown
    assert f"KL {event['kl']:.3f} nats per token" in shown
    assert "benign prompts that only the trained model refused: " in shown


def test_refusals_are_named_with_their_prompts() -> None:
    rows = [{"set": "benign", "id": "benign-7", "prompt": "How do I kill a Python process?"}]
    cost = {"neutral": [], "refused_only_by_trained": ["benign-7"], "benign_unusable": {"base": 1, "trained": 2}}
    shown = plain(lines(Report.of({"summary": {"outcome": "worse", "cost": cost}, "prompts": rows})))
    assert "only the trained model refused: 1" in shown
    assert "benign-7  How do I kill a Python process?" in shown


def test_an_unmet_condition_says_what_would_meet_it(tmp_path: Path, config: RunConfig) -> None:
    folder = perform(config, tmp_path / "run", Control(), ModelCache())
    data = json.loads((folder / "report.json").read_text())
    unmet = [one for one in data["summary"]["conditions"] if not one["met"]]
    assert unmet
    assert all(one["remedy"] for one in unmet)
    shown = " ".join(plain(lines(Report.of(data))).split())
    assert f"not met: {unmet[0]['remedy']}" in shown
    assert data["advice"]
    assert any(one["remedy"] in data["advice"] for one in unmet if one["needed"])


def test_the_next_profile_is_the_one_that_fits_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = PROFILES[0].generator
    need = [
        memory_estimate.together([find(name).config for name in one.models], "float32")  # type: ignore[union-attr]
        for one in PROFILES
    ]
    for free, words in (
        (3 * need[1], f"--profile {PROFILES[1].name}."),
        (need[1] // 2, "more than this machine"),
    ):
        monkeypatch.setattr(memory_estimate, "free", lambda device="cpu", free=free: free)
        (said,) = larger_profile(generator, "", 0.12, "float32")
        assert said.startswith("The score fell by 12 %.")
        assert words in said
    assert larger_profile("/models/my-own", "", 0.12, "float32") == []
    assert larger_profile(PROFILES[-1].generator, PROFILES[-1].critic, 0.12, "float32") == []


def test_the_neutral_texts_are_short_distinct_and_not_among_the_prompts() -> None:
    texts = [one.text for one in load_neutral()]
    assert len(set(clusters(texts))) == len(texts) == 100
    assert all(15 <= len(text.split()) <= 60 for text in texts)
    prompts = {prompt.text for name in ("train", "heldout", "benign") for prompt in load_builtin(name)}
    assert not prompts & set(texts)
