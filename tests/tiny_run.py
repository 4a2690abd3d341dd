"""A run of the whole loop on a tiny random model, in seconds; what the model writes has no meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.control import Control
from engine.events.base import Record
from engine.events.registry import EVENTS, parse
from engine.events.schema import schema
from engine.models.inference.requests import Sampling
from engine.pipeline import runner
from engine.pipeline.context import Context
from engine.runs.journal_reader import JOURNAL, read
from engine.settings import BEFORE, RunConfig
from engine.training.config import TrainConfig

VOWELS = "[aeiou]"
"""A rule that nearly everything breaks."""
LETTERS = "(?i)[bcdfgh]"
"""A rule that what a random model writes breaks often, and not always."""


def constitution(pattern: str, principle: str = "plain") -> str:
    """The text of a constitution with one principle and one rule, which matches "ab"."""
    return f"""
name = "Plain"

[[principles]]
id = "{principle}"
title = "Plain words"
short = "plain"
description = "Answers do without these letters."
weight = 2.0
critiques = ["Say which."]
revisions = ["Write it anew."]

[[principles.rules]]
id = "{principle}.letter"
category = "letter"
pattern = '{pattern}'
match = ["ab"]
must_not_match = ["?"]
"""


def tiny_config(tiny: Callable[..., Path], rules: Path | None = None, **changes: Any) -> RunConfig:
    """The settings of a run with every stage in it; float32, since only there a text does not depend on what else is in
    its batch (docs/chaos.md).

    Args:
        rules: a constitution's file; the built-in one if not given.
        changes: other settings than these.
    """
    short = Sampling(max_tokens=8, temperature=1.0)
    config = RunConfig(
        **BEFORE,
        preset="tiny",
        generator=str(tiny("llama", max_position_embeddings=8192)),
        judge="rules",
        constitution=str(rules or ""),
        n_train=6,
        n_heldout=2,
        n_benign=0,
        candidates=2,
        draft=short,
        critique=short,
        revision=short,
        answer=short,
        train=TrainConfig.sft(num_train_epochs=1),
        dtype="float32",
    )
    return replace(config, **changes)


def tiny_files(folder: Path, tiny: Callable[..., Path]) -> RunConfig:
    """The settings of a run in a second or two, whose constitution and prompts are files in `folder`."""
    rules, prompts = folder / "plain.toml", folder / "prompts.txt"
    rules.write_text(constitution(VOWELS))
    prompts.write_text("What is one?\nWhat is two?\nWhat is three?\n")
    return tiny_config(tiny, rules, train_prompts=str(prompts), n_train=3, n_heldout=1)


def stopping_at(folder: Path, words: bytes) -> Control:
    """A control that stops the run of this folder once its journal holds these words."""
    control = Control()

    def end() -> None:
        if words in (folder / JOURNAL).read_bytes():
            control.stop()

    control.add_check(end)
    return control


def stages(folder: Path) -> list[str]:
    """The stage of every event, in order."""
    return [event.stage for event in read(folder)]


def last(folder: Path, stage: str) -> Record:
    """The last event of a stage."""
    return [event for event in read(folder) if event.stage == stage][-1]


def check_declared(record: Record) -> None:
    """Assert that a record is what its event class declares, with every member that is not optional and no other."""
    event = parse(record)
    assert type(event) in EVENTS, record.stage
    assert not event.unknown, (record.stage, event.unknown)
    assert not event.unknown_texts, (record.stage, event.unknown_texts)
    assert not event.unknown_raw, (record.stage, event.unknown_raw)
    known = schema(type(event))
    for declared, written in ((known.data, record.data), (known.texts, record.texts), (known.raw, record.raw)):
        wanted = {member.key for member in declared if not member.optional and not member.key.endswith("*")}
        assert wanted <= written.keys(), (record.stage, wanted - written.keys())
    assert event.to_record(record.seq, record.time) == record, record.stage


def break_stage(patch: pytest.MonkeyPatch, stage: Callable[[Context], None], error: Exception) -> None:
    """Let a stage of the method fail, as long as the patch lasts."""

    def broken(_context: Context) -> None:
        raise error

    stages = tuple(runner.Stage(broken) if one.run is stage else one for one in runner.STAGES)
    assert stages != runner.STAGES
    patch.setattr(runner, "STAGES", stages)
