"""Inputs of a run that changed before it is resumed.

A run is never resumed silently after a change: the user sees what changed, and decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.constitution.load import current_sha256
from engine.errors import InputsChanged
from engine.runs.folder import read_run, update_run
from engine.settings import RunConfig

_NOT_COMPARED = frozenset({"textual"})
"""Packages that no result depends on."""

_NAMES = {
    "constitution": ("the constitution", "constitution"),
    "train_prompts": ("the training prompts", "train_prompts"),
    "demonstrations": ("the demonstrations", "train_prompts"),
    "pairs": ("the preference pairs", "pairs"),
    "heldout_prompts": ("the held-out prompts", "heldout_prompts"),
    "benign_prompts": ("the benign prompts", "benign_prompts"),
}
"""Key in `hashes` -> its name for the user, and the setting that names the file."""


@dataclass(frozen=True)
class Change:
    """An input that is not what it was.

    Args:
        name: short and stable: "constitution", "torch", "model smollm2-135m-instruct".
        sentence: for the user: "torch 2.12.0 → 2.13.0".
    """

    name: str
    sentence: str


def changes(before: Mapping[str, Any], now: Mapping[str, Any], config: RunConfig) -> list[Change]:
    """What changed in constitution, prompts and package versions since `run.json` was written."""
    found: list[Change] = []
    for name, was, value in _different(before, now, "hashes"):
        if name == "constitution" and current_sha256(was) == value:
            continue
        called, setting = _NAMES.get(name, (name, ""))
        place = getattr(config, setting, "")
        found.append(Change(name, f"{called} ({place or 'built-in'})" if was and value else called))
    for name, was, value in _different(before, now, "versions"):
        if name not in _NOT_COMPARED:
            found.append(Change(name, f"{name} {was or 'absent'} → {value or 'absent'}"))
    return found


def check_model(folder: Path, name: str, sha256: str) -> list[Change]:
    """Store which weights a model name stands for; where they were others when the run began, that is the change.

    Raises:
        StorageError: `run.json` cannot be read or written.
    """
    known = read_run(folder).get("models")
    models = dict(known) if isinstance(known, dict) else {}
    was = models.get(name)
    if was is None:
        update_run(folder, {"models": {**models, name: sha256}})
        return []
    if was == sha256:
        return []
    return [Change(f"model {name}", f"the model {name} (sha256 {str(was)[:12]} → {sha256[:12]})")]


def refuse(changed: Sequence[Change], folder: Path) -> InputsChanged:
    """The error that says what changed and what to do about it."""
    return InputsChanged(
        f"inputs of the run have changed: {'; '.join(change.sentence for change in changed)}.",
        folder=folder,
        where=folder.name,
        next_step="Restore them; or resume with the changed inputs, mixing both in one run: "
        f"`redraft resume {folder.name} --force`.",
    )


def _different(before: Mapping[str, Any], now: Mapping[str, Any], group: str) -> list[tuple[str, str, str]]:
    """(key, value before, value now) of what is not the same; "" for what is missing."""
    old, new = before.get(group), now.get(group)
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return []
    return [
        (key, str(old.get(key, "")), str(new.get(key, "")))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
