"""A whole run with the generator's matrices in 8 bits, and what of it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tiny_run import tiny_files

from engine.control import Control
from engine.export.base_model import run_base
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.settings import RunConfig, from_json, to_json
from engine.training.config import TrainConfig


def test_a_run_in_8_bits_trains_compares_and_merges_into_the_whole_model(
    tiny: Callable[..., Path], tmp_path: Path, redraft_home: Path
) -> None:
    pairs = [("one", "xyz", "aeiou"), ("two", "rst", "ooo aaa"), ("three", "eee", "pqr")]
    rows = [{"prompt": f"What is {name}?", "chosen": good, "rejected": bad} for name, good, bad in pairs]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(
        tiny_files(tmp_path, tiny),
        pairs=str(path),
        train_prompts="",
        train=TrainConfig.dpo(num_train_epochs=1),
        load_in_8bit=True,
    )
    folder = perform(config, tmp_path / "run", Control())
    records = list(read(folder))
    assert {"TRAIN-COMPLETE", "SIDE-BY-SIDE-DIFF", "RUN-COMPLETE"} <= {record.stage for record in records}
    (loaded,) = [record for record in records if record.stage == "MODEL-LOADED"]
    assert "8-bit weights, float32" in loaded.summary
    assert run_base(folder, lambda _fraction, _sentence: None).quantization == ""


def test_the_settings_of_quantization_are_written_and_read_back() -> None:
    config = replace(RunConfig(), load_in_8bit=True)
    assert from_json(to_json(config)).quantization == "int8"
    assert replace(config, load_in_4bit=True).quantization == "nf4"
    assert RunConfig().quantization == ""
