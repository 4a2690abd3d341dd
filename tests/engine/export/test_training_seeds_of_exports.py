"""Of a run with several training seeds, merge, try and push take the adapter that is asked for, and say which it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import call
from export_samples import report

from engine.export.base_model import run_adapter
from engine.export.hub import CARD, plan
from engine.export.trial import Trial
from engine.runs.trainings import choose, which


@pytest.fixture
def run(tiny: Callable[..., Path], trained_run: Callable[..., Path]) -> Path:
    """A run with the training seeds 5, 6 and 7, judged by rules."""
    folder = trained_run(tiny("llama", max_position_embeddings=1024), seeds=3)
    record = json.loads((folder / "run.json").read_text())
    record["config"] |= {"judge": "rules", "dtype": "float32", "system": "Be brief."}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "report.json").write_text(json.dumps(report()))
    return folder


def test_the_first_is_taken_where_none_is_asked_for(run: Path) -> None:
    assert [choose(run, seed).adapter for seed in (None, 5, 6, 7)] == ["adapter", "adapter", "adapter-2", "adapter-3"]
    assert which(run, choose(run, 6)) == "training seed 6 (adapter-2)"


def test_merge_takes_the_adapter_of_a_seed_and_names_it(run: Path, tmp_path: Path) -> None:
    done = call("merge", run, "-o", tmp_path / "merged", "--training-seed", 7)
    assert done.returncode == 0, done.stderr
    assert "with the adapter of training seed 7 (adapter-3) merged" in done.stdout


def test_the_trained_model_that_is_asked_is_that_of_the_seed(run: Path) -> None:
    first, third = Trial(run), Trial(run, training_seed=7)
    assert first.training.seed == 5
    assert first.weights["base"] == third.weights["base"]
    assert first.weights["trained"] != third.weights["trained"]
    done = call("try", run, "why?", "--training-seed", 6, "--max-tokens", 2, "--json")
    answered = json.loads(done.stdout)
    assert (answered["training_seed"], answered["system"]) == (6, "Be brief.")


def test_push_uploads_the_adapter_of_the_seed_with_a_card_that_names_it(run: Path) -> None:
    upload = plan(run, "me/small", training_seed=6)
    assert upload.folder == run / "adapter-2"
    assert "one of 3 training seeds" in upload.card
    assert "seed 6." in upload.card
    assert upload.content(CARD) == upload.card.encode()
    done = call("push", run, "me/small", "--dry-run")
    assert "training seed 5 (adapter)" in done.stderr


@pytest.mark.parametrize("command", [["merge", "-o", "out"], ["try", "Why?"], ["push", "me/small"]])
def test_a_seed_that_the_run_has_not_is_refused_with_those_it_has(run: Path, command: list[str]) -> None:
    done = call(command[0], run, *command[1:], "--training-seed", 9)
    assert done.returncode == 2
    assert "no training with seed 9" in done.stderr
    assert "Choose 5, 6 or 7." in done.stderr


def test_an_adapter_that_is_not_there_yet_is_said(run: Path) -> None:
    (run / "adapter-2" / "adapter_model.safetensors").unlink()
    done = call("merge", run, "-o", "out", "--training-seed", 6)
    assert done.returncode == 2
    assert "no adapter of training seed 6" in done.stderr
    training, adapter = run_adapter(run)
    assert (training.number, len(adapter.pairs) > 0) == (1, True)
