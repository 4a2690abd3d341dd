"""`redraft runs` and `redraft open`: the runs on this machine, and one of them in the app."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.runs.store import RunInfo


def runs(as_json: options.Json = False) -> None:
    """List the runs, newest first."""
    from engine import paths
    from engine.runs.store import list_runs

    found = list_runs()
    if as_json:
        output.emit([_object(run) for run in found])
    elif not found:
        output.notice(f"No runs yet in {paths.runs_dir()}. Start one: `redraft run --preset demo`.")
    else:
        for line in output.table([_row(run) for run in found]):
            output.result(line)


def open_run(run: options.Run = "last") -> None:
    """Open the app on a run, finished or not."""
    from engine.errors import InputError
    from engine.runs.store import find_run

    folder = find_run(run)
    if not output.has_terminal():
        raise InputError(
            "the app needs a terminal.", where="redraft open", next_step="Without one, use `redraft watch`."
        )
    open_app(folder)


def open_app(
    folder: Path | None = None,
    reading: tuple[int, int | None] | None = None,
    trying: Mapping[str, Any] | None = None,
) -> None:
    """Open the app and wait until it ends, or until it detaches.

    Args:
        folder: of a run to open.
        reading: number of pairs and seed of a blind reading to begin with.
        trying: options of `tui.screens.try_models.make_screen`, to begin with asking base and trained.
    """
    from tui.terminal import detach

    detach.launch()
    from tui.app import run as run_app

    code = run_app(folder=folder, reading=reading, trying=trying)
    if code:
        raise typer.Exit(code)


def _object(run: RunInfo) -> dict[str, Any]:
    from engine.runs.export import timestamp

    return {
        "id": run.id,
        "state": run.state,
        "started": timestamp(run.started),
        "preset": run.preset,
        "generator": run.generator,
        "folder": str(run.folder),
        "figures": run.figures,
        "note": run.note,
    }


def _row(run: RunInfo) -> dict[str, str]:
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    return {
        "id": run.id,
        "started": started,
        "preset": run.preset,
        "generator": run.model,
        "state": run.state,
        "figures": _figures(run),
    }


def _figures(run: RunInfo) -> str:
    from tui.views.formatting import count, duration

    figures = run.figures
    if run.state == "finished":
        seconds, pairs = figures.get("seconds"), figures.get("pairs")
        kept = pairs.get("kept") if isinstance(pairs, Mapping) else pairs
        parts = [str(figures["outcome"])] if "outcome" in figures else []
        parts += [count(kept, "pair")] if isinstance(kept, int) else []
        parts += [duration(seconds)] if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else []
        return ", ".join(parts)
    stage = f"{figures['stage']} {figures.get('done', 0)}/{figures.get('total', '?')}" if "stage" in figures else ""
    return "; ".join(part for part in (stage, run.note) if part)
