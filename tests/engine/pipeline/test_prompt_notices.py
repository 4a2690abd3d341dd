"""What of a prompt file is not used stands in the journal, in run.json and in the report, and copies count once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tiny_run import VOWELS, constitution, tiny_config

from engine.control import Control
from engine.models.inference.requests import Message
from engine.pipeline.prepare import load_prompts
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read


def test_notices_and_distinct_prompts_of_a_run(tmp_path: Path, tiny: Callable[..., Path]) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(constitution(VOWELS))
    train = tmp_path / "train.csv"
    train.write_text("instruction,input,output\nTranslate.,One.,un\nTranslate.,Two.,deux\nName a fruit.,,fig\n")
    held = tmp_path / "held.txt"
    held.write_text("What is iron?\n" * 40)
    folder = tmp_path / "run"
    folder.mkdir()
    files = {"train_prompts": str(train), "heldout_prompts": str(held)}
    config = tiny_config(tiny, rules, **files, n_heldout=40, deduplicate=True, system="Be brief.")
    perform(config, folder, Control())
    events = list(read(folder))
    notices = [event.summary for event in events if event.stage == "NOTICE"]
    assert sum("output (3 rows)" in notice for notice in notices) == 1
    assert sum("40 prompts hold 1 different one" in notice for notice in notices) == 1
    assert [event.stage for event in events[:3]] == ["RUN-START", "NOTICE", "NOTICE"]
    for name in ("run.json", "report.json"):
        kept = json.loads((folder / name).read_bytes())["notices"]
        assert [notice.split(": ")[1][:8] for notice in kept] == ["a column", "40 promp"]
    prompts = [event.texts["prompt"] for event in events if event.stage.startswith("TRAINING-EXAMPLE")]
    assert sorted(prompts) == ["Name a fruit.", "Translate.\n\nOne.", "Translate.\n\nTwo."]
    drafted = [event.raw["request"] for event in events if event.stage == "INITIAL-GENERATION"]
    assert len(drafted) == 3
    assert all("<|im_start|>system\nBe brief." in request for request in drafted)
    report = json.loads((folder / "report.json").read_bytes())
    if report["summary"]["outcome"] != "nothing trained":
        assert report["summary"]["score"]["n"] <= 1
        assert report["summary"]["score"]["interval"] is None


def test_a_system_text_comes_before_every_prompt_that_brings_none(tmp_path: Path, tiny: Callable[..., Path]) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "Why one?"}\n{"prompt": "Why two?", "system": "Be rude."}\n')
    config = tiny_config(tiny, train_prompts=str(tmp_path / "train.jsonl"), n_benign=1, system="Be brief.")
    prompts = load_prompts(config)
    first, second = prompts.train
    assert first.messages == (Message("system", "Be brief."),)
    assert second.messages == (Message("system", "Be rude."),)
    assert {prompt.messages for _, prompt in prompts.compared()} == {(Message("system", "Be brief."),)}
    plain = load_prompts(replace(config, system=""))
    assert [prompt.sha256 for prompt in plain.train] == [prompt.sha256 for prompt in prompts.train]
