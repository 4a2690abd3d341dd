"""A run that was cut off between any two records ends with the same ones, each of them once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import LETTERS, constitution, tiny_config

from engine.control import Control
from engine.files import is_part
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.journal_reader import JOURNAL, read
from engine.settings import RunConfig

OF_ITEMS = {"COMPARISON-ANSWER", "COMPARISON-EVALUATION", "COMPARISON-TEST", "SIDE-BY-SIDE-DIFF"}


@pytest.fixture
def config(tiny: Callable[..., Path], redraft_home: Path, tmp_path: Path) -> RunConfig:
    rules = tmp_path / "plain.toml"
    rules.write_text(constitution(LETTERS))
    return tiny_config(tiny, rules, candidates=3)


def compared(folder: Path) -> Counter[tuple[str, str]]:
    found = ((event.stage.split(" ")[0], event.item + event.data.get("arm", "")) for event in read(folder))
    return Counter(key for key in found if key[0] in OF_ITEMS)


def test_a_comparison_cut_off_between_any_two_records_is_completed(config: RunConfig, tmp_path: Path) -> None:
    models = ModelCache()
    folder = perform(config, tmp_path / "run", Control(), models)
    wanted = compared(folder)
    assert wanted
    assert set(wanted.values()) == {1}
    journal = folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b'"COMPARISON-ANSWER"' in line)
    for end in range(first, len(lines)):
        journal.write_bytes(b"".join(lines[:end]))
        (folder / "report.json").unlink(missing_ok=True)
        perform(config, folder, Control(), models)
        assert compared(folder) == wanted, f"cut after record {end}"


def test_what_a_killed_process_left_half_written_is_swept_away(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for place in (folder, folder / "adapter", folder / "checkpoints"):
        place.mkdir()
        (place / ".pairs.jsonl.x1y2z3.part").write_bytes(b'{"half')
        assert is_part(place / ".pairs.jsonl.x1y2z3.part")
    perform(config, folder, Control())
    assert [path for path in folder.rglob("*") if path.name.startswith(".")] == []


@pytest.mark.parametrize(("dtype", "told"), [("float32", 0), ("bfloat16", 1)])
def test_where_the_rest_of_a_stage_may_differ_for_another_batch_it_is_told(
    config: RunConfig, tmp_path: Path, dtype: str, told: int
) -> None:
    config = replace(config, dtype=dtype)
    folder = perform(config, tmp_path / "run", Control())
    journal = folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    drafts = [number for number, line in enumerate(lines) if b'"stage":"INITIAL-GENERATION"' in line]
    journal.write_bytes(b"".join(lines[: drafts[1] + 1]))
    perform(config, folder, Control())
    notices = [event.summary for event in read(folder) if event.stage == "NOTICE"]
    assert sum("another batch" in notice and dtype in notice for notice in notices) == told
