"""A run trains on the pairs that the user brought, with the judge's opinion on each of them before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import check_declared, last, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import InputError, InputsChanged, Stopped
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.training.config import TrainConfig

PAIRS = [("one", "xyz", "aeiou"), ("two", "rst", "ooo aaa"), ("three", "eee", "pqr"), ("four", "mmm", "nnn")]


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    rows = [{"prompt": f"What is {name}?", "chosen": good, "rejected": bad} for name, good, bad in PAIRS]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(
        tiny_files(tmp_path, tiny),
        pairs=str(path),
        train_prompts="",
        train=TrainConfig.dpo(num_train_epochs=1),
        n_train=9,
    )


def test_the_judges_opinion_comes_first_and_every_pair_is_trained_on(config: RunConfig, tmp_path: Path) -> None:
    folder = perform(config, tmp_path / "run", Control())
    names = stages(folder)
    assert "INITIAL-GENERATION" not in names
    assert names.count("PAIR-EVALUATION") == names.count("TRAINING-PAIR-CREATED") == 4
    assert names.index("TRAINING-PAIR-CREATED") > max(n for n, name in enumerate(names) if name == "PAIR-EVALUATION")
    opinions = [record.data["agrees"] for record in read(folder) if record.stage == "PAIR-EVALUATION"]
    assert opinions == [True, True, False, None]
    notice = next(
        record.summary for record in read(folder) if "judge agrees" in record.summary and record.stage == "NOTICE"
    )
    assert notice.startswith(
        "The judge agrees with 2 of 4 pairs, prefers the rejected answer in 1, and has no opinion on 1"
    )
    assert [json.loads(line)["chosen"] for line in (folder / "pairs.jsonl").read_text().splitlines()] == [
        good for _, good, _ in PAIRS
    ]
    assert last(folder, "TRAIN-START").data["rows"] == 4
    assert json.loads((folder / "report.json").read_text())["pairs"]["kept"] == 4
    for record in read(folder):
        if record.stage == "PAIR-EVALUATION":
            check_declared(record)


def test_a_stop_costs_no_opinion_twice(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"PAIR-EVALUATION"))
    perform(config, folder, Control())
    assert stages(folder).count("PAIR-EVALUATION") == 4
    state = RunState()
    for record in read(folder):
        state.apply(record)
    assert state.finished.complete
    assert len(state.finished.pair_verdicts) == 4


def test_changed_pairs_are_noticed_before_a_resume(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"PAIR-EVALUATION"))
    path = Path(config.pairs)
    path.write_text(path.read_text().replace("xyz", "zyx"))
    with pytest.raises(InputsChanged, match="the preference pairs"):
        perform(config, folder, Control())


def test_a_pair_on_a_held_out_prompt_is_refused(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "heldout.txt").write_text("what is ONE?\nAnd what else?\n")
    with pytest.raises(InputError, match="are held-out prompts too"):
        perform(
            replace(config, heldout_prompts=str(tmp_path / "heldout.txt"), n_heldout=2), tmp_path / "run", Control()
        )
    assert not (tmp_path / "run").exists()


def test_a_run_reads_columns_under_other_names(config: RunConfig, tmp_path: Path) -> None:
    path = Path(config.pairs)
    path.write_text(path.read_text().replace('"prompt"', '"frage"'))
    mapped = replace(config, column_map=("prompt=frage",), n_benign=0)
    folder = perform(mapped, tmp_path / "run", Control())
    assert stages(folder).count("PAIR-EVALUATION") == 4
