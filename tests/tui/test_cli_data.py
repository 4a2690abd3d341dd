"""`redraft data show`: training rows as the model sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import tiny_files
from typer.testing import CliRunner

from engine.control import Control
from engine.errors import InputError
from engine.pipeline.runner import perform
from engine.pipeline.training_rows import StoredPair, encode_rows
from engine.prompts import load_builtin
from engine.runs.journal_reader import JOURNAL
from engine.training.config import TrainConfig
from tui.cli import app


def test_rows_show_prompt_learned_tokens_and_end(tiny: Callable[..., Path], tmp_path: Path, redraft_home: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"What is {n}?", "chosen": "xyz", "rejected": "aeiou"} for n in ("one", "two")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = TrainConfig.sft(num_train_epochs=1)
    config = replace(tiny_files(tmp_path, tiny), pairs=str(path), train_prompts="", train=train)
    run = perform(config, tmp_path / "run", Control())
    assert (run / JOURNAL).exists()
    done = CliRunner().invoke(app, ["data", "show", str(run), "--json", "--all"])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    for row in rows:
        assert row["prompt"]["text"].endswith("assistant\n")
        assert row["completion"]["learned"]
        assert not row["prompt"]["learned"]
    shown = CliRunner().invoke(app, ["data", "show", str(run)]).stdout
    assert "learned" in shown
    assert "completion:" in shown
    beyond = CliRunner().invoke(app, ["data", "show", str(run), "--row", "9999"])
    assert beyond.exit_code


class Words:
    """An encoder with a letter a token and, where it has one, an end."""

    def __init__(self, end: tuple[int, ...]) -> None:
        self._end = end

    def encode_pair(self, messages: object, answer: str) -> tuple[list[int], list[int]]:
        return [1], [*map(ord, answer), *self._end]


def test_rows_that_teach_nothing_or_no_end_are_errors() -> None:
    prompt = load_builtin("train").prompts[0]
    prompts = {prompt.id: prompt}
    pair = StoredPair(prompt.id, "yes", "no", True, False)
    (row,) = encode_rows(Words((0,)), {0}, prompts, [pair], "dpo")
    assert (row.chosen[-1], row.rejected[-1]) == (0, ord("o"))  # type: ignore[union-attr]
    with pytest.raises(InputError, match="never learn to stop"):
        encode_rows(Words(()), {0}, prompts, [pair], "sft")
    with pytest.raises(InputError, match="no token that would be learned"):
        encode_rows(Words((0,)), {0}, prompts, [StoredPair(prompt.id, "", "no", True, True)], "sft")
