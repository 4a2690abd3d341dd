"""The runs on this machine; Enter opens one on the run screen."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from engine.errors import RedraftError
from engine.runs.store import RunInfo, list_runs
from tui.keymap import PROMPTS, RUNS, bindings
from tui.screens.dialog import Dialog
from tui.views.formatting import count
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import Rows

_SIGNS = {"running": ("▶", "accent"), "finished": ("✓", "good"), "stopped": ("‖", "warn"), "damaged": ("!", "bad")}


class RunRows(Rows):
    """The runs, newest first."""

    BINDINGS = bindings(PROMPTS)


class Runs(Dialog[Path]):
    """The list."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(RUNS)

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._folder = folder
        self._runs: list[RunInfo] = []
        self._list = RunRows(self._row, id="run-rows")
        self._note = Static("", id="runs-note", classes="hint")

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide", id="runs-box") as box:
            label(box, "Runs", "↑ ↓ Enter opens · Esc")
            yield self._list
            yield self._note

    async def on_mount(self) -> None:
        self._list.focus()
        self._note.update("Reading …")
        self.run_worker(self._read(), exclusive=True)

    async def _read(self) -> None:
        try:
            self._runs = await asyncio.to_thread(list_runs, self._folder)
        except RedraftError as error:
            self._note.update(Content(str(error)))
            return
        self._list.styles.height = max(1, min(len(self._runs), 24))
        self._list.show(len(self._runs))
        self._note.update(
            Content(f"\n{count(len(self._runs), 'run')}" if self._runs else "There is no run yet; ^r starts one.")
        )

    def _row(self, index: int, width: int) -> Pieces:
        run = self._runs[index]
        sign, role = _SIGNS.get(run.state, ("?", "dim"))
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(0.0, min(run.started, 4e9))))
        about = " · ".join(part for part in (run.preset, run.generator, _how_far(run), run.note) if part)
        head = f"{started}  "
        return [
            (f"{sign} ", role),
            (head, "dim"),
            (clip(run.id, 28).ljust(29), "strong"),
            (f"{run.state:<9} ", role),
            (clip(about, max(4, width - 2 - len(head) - 39)), "dim"),
        ]

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        event.stop()
        self.dismiss(self._runs[event.index].folder)

    def action_open(self) -> None:
        self._list.action_choose()


def _how_far(run: RunInfo) -> str:
    if run.state == "finished":
        return ""
    stage, done, total = (run.figures.get(name) for name in ("stage", "done", "total"))
    return f"{stage} {done}/{total}" if stage and total else str(stage or "")
