"""The runs on this machine: how each ended, by how much its model changed; Enter opens one on the run screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from engine.errors import RedraftError
from engine.runs.report import OUTCOMES
from engine.runs.store import RunInfo, list_runs, loss_curve, rename, to_trash, write_remark
from tui.keymap import RUNS, bindings
from tui.screens.dialog import Dialog, key_hints
from tui.screens.dialogs import Choice
from tui.services import pinned_run
from tui.services.pinned_run import PinnedRun
from tui.services.workers import start_worker
from tui.views.formatting import change, count
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.lines import LineWidget
from tui.widgets.rows import MOVES, Rows
from tui.widgets.status import sparkline

_SIGNS = {"running": ("▶", "accent"), "finished": ("✓", "good"), "stopped": ("‖", "warn"), "damaged": ("!", "bad")}
_SHORT = 13
"""Cells of a date without its year, and of the two behind it."""


_KEYS = ("u resume", "r rename", "n note", "d delete", "p pin", "/ filter")


def columns(width: int) -> dict[str, int]:
    """Cells of each column of the list, those between two columns included; 0 where a column has no room."""
    wide = width >= 84
    places = {
        "run": 2,
        "name": 26 if wide else 18 if width >= 66 else 15,
        "outcome": 15,
        "score": 13,
        "started": 18 if wide else _SHORT if width >= 58 else 0,
    }
    room = width - sum(places.values())
    places["loss"] = 14 if room >= 14 else room if room >= 7 else 0
    room -= places["loss"]
    places["model"] = room if room >= 16 else 0
    places["name"] += room - places["model"]
    return places


class Heads(LineWidget):
    """What stands in each column."""

    def lines(self, width: int) -> list[Pieces]:
        names = {"run": "", "name": "run"}
        heads = [(_cell(names.get(name, name), room), "dim") for name, room in columns(width - 2).items() if room]
        return [[(" ", "dim"), *heads]]


@dataclass(frozen=True)
class Chosen:
    """The run that was chosen, and whether it is to be resumed."""

    folder: Path
    resume: bool = False


class RunRows(Rows):
    """The runs, newest first."""

    BINDINGS = MOVES


class Runs(Dialog[Chosen]):
    """The list.

    Args:
        folder: of runs; the user's by default.
        shown: the run on the run screen, which cannot be renamed or deleted.
        pinned: the run whose curves are drawn beside those of the run on the run screen.
        pin: takes another one; an empty one for none.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(RUNS)

    def __init__(
        self,
        folder: Path | None = None,
        shown: Path | None = None,
        pinned: Path | None = None,
        pin: Callable[[PinnedRun], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._open = shown
        self._pinned = pinned
        self._pin = pin
        self._all: list[RunInfo] = []
        self._runs: list[RunInfo] = []
        self._losses: dict[Path, list[float]] = {}
        self._list = RunRows(self._row, id="run-rows")
        self._heads = Heads()
        self._note = Static("", id="runs-note", classes="hint")
        self._field = Input(id="runs-field")
        self._field.cursor_blink = False
        self._submitted: Callable[[str], None] | None = None
        self._words = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide", id="runs-box"):
            yield self._heads
            yield self._list
            yield self._field
            yield self._note

    def on_resize(self) -> None:
        label(self.query_one("#runs-box"), "Runs", key_hints(self.app.size.width, *_KEYS, "Esc"))

    async def on_mount(self) -> None:
        self.on_resize()
        self._field.display = False
        self._list.focus()
        self._note.update("Reading …")
        start_worker(self, self._read, exclusive=True)

    async def _read(self, marked: Path | None = None) -> None:
        """Read the list; the run in this folder stays marked."""
        try:
            self._all = await asyncio.to_thread(list_runs, self._folder)
        except RedraftError as error:
            self._note.update(Content(str(error)))
            return
        self._show(self._words)
        self._list.go(next((at for at, run in enumerate(self._runs) if run.folder == marked), self._list.cursor))
        self._describe()
        for run in list(self._all):
            if run.folder not in self._losses:
                self._losses[run.folder] = await asyncio.to_thread(loss_curve, run.folder)
                self._list.refresh()

    def _show(self, words: str) -> None:
        self._words = words
        wanted = words.casefold().split()
        self._runs = [run for run in self._all if all(word in _searched(run) for word in wanted)]
        self._list.styles.height = max(1, min(len(self._all), 24))
        self._list.show(len(self._runs))
        self._describe()

    @property
    def _marked(self) -> RunInfo | None:
        return self._runs[self._list.cursor] if self._runs else None

    def _describe(self) -> None:
        """What does not fit in the row of the marked run."""
        run = self._marked
        if run is None:
            self._note.update("No run matches." if self._all else "There is no run yet; ^r starts one.")
            return
        about = " · ".join(part for part in (run.id, run.preset, run.model, _how_far(run), run.note) if part)
        note = f"\n“{run.remark}”" if run.remark else ""
        self._note.update(Content(f"\n{about}{note}\n{count(len(self._all), 'run')}"))

    def on_rows_marked(self, event: Rows.Marked) -> None:
        event.stop()
        self._describe()

    def _row(self, index: int, width: int) -> Pieces:
        run, places = self._runs[index], columns(width)
        sign, role = _SIGNS.get(run.state, ("?", "dim"))
        result, result_role = _result(run)
        started = time.strftime("%Y-%m-%d %H:%M" if places["started"] > _SHORT else "%m-%d %H:%M", _local(run.started))
        cells = {
            "run": (sign, role),
            "name": (f"{run.id} ╍" if run.folder == self._pinned else run.id, "strong"),
            "outcome": (result, result_role),
            "score": (_scores(run), "text"),
            "started": (started, "dim"),
            "loss": (_curve(self._losses.get(run.folder, []), places["loss"] - 2), "accent"),
            "model": (run.remark or run.model, "dim"),
        }
        return [(_cell(cells[name][0], room), cells[name][1]) for name, room in places.items() if room]

    # What the keys do

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        if self._marked is not None:
            self.dismiss(Chosen(self._marked.folder))

    def action_resume(self) -> None:
        run = self._marked
        if run is not None and run.state == "stopped":
            self.dismiss(Chosen(run.folder, resume=True))
        elif run is not None:
            self.show_note(f"{run.id} is not stopped.")

    def action_rename(self) -> None:
        run = self._marked
        if run is not None and self._may_move(run):
            self._ask("New name", run.id, lambda text: self._do(lambda: rename(run.folder, text), "Renamed."))

    def action_note(self) -> None:
        run = self._marked
        if run is not None:
            self._ask("Note", run.remark, lambda text: self._do(lambda: write_remark(run.folder, text), "Noted."))

    def action_find(self) -> None:
        self._ask("Words", self._words, None)

    def action_pin(self) -> None:
        run = self._marked
        if run is not None and run.folder == self._pinned:
            self._take_pinned(PinnedRun())
        elif run is not None:
            start_worker(self, self._read_pinned, run.folder, exclusive=True, group="pin")

    async def _read_pinned(self, folder: Path) -> None:
        try:
            pinned = await asyncio.to_thread(pinned_run.read, folder)
        except RedraftError as error:
            self.show_note(str(error))
            return
        if pinned.state.loss.count:
            self._take_pinned(pinned)
        else:
            self.show_note(f"{folder.name} has no loss: it was not trained.")

    def _take_pinned(self, pinned: PinnedRun) -> None:
        self._pinned = pinned.folder if pinned.name else None
        self._pin(pinned)
        self._list.refresh()
        self.show_note(f"The chart shows {pinned.name}, too." if pinned.name else "No run is pinned.")

    def action_delete(self) -> None:
        run = self._marked
        if run is None or not self._may_move(run):
            return

        def decide(answer: bool | None) -> None:
            if answer:
                self._do(lambda: to_trash(run.folder), f"{run.id} is in the folder trash.")

        answers = [(False, "Keep it"), (True, "Move it to the folder trash, next to the runs")]
        self.app.push_screen(Choice(f"Delete {run.id}?", "", answers), decide)

    def _may_move(self, run: RunInfo) -> bool:
        if run.folder == self._open:
            self.show_note("This run is open; open another one first.")
        return run.folder != self._open

    def _ask(self, what: str, text: str, submitted: Callable[[str], None] | None) -> None:
        """Open the field for a text; without `submitted` it filters the list as one types."""
        self._submitted = submitted
        self._field.placeholder = what
        self._field.value = text
        self._field.display = True
        self._field.focus()

    @property
    def _filters(self) -> bool:
        return self._field.display and self._submitted is None

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._filters:
            self._show(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        submitted, self._submitted = self._submitted, None
        self._close_field()
        if submitted is not None:
            submitted(event.value)

    def _close_field(self) -> None:
        self._field.display = False
        self._list.focus()

    def action_close(self) -> None:
        if self._field.has_focus:
            if self._filters:
                self._show("")
            self._submitted = None
            self._close_field()
        else:
            super().action_close()

    def _do(self, change_run: Callable[[], object], done: str) -> None:
        marked = self._marked
        try:
            changed = change_run()
        except RedraftError as error:
            self.show_note(str(error))
            return
        self.show_note(done)
        kept = changed if isinstance(changed, Path) else marked.folder if marked is not None else None
        start_worker(self, self._read, kept, exclusive=True)


def _cell(text: str, room: int) -> str:
    return clip(text, max(1, room - 1)).ljust(room)


def _curve(losses: list[float], cells: int) -> str:
    """The losses as a line of at most so many blocks."""
    if cells < 1:
        return ""
    step = max(1, -(-len(losses) // cells))
    return sparkline([min(losses[at : at + step]) for at in range(0, len(losses), step)])


def _local(seconds: float) -> time.struct_time:
    return time.localtime(max(0.0, min(seconds, 4e9)))


def _searched(run: RunInfo) -> str:
    return " ".join((run.id, run.state, run.preset, run.model, run.remark, _result(run)[0])).casefold()


def _result(run: RunInfo) -> tuple[str, str]:
    """The outcome of a finished run, else its state; and its role."""
    outcome = str(run.figures.get("outcome") or "") if run.state == "finished" else ""
    if outcome:
        role = OUTCOMES.get(outcome, ("", "text"))[1]
        return outcome, "text" if role == "warn" else role
    return run.state, _SIGNS.get(run.state, ("", "dim"))[1]


def _scores(run: RunInfo) -> str:
    return change(*(f"{score:.2f}" for score in run.score)) if run.score is not None else ""


def _how_far(run: RunInfo) -> str:
    if run.state == "finished":
        return ""
    stage, done, total = (run.figures.get(name) for name in ("stage", "done", "total"))
    return f"{stage} {done}/{total}" if stage and total else str(stage or "")
