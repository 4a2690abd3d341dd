"""The folder of a run, as the run makes it: its name, and `run.json` with settings, inputs and notices.

Finding and inspecting runs that are there, whatever their state, is `engine.runs.store`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import InputError, StorageError
from engine.events.run import StageStart
from engine.files import own_folder, write_atomically
from engine.runs.control_file import CONTROL
from engine.runs.journal_reader import JOURNAL, JournalReader
from engine.runs.journal_writer import LOCK, holding_lock
from engine.settings import RunConfig, from_json, to_json

RUN = "run.json"
"""Name of the file with the run's settings, what it was made from, and when."""

ADAPTER = "adapter"
"""Name of the folder with the trained adapter, in peft's format."""

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""Name of the file with the adapter's weights in it."""


def new_folder(runs: Path, kind: str) -> Path:
    """A new, empty folder, named by kind and time; of several processes that begin in the same second each gets its
    own. Whoever asked for it takes it away again where the run is refused (`remove_if_empty`).

    Args:
        kind: a run's preset, or what else is kept in it; only its letters and digits get into the name.

    Raises:
        StorageError: it cannot be made.
    """
    stem = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-") or "run"
    name = f"{stem}-{time.strftime('%m%d-%H%M%S')}"
    try:
        own_folder(runs)
        for number in itertools.count(1):
            folder = runs / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise StorageError(
            f"the run's folder cannot be made ({error.strerror}).",
            where=str(runs),
            next_step="Choose another folder with REDRAFT_HOME, or free some space.",
        ) from error
    raise AssertionError("unreachable")


def remove_if_empty(folder: Path) -> None:
    """Remove a new folder in which nothing was written, and parent folders that contain nothing else."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
        if folder.parent == paths.runs_dir():
            folder.parent.parent.rmdir()


def has_begun(folder: Path) -> bool:
    """Whether a stage of the run in this folder began: only then is there something that resume can continue."""
    return any(record.stage == StageStart.STAGE for record in JournalReader(folder).so_far())


def remove_unless_begun(folder: Path) -> None:
    """Empty the folder of a new run that failed before its first stage (its weights could not be used, its server did
    not answer): it holds settings, and a journal of nothing but that failure. A folder that another process writes,
    which may be why the run failed, stays as it is."""
    with holding_lock(folder) as held:
        if not held or has_begun(folder):
            return
        for name in (JOURNAL, RUN, CONTROL, LOCK):
            with contextlib.suppress(OSError):
                (folder / name).unlink()


def write_run(folder: Path, config: RunConfig, facts: dict[str, Any]) -> None:
    """Write `run.json`.

    Raises:
        StorageError: it cannot be written.
    """
    _write(folder, {"version": 1, "created": time.time(), "config": to_json(config), **facts})


def update_run(folder: Path, members: dict[str, Any]) -> None:
    """Replace members of `run.json`; the others stay as they are.

    Raises:
        StorageError: it cannot be read or written.
    """
    _write(folder, {**read_run(folder), **members})


def add_notices(folder: Path, sentences: Sequence[str]) -> None:
    """Add to the notices in `run.json` those that are not there yet.

    Raises:
        StorageError: it cannot be read or written.
    """
    known = read_run(folder).get("notices")
    notices = list(known) if isinstance(known, list) else []
    added = [sentence for sentence in sentences if sentence not in notices]
    if added:
        update_run(folder, {"notices": [*notices, *added]})


def _write(folder: Path, record: dict[str, Any]) -> None:
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
    try:
        return from_json(read_run(folder)["config"])
    except InputError as error:
        raise InputError(error.what, where=f"{folder / RUN}, {error.where}", next_step=error.next_step) from None
