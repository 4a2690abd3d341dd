"""A window of lines that is read, scrolled and left: the newest verdict whole, how good the judges are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.text import sanitize
from tui.keymap import SHEET, Keymap, bindings
from tui.messages import CopyText, LabelVerdict, ShowJudges
from tui.screens.dialog import Dialog
from tui.services import judge_accuracy
from tui.views import verdict
from tui.views.pieces import Pieces
from tui.views.verdict import SPANS, plain
from tui.widgets.border import label
from tui.widgets.evaluate import Shown

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
        keymap: names the keys in the border.
        verdict: whether this is a verdict, which can be agreed with.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(SHEET)

    def __init__(
        self, title: str, lines: Callable[[int], Sequence[Pieces]], keymap: Keymap, verdict: bool = False
    ) -> None:
        super().__init__()
        self._verdict = verdict
        self._title = title
        self._lines = lines
        self._keymap = keymap
        self._text = Static()

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide") as box:
            keys = " · ".join(
                f"{self._keymap.shown(key.action, SHEET)} {key.label.lower()}"
                for key in self._keymap.footer(SHEET)
                if self._verdict or not key.action.startswith("label")
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
            self.app.post_message(ShowJudges())
            self.dismiss(None)

    def action_label(self, agrees: bool) -> None:
        if self._verdict and self.is_active:
            self.app.post_message(LabelVerdict(agrees))
            self.dismiss(None)

    def action_copy(self) -> None:
        self.post_message(CopyText("\n".join(plain(list(self._lines(100))))))


def verdict_sheet(found: Shown, keymap: Keymap) -> Sheet:
    """A verdict in full."""
    text = sanitize(found.text)

    def lines(width: int) -> list[Pieces]:
        return [*verdict.head(found.verdict, width), [], *verdict.lines(found.verdict, text, found.words, width)]

    return Sheet("Verdict", lines, keymap, verdict=True)


def judges_sheet(judges: Mapping[str, Any], agreement: Any, keymap: Keymap) -> Sheet:
    """How good judges were measured to be, as a JUDGES event has it."""
    return Sheet("Judges", lambda width: judge_accuracy.lines(judges, agreement, width), keymap)
