"""Runs that another process performs, or performed until it died: what the app can do for them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import RedraftError
from engine.runs.control_file import CONTINUE, DETACH, PAUSE, STOP, send
from engine.runs.store import RunInfo, list_runs
from tui.views.formatting import duration

if TYPE_CHECKING:
    from tui.app import RedraftApp

_RECENT = 14 * 86_400.0
"""Seconds after which an interrupted run is not offered by itself any more."""

_TOLD = {
    PAUSE: "The run was asked to wait; it does so at its next step.",
    CONTINUE: "The run was asked to go on.",
    STOP: "The run was asked to stop; what is finished is kept.",
    DETACH: "The process that performs the run was asked to leave its terminal; the run goes on.",
}


def performed(app: RedraftApp) -> Path | None:
    """The folder of the run that is shown, where another living process performs it; else None."""
    folder = app.session.folder
    if folder is None or folder == app.host.state.folder or not app.session.state.status or app.session.state.ended:
        return None
    return folder if app.is_alive(folder) else None


def toggle_pause(app: RedraftApp) -> None:
    """Ask the process that performs the run that is shown to wait, or to go on."""
    _ask(app, CONTINUE if app.session.state.status == "paused" else PAUSE)


def stop(app: RedraftApp) -> None:
    """Ask that process to stop the run."""
    _ask(app, STOP)


def detach(app: RedraftApp) -> None:
    """Ask that process to go on without its screen."""
    _ask(app, DETACH)


def _ask(app: RedraftApp, wish: str) -> None:
    folder = performed(app)
    if folder is None:
        app.notify("No run goes on in this app.", markup=False)
        return
    try:
        send(folder, wish)
    except RedraftError as error:
        app.notify(str(error), severity="error", timeout=10, markup=False)
        return
    app.notify(_TOLD[wish], markup=False)


async def offer(app: RedraftApp) -> None:
    """On start: show a run that lives in another process, or tell of the last one if it was interrupted."""
    try:
        known = await asyncio.to_thread(list_runs, app.runs)
    except RedraftError:
        return  # the list of runs says why
    if app.session.folder is not None or app.busy or not known:
        return
    living = next((run for run in known if run.state == "running"), None)
    if living is not None:
        app.run_screen.open(living.folder)
        app.notify(
            "Another process performs this run; p, s and d ask it to wait, to stop, to leave its screen.",
            title=living.id,
            markup=False,
        )
        return
    newest = known[0]
    age = time.time() - newest.started
    if newest.state == "stopped" and age < _RECENT:
        app.offered = newest.folder
        app.notify(
            _offer(newest, age, app.keymap.shown("resume")), title="A run to go on with", timeout=15, markup=False
        )


def _offer(run: RunInfo, age: float, key: str) -> str:
    stage, done, total = (run.figures.get(name) for name in ("stage", "done", "total"))
    where = f" at {stage} {done}/{total}" if stage else ""
    return f"{run.id} of {duration(max(0.0, age))} ago ended{where}. {key} goes on with it."
