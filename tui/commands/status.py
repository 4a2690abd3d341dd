"""`redraft status`: what the runs on this machine do now, in a line for a status bar or a prompt."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.runs.store import RunInfo

_RECENT = 86_400.0
"""Seconds for which `--short` shows a run that has ended."""


def status(
    short: Annotated[bool, typer.Option("--short", help="Print one line, as for the status line of tmux.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the active runs, or else the last one: stage, progress and time left, or outcome.

    With --short nothing is printed where no run was active in the last 24 hours. For tmux:
    set -g status-right '#(redraft status --short)'
    """
    from engine.runs.store import list_runs

    known = list_runs()
    active = [run for run in known if run.state == "running"]
    shown = active or known[:1]
    if as_json:
        output.emit([_object(run) for run in shown])
    elif short:
        line = _short(shown, time.time())
        if line:
            output.result(line)
    elif not shown:
        output.notice("No runs yet. Start one: `redraft run --preset demo`.")
    else:
        for run in shown:
            output.result(f"{run.id}: {sentence(run)}")


def sentence(run: RunInfo) -> str:
    """What the run does, or how it ended: "revision 12/80 · 1:42 left", "confirmed"."""
    from tui.views.formatting import duration

    figures = run.figures
    if run.state == "finished":
        return str(figures.get("outcome") or "done")
    parts = [_stage(figures)] if figures.get("stage") else []
    if run.state == "running":
        left = figures.get("left")
        parts += [f"{duration(left)} left"] if isinstance(left, int | float) and 0 <= left < 1e9 else []
        return " · ".join(parts) or "starting"
    return " · ".join([run.state, *parts])


def _short(runs: list[RunInfo], now: float) -> str:
    if not runs:
        return ""
    run = runs[0]
    signs = {"running": "▶", "finished": "✓", "stopped": "‖"}
    if run.state != "running" and now - run.ended > _RECENT:
        return ""
    more = f" · {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"{signs.get(run.state, '!')} {run.id} {sentence(run)}{more}"


def _stage(figures: Mapping[str, Any]) -> str:
    done, total = figures.get("done"), figures.get("total")
    return f"{figures['stage']} {done or 0}/{total}" if total else str(figures["stage"])


def _object(run: RunInfo) -> dict[str, Any]:
    return {"id": run.id, "state": run.state, "folder": str(run.folder), "figures": run.figures, "note": run.note}
