"""A window of lines that is read, scrolled and left: the newest verdict whole, how good the judges are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.text import sanitize
from tui.keymap import SHEET, bindings
from tui.screens.dialog import Dialog
from tui.services import export_actions, judge_accuracy
from tui.views import verdict
from tui.views.pieces import Pieces
from tui.views.verdict import SPANS, plain
from tui.widgets.border import label
from tui.widgets.evaluate import shown

if TYPE_CHECKING:
    from tui.app import RedraftApp

STYLES = {
    "strong": "bold",
    "text": "",
    "dim": "$rd-dim",
    "border": "$rd-border",
    "accent": "bold $rd-accent",
    "good": "$rd-good",
    "bad": "$rd-bad",
    "warn": "$rd-warn",
    "unsure": "$rd-warn",
    **{f"span{number}": f"underline $rd-span{number}" for number in range(1, SPANS + 1)},
}
"""Role -> style."""


class Sheet(Dialog[None]):
    """Shows lines made for the width that there is.

    Args:
        title: of the border.
        lines: width -> lines.
    """

    app: RedraftApp

    BINDINGS: ClassVar[list[BindingType]] = bindings(SHEET)

    def __init__(self, title: str, lines: Callable[[int], Sequence[Pieces]]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._text = Static()

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide") as box:
            keys = " · ".join(
                f"{self.app.keymap.shown(key.action, SHEET)} {key.label.lower()}"
                for key in self.app.keymap.footer(SHEET)
            )
            label(box, self._title, keys)
            with VerticalScroll():
                yield self._text

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        # Less the scroll bar, which comes where the lines need it.
        lines = self._lines(max(16, self.query_one(VerticalScroll).size.width - 1))
        rows = [Content.assemble(*((text, STYLES.get(role, "")) for text, role in line)) for line in lines]
        self._text.update(Content("\n").join(rows))

    def action_judges(self) -> None:
        if self.is_active:
            self.dismiss(None)
            show_judges(self.app)

    def action_copy(self) -> None:
        export_actions.copy(self.app, "\n".join(plain(list(self._lines(100)))))


def show_verdict(app: RedraftApp) -> None:
    """The newest verdict whole, in a window of its own."""
    found = shown(app.session.state, app.session.store)
    if found is None:
        app.notify("No text was judged here yet.", markup=False)
        return
    text = sanitize(found.text)

    def lines(width: int) -> list[Pieces]:
        return [*verdict.head(found.verdict, width), [], *verdict.lines(found.verdict, text, found.words, width)]

    app.open_dialog(Sheet("Verdict", lines))


def show_judges(app: RedraftApp) -> None:
    """How good the judges of the run that is shown, or of the next text, were measured to be."""
    app.run_worker(_show_judges(app), group="judges", exclusive=True)


async def _show_judges(app: RedraftApp) -> None:
    judges = app.session.state.judges
    if not judges:
        judges = await asyncio.to_thread(judge_accuracy.of, app.config, app.session.folder)
    agreement = app.session.state.result.get("agreement")
    app.open_dialog(Sheet("Judges", lambda width: judge_accuracy.lines(judges, agreement, width)))
