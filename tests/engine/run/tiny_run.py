"""A run of the whole loop on a tiny random model, in seconds; what the model writes has no meaning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.control import Control
from engine.journal.event import Event
from engine.journal.reader import JOURNAL, read
from engine.models.requests import Sampling
from engine.settings import RunConfig
from engine.train.config import TrainConfig

CONSTITUTION = """
name = "Plain"

[[principles]]
id = "{id}"
title = "Plain words"
short = "plain"
description = "Answers do without the letter."
weight = 2.0
critiques = ["Say which."]
revisions = ["Write it anew."]

[[principles.rules]]
id = "{id}.letter"
category = "letter"
pattern = '[aeiou{more}]'
match = ["a"]
spare = ["?"]
"""


def tiny_config(folder: Path, tiny: Callable[..., Path]) -> RunConfig:
    """The settings; constitution and prompts are files in `folder`."""
    (folder / "plain.toml").write_text(CONSTITUTION.format(id="plain", more=""))
    (folder / "prompts.txt").write_text("What is one?\nWhat is two?\nWhat is three?\n")
    short = Sampling(max_tokens=8, temperature=1.0)
    return RunConfig(
        preset="tiny",
        generator=str(tiny("llama", max_position_embeddings=8192)),
        judge="rules",
        constitution=str(folder / "plain.toml"),
        train_prompts=str(folder / "prompts.txt"),
        n_train=3,
        n_heldout=1,
        n_benign=0,
        candidates=2,
        draft=short,
        critique=short,
        revision=short,
        answer=short,
        train=TrainConfig.sft(epochs=1),
        dtype="float32",
    )


def stopping_at(folder: Path, words: bytes) -> Control:
    """A control that stops the run of this folder once its journal holds these words."""
    control = Control()

    def end() -> None:
        if words in (folder / JOURNAL).read_bytes():
            control.stop()

    control.also(end)
    return control


def stages(folder: Path) -> list[str]:
    """The stage of every event, in order."""
    return [event.stage for event in read(folder)]


def last(folder: Path, stage: str) -> Event:
    """The last event of a stage."""
    return [event for event in read(folder) if event.stage == stage][-1]
