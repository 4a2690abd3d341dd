"""Divides one set of prompts into training and held-out prompts, none of which is a near duplicate of the other's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InputError, StorageError
from engine.files import new_folder, write_atomically
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

    Principles keep their shares in both files, so that each can be compared. Both files appear, or none; where a
    process was killed in the moment between them, the same call completes what it left.

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
    if all(file.exists() for file in files):
        raise _exists(files[0])
    prompts = list(load_prompts(path, columns=columns).distinct())
    if len(prompts) < 2:
        raise InputError("at least two different prompts are needed.", where=str(path), next_step="Add prompts.")
    held = _draw(prompts, heldout, random.Random(seed))
    parts = [prompt for prompt in prompts if prompt.id not in held], [prompt for prompt in prompts if prompt.id in held]
    contents = [_lines(part) for part in parts]
    for file, content in zip(files, contents, strict=True):
        if file.exists() and not _holds(file, content):
            raise _exists(file)
    _write(target, dict(zip((file.name for file in files), contents, strict=True)))
    return Split(*files, len(parts[0]), len(parts[1]))


def _exists(file: Path) -> InputError:
    return InputError("this file exists already.", where=str(file), next_step="Name another folder.")


def _holds(file: Path, content: bytes) -> bool:
    try:
        return file.stat().st_size == len(content) and file.read_bytes() == content
    except OSError:
        return False


def _write(target: Path, contents: Mapping[str, bytes]) -> None:
    try:
        with new_folder(target) as folder:
            for name, content in contents.items():
                write_atomically(folder / name, content, 0o644)
    except OSError as error:
        raise StorageError(
            f"the files cannot be written here ({error.strerror}).",
            where=str(target),
            next_step="Check the folder's permissions and free space, or name another with --output.",
        ) from error


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write prompts as JSON lines that `load_prompts` reads back.

    Raises:
        StorageError: the file cannot be written.
    """
    write_atomically(path, _lines(prompts), 0o644)


def _lines(prompts: Iterable[Prompt]) -> bytes:
    return "".join(json.dumps(_row(prompt), ensure_ascii=False) + "\n" for prompt in prompts).encode("utf-8", "replace")


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
