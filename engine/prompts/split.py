"""Divides one set of prompts into training and held-out prompts, none of which is a near duplicate of the other's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.files import write_atomically
from engine.prompts.load import Prompt, load_prompts


@dataclass(frozen=True)
class Split:
    """The files that were written, and how many prompts each holds."""

    train: Path
    heldout: Path
    n_train: int
    n_heldout: int


def split(
    path: Path | str, target: Path, heldout: float, *, seed: int = 0, columns: Mapping[str, str] | None = None
) -> Split:
    """Write `train.jsonl` and `heldout.jsonl` into a folder: each prompt once, drawn at random.

    Principles keep their shares in both files, so that each can be compared.

    Args:
        path: the file with all prompts.
        target: the folder; files of these names must not be there.
        heldout: share of the prompts that are held out, between 0 and 1.
        seed: of the draw; the same file, share and seed give the same files.
        columns: as `load_prompts`.

    Raises:
        InputError: the file cannot be used, holds fewer than two prompts, or a target exists.
        StorageError: a file cannot be written.
    """
    if not 0 < heldout < 1:
        raise InputError(f"{heldout:g} is not between 0 and 1.", where="--split", next_step="Example: --split 0.4.")
    files = target / "train.jsonl", target / "heldout.jsonl"
    for file in files:
        if file.exists():
            raise InputError("this file exists already.", where=str(file), next_step="Name another folder.")
    prompts = list(load_prompts(path, columns=columns).distinct())
    if len(prompts) < 2:
        raise InputError("at least two different prompts are needed.", where=str(path), next_step="Add prompts.")
    held = _draw(prompts, heldout, random.Random(seed))
    parts = [prompt for prompt in prompts if prompt.id not in held], [prompt for prompt in prompts if prompt.id in held]
    for file, part in zip(files, parts, strict=True):
        write_prompts(file, part)
    return Split(*files, len(parts[0]), len(parts[1]))


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write prompts as JSON lines that `load_prompts` reads back.

    Raises:
        StorageError: the file cannot be written.
    """
    lines = "".join(json.dumps(_row(prompt), ensure_ascii=False) + "\n" for prompt in prompts)
    write_atomically(path, lines.encode("utf-8", "replace"), 0o644)


def _row(prompt: Prompt) -> dict[str, Any]:
    row: dict[str, Any] = {"id": prompt.id}
    if prompt.messages:
        turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
        row["messages"] = [*turns, {"role": "user", "content": prompt.text}]
    else:
        row["prompt"] = prompt.text
    optional = {"topic": prompt.topic, "principle": prompt.principle, "demonstration": prompt.demonstration}
    return row | {name: value for name, value in optional.items() if value}


def _draw(prompts: Sequence[Prompt], share: float, chance: random.Random) -> set[str]:
    """Ids of the prompts to hold out: at least one, never all."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.principle, []).append(prompt)
    held: set[str] = set()
    for group in groups.values():
        held |= {prompt.id for prompt in chance.sample(group, round(share * len(group)))}
    if not held or len(held) == len(prompts):  # few prompts of many principles
        count = min(len(prompts) - 1, max(1, round(share * len(prompts))))
        held = {prompt.id for prompt in chance.sample(prompts, count)}
    return held
