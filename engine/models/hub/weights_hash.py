"""Which weights answered: a SHA-256 over a model's files, remembered by size and time so that it is computed once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from engine import paths
from engine.models.hub import weights

_REMEMBERED = "file-hashes.json"
_MOST = 500


def of_files(files: Sequence[Path]) -> str:
    """One SHA-256, in hex, for files in the given order; their names and folders do not matter.

    Raises:
        StorageError: if one cannot be read.
    """
    known = _load()
    whole = hashlib.sha256()
    changed = False
    for path in files:
        weights.regular(path)
        state = path.stat()
        key = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
        found = known.get(key)
        if found is None:
            found = known[key] = weights.digest(path)
            changed = True
        whole.update(bytes.fromhex(found))
    if changed:
        _save(known)
    return whole.hexdigest()


def of_folder(folder: Path) -> str:
    """One SHA-256 for what decides a model's answers: config, weights and tokenizer.

    Raises:
        ModelError, StorageError: if a file is missing or cannot be read.
    """
    extra = [folder / name for name in ("config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja")]
    extra += [folder / "chat_template.json", *sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    return of_files([*weights.files(folder), *(path for path in extra if path.exists())])


def _load() -> dict[str, str]:
    try:
        value = json.loads((paths.cache_dir() / _REMEMBERED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(v, str) and len(v) == 64 and set(v) <= set("0123456789abcdef")}


def _save(known: dict[str, str]) -> None:
    # Only a memory: where it cannot be written, the next start computes the hash again.
    path = paths.cache_dir() / _REMEMBERED
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(dict(list(known.items())[-_MOST:]), indent=0), "utf-8")
        temporary.replace(path)
