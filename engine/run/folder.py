"""A run's folder: its name, and the settings in it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from engine.errors import StorageError
from engine.files import write_atomically
from engine.settings import RunConfig, from_json, to_json

RUN = "run.json"
"""Name of the file with the run's settings, what it was made from, and when."""


def new_folder(runs: Path, config: RunConfig) -> Path:
    """A folder that does not exist yet, named by preset and time; not made here."""
    stem = re.sub(r"[^a-z0-9]+", "-", config.preset.lower()).strip("-") or "run"
    stamp = time.strftime("%m%d-%H%M%S")
    folder = runs / f"{stem}-{stamp}"
    number = 2
    while folder.exists():
        folder = runs / f"{stem}-{stamp}-{number}"
        number += 1
    return folder


def write_run(folder: Path, config: RunConfig, facts: dict[str, Any]) -> None:
    """Write `run.json`.

    Raises:
        StorageError: it cannot be written.
    """
    record = {"version": 1, "created": time.time(), "config": to_json(config), **facts}
    write_atomically(folder / RUN, json.dumps(record, indent=1, ensure_ascii=False).encode())


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` holds.

    Raises:
        StorageError: there is none, or it is damaged.
    """
    path = folder / RUN
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StorageError(
            "there is no run in this folder.", where=str(folder), next_step="`redraft runs` lists the runs there are."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(
            f"the run's settings cannot be read ({error}).", where=str(path), next_step="Start a new run."
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise StorageError("the run's settings are damaged.", where=str(path), next_step="Start a new run.")
    return record


def read_config(folder: Path) -> RunConfig:
    """The settings that a run was started with.

    Raises:
        StorageError, InputError: they cannot be read.
    """
    return from_json(read_run(folder)["config"])
