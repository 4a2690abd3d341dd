"""The figures of a run: whether the model improved, by how much, with what certainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.runs.report import Report
from tui.keymap import REPORT, bindings
from tui.messages import CopyText, ExportRun, ReadBlind, ShowAnswers, WritePage
from tui.screens.dialog import Dialog, box_width, key_hints
from tui.views import report as reporting
from tui.widgets.border import label

_STYLES = {
    "strong": "bold",
    "text": "",
    "dim": "$rd-dim",
    "good": "$rd-good",
    "bad": "$rd-bad",
    "warn": "$rd-warn",
    "good strong": "bold $rd-good",
    "bad strong": "bold $rd-bad",
    "warn strong": "bold $rd-warn",
    "text strong": "bold",
}


_KEYS = ("W best and worst", "b blind reading", "h HTML", "e export", "y copy")


class ReportScreen(Dialog[None]):
    """The report of this run."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(REPORT)

    def __init__(self, name: str, report: Mapping[str, Any], note: str) -> None:
        super().__init__()
        self._run_name = name
        self._report = Report.of(report)
        self._note = note
        self._body = Static("", id="report-body")

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide", id="report-box"), VerticalScroll(id="report-text"):
            yield self._body

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.on_resize()

    def on_resize(self) -> None:
        columns = self.app.size.width
        label(self.query_one("#report-box"), f"Report · {self._run_name}", key_hints(columns, *_KEYS, "Esc"))
        self._body.update(self._text(box_width(self.app.size.width)))

    @property
    def text(self) -> str:
        """The report as plain text."""
        return reporting.plain(reporting.lines(self._report))

    def action_answers(self) -> None:
        if self.is_active:
            self.dismiss(None)
            self.app.post_message(ShowAnswers())

    def action_export(self) -> None:
        self.post_message(ExportRun())

    def action_review(self) -> None:
        if self.is_active:
            self.app.post_message(ReadBlind())
            self.dismiss(None)

    def action_html(self) -> None:
        self.post_message(WritePage())

    def action_copy(self) -> None:
        self.post_message(CopyText(self.text))

    def _text(self, width: int) -> Content:
        rows = [
            Content.assemble(*((text, _STYLES.get(role, "")) for text, role in line)) if line else Content("")
            for line in reporting.lines(self._report, width)
        ]
        if self._note:
            rows.append(Content.styled(self._note, "$rd-dim"))
        return Content("\n").join(rows)
