"""From a compared answer to the training rows whose words are nearest: the pairs or demonstrations, with the principle,
the critique and the scores that made them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.errors import RedraftError
from tui.keymap import LIST, bindings
from tui.screens.dialog import Dialog, box_width
from tui.screens.text_modal import STYLES
from tui.services import lineage
from tui.services.workers import start_worker
from tui.views import lineage as view
from tui.views.pieces import Pieces
from tui.widgets.border import label
from tui.widgets.rows import MOVES, Rows

_KEYS = "↑ ↓ Enter shows its records · Tab scrolls · Esc"

if TYPE_CHECKING:
    from engine.export.training_pairs import NearPair


class LineageRows(Rows):
    """One training row a line."""

    BINDINGS = MOVES


class LineageScreen(Dialog[str]):
    """The nearest rows; Enter gives the id of one's prompt.

    Args:
        folder: the run's.
        prompt, answer: the compared prompt and the trained model's answer.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIST)

    def __init__(self, folder: Path, prompt: str, answer: str) -> None:
        super().__init__()
        self._folder, self._prompt, self._answer = folder, prompt, answer
        self.rows: list[NearPair] = []
        self._list = LineageRows(self._row, id="lineage-rows")
        self._text = Static("Reading the journal …")

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide", id="lineage-box") as box:
            label(box, "Nearest training rows", _KEYS)
            yield self._list
            with VerticalScroll(id="lineage-text"):
                yield self._text

    def on_mount(self) -> None:
        self._list.focus()
        start_worker(self, self._find)

    async def _find(self) -> None:
        try:
            self.rows, trained = await asyncio.to_thread(lineage.near, self._folder, self._prompt, self._answer)
        except RedraftError as error:
            self._text.update(str(error))
            return
        self._list.styles.height = max(1, min(8, len(self.rows)))
        self._list.show(len(self.rows))
        label(self.query_one("#lineage-box"), f"Nearest training rows · {len(self.rows)} of {trained}", _KEYS)
        self._draw()

    def _row(self, index: int, width: int) -> Pieces:
        return view.row(self.rows[index], width)

    def on_rows_marked(self, event: Rows.Marked) -> None:
        event.stop()
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self._draw()

    def on_resize(self) -> None:
        if self.rows:
            self._draw()

    def _draw(self) -> None:
        width = box_width(self.app.size.width)
        if not self.rows:
            self._text.update("No pair that this run was trained on shares a word with this answer or its question.")
            return
        lines = [*view.lines(self.rows[self._list.cursor], width), [], *view.measure(width)]
        rows = [Content.assemble(*((text, STYLES.get(role, "")) for text, role in line)) for line in lines]
        self._text.update(Content("\n").join(rows))

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        event.stop()
        self.dismiss(self.rows[event.index].pair.item)
