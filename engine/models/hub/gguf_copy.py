"""Converted copies of GGUF files, kept in the cache folder so that unpacking is done once.

A copy is a model folder in the dtype that was asked for, named by the file's path, size and times. It is written under
another name and renamed, so it is whole or absent. A copy is a convenience: where there is no room for it, the file is
unpacked each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import paths
from engine.files import new_folder
from engine.models.hub import weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_VERSION = 3
"""Counts up when the conversion changes, so that copies made by an older one are made again."""
_MANIFEST = "manifest.json"
_DIVISORS = "rope_divisors.json"
_SPARE = 1_000_000_000
"""Bytes that stay free on the disk."""


def find(path: Path, dtype: str) -> Path | None:
    """The copy of a GGUF file in a dtype, or None where there is none, or its files are not as they were written."""
    place = _place(path, dtype)
    try:
        manifest = json.loads((place / _MANIFEST).read_text("utf-8"))
        good = all((place / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return place if good and weights.SINGLE in manifest["files"] else None


def store(
    path: Path,
    dtype: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    divisors: list[float],
    tick: Callable[[float], None] = lambda _: None,
) -> bool:
    """Write the copy of a file that was read; whether there was room and permission for it.

    Args:
        divisors: of the rotary frequencies (`gguf.read_tensors`); empty for none.
        tick: called with the fraction that is written.
    """
    place = _place(path, dtype)
    names = {tensor.data_ptr(): name for name, tensor in reversed(model.state_dict().items())}
    state = {name: tensor for name, tensor in model.state_dict().items() if names[tensor.data_ptr()] == name}
    need = sum(tensor.nbytes for tensor in state.values()) + _SPARE
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(place.parent).free < need:
            return False
        if place.exists():
            shutil.rmtree(place)
        with new_folder(place) as work:
            _write(work, model, tokenizer, state, divisors, tick)
    except OSError:
        return False
    _drop_older(place, path)
    return True


def divisors_of(place: Path) -> list[float]:
    """The divisors of the rotary frequencies that a copy keeps; empty for none."""
    if not (place / _DIVISORS).exists():
        return []
    return [float(value) for value in json.loads((place / _DIVISORS).read_text("utf-8"))]


def _place(path: Path, dtype: str) -> Path:
    found = path.stat()
    # Another file of the same size may be put in its place with the time of change kept; its inode's changes then.
    name = f"{_VERSION}|{path.resolve()}|{found.st_size}|{found.st_mtime_ns}|{found.st_ino}|{found.st_ctime_ns}"
    return _home() / f"{_of_path(path)}-{hashlib.sha256(name.encode()).hexdigest()[:12]}-{dtype}"


def _home() -> Path:
    return paths.cache_dir() / "models" / "gguf"


def _of_path(path: Path) -> str:
    """What the copies of one path have in common, whatever its content was."""
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]


def _write(
    work: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    state: dict[str, Any],
    divisors: list[float],
    tick: Callable[[float], None],
) -> None:
    model.config.save_pretrained(work)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(work)
    tokenizer.save_pretrained(work)
    if divisors:
        (work / _DIVISORS).write_text(json.dumps(divisors), "utf-8")
    weights.write(work / weights.SINGLE, state, tick)
    sizes = {entry.name: entry.stat().st_size for entry in sorted(work.iterdir())}
    with (work / _MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"files": sizes}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _drop_older(place: Path, path: Path) -> None:
    """Delete the copies of what the file held before, and what a crashed conversion left."""
    key = place.name.rpartition("-")[0]
    for other in place.parent.glob(f"*{_of_path(path)}-*"):
        if key not in other.name:
            with contextlib.suppress(OSError):
                shutil.rmtree(other)
