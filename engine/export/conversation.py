"""A conversation with the base and the trained model of a run, as plain data, and the prompts that were kept from one.

Knows no models, so that a screen can hold it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine import paths
from engine.errors import InputError, StorageError
from engine.files import own_folder
from engine.models.inference.requests import Message
from engine.prompts.load import load_prompts, prompt_hash

Arm = Literal["base", "trained"]
ARMS: tuple[Arm, Arm] = ("base", "trained")


@dataclass(frozen=True)
class TrialAnswer:
    """One model's answer.

    Args:
        arm: "base" or "trained".
        weights: the first 12 hexadecimal digits of the hash of the weights that wrote it.
        text, finish, tokens, seconds: as of the completion.
        verdict: `data` of the judge's verdict (docs/cli.md, eval --json).
        verdict_texts: "reasoning" and "note" of the verdict.
    """

    arm: Arm
    weights: str
    text: str
    finish: str
    tokens: int
    seconds: float
    verdict: Mapping[str, Any] = field(default_factory=dict)
    verdict_texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """A prompt and both answers to it."""

    prompt: str
    answers: tuple[TrialAnswer, ...] = ()

    def answer(self, arm: Arm) -> TrialAnswer | None:
        """The answer of a model, where it has one."""
        return next((answer for answer in self.answers if answer.arm == arm), None)


@dataclass(frozen=True)
class Conversation:
    """Turns so far; each model sees its own earlier answers only.

    Args:
        system: the system text; "" for none.
        turns: oldest first.
    """

    system: str = ""
    turns: tuple[Turn, ...] = ()

    def messages(self, arm: Arm, prompt: str) -> list[Message]:
        """The chat that one model is sent."""
        found = [Message("system", self.system)] if self.system.strip() else []
        for turn in self.turns:
            answer = turn.answer(arm)
            if answer is not None:
                found += [Message("user", turn.prompt), Message("assistant", answer.text)]
        return [*found, Message("user", prompt)]

    def without_last(self) -> Conversation:
        """The conversation before its last turn."""
        return dataclasses.replace(self, turns=self.turns[:-1])

    def with_turn(self, turn: Turn) -> Conversation:
        return dataclasses.replace(self, turns=(*self.turns, turn))


def kept_file(kind: Literal["train", "heldout"]) -> Path:
    """Where prompts that were kept from a trial are."""
    return paths.data_dir() / "prompts" / f"{kind}.jsonl"


def keep_prompt(prompt: str, system: str, kind: Literal["train", "heldout"]) -> Path:
    """Append a prompt to the kept training or held-out prompts; returns the file.

    Raises:
        InputError: it is among the prompts of the other kind (or of this one) already: one that is trained on proves
            nothing when it is compared.
        StorageError: the file cannot be written.
    """
    kinds: tuple[Literal["train", "heldout"], ...] = ("train", "heldout")
    for other in kinds:
        path = kept_file(other)
        if path.exists() and prompt_hash(prompt) in {known.sha256 for known in load_prompts(path)}:
            words = {"train": "training", "heldout": "held-out"}[other]
            raise InputError(f"this prompt is among the kept {words} prompts already.", where=str(path))
    path = kept_file(kind)
    row = {"prompt": prompt, **({"system": system} if system.strip() else {})}
    try:
        own_folder(path.parent)
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StorageError(f"the prompt cannot be kept ({error.strerror}).", where=str(path)) from None
    return path
