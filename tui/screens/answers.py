"""The answers of the trained model that became worst and best; Enter compares one with the base model's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from engine.runs.arms import ARMS
from engine.runs.state import Compared
from engine.text import sanitize, truncate
from tui.keymap import ANSWERS, LIST, bindings
from tui.screens.dialog import Dialog, box_height, box_width
from tui.services.log_store import LogStore
from tui.views.formatting import change, score_words
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import MOVES, Rows

EACH = 10
"""Answers at each end."""

_PREVIEW = 600
_ROWS, _TEXTS = 6, 10
"""Lines that the list has at least, and those that are left to the texts below it."""
_SAME_SCORE = "The scores are the same; p is the sum of the principles' probabilities."


def ends(comparisons: Sequence[Compared], each: int = EACH) -> tuple[list[Compared], list[Compared]]:
    """The answers that became worst, the worst first, and those that became best, the best first. No answer is in
    both; those whose score is not known are in neither."""
    known = [c for c in comparisons if _score(c.base) is not None and _score(c.trained) is not None]
    ordered = sorted(known, key=lambda c: (*_change(c), c.event), reverse=True)
    worst = [c for c in ordered[:each] if _change(c) > (0.0, 0.0)]
    best = [c for c in reversed(ordered) if _change(c) < (0.0, 0.0)][:each]
    return worst, best


def _score(verdict: Mapping[str, Any]) -> float | None:
    score = verdict.get("score")
    return float(score) if isinstance(score, int | float) else None


def _change(compared: Compared) -> tuple[float, float]:
    """How much worse the trained answer is: by score, then by the probabilities behind it."""
    base, trained = (_score(verdict) or 0.0 for verdict in (compared.base, compared.trained))
    return trained - base, _probability(compared.trained) - _probability(compared.base)


def _probability(verdict: Mapping[str, Any]) -> float:
    principles = verdict.get("principles")
    values = principles.values() if isinstance(principles, Mapping) else ()
    return float(sum(value for value in values if isinstance(value, int | float)))


class AnswerRows(Rows):
    """One answer a line."""

    BINDINGS = MOVES


class Answers(Dialog[Compared]):
    """The list.

    Args:
        comparisons: all of the run.
        store: holds their texts.
        arms: how the two models are called.
        trace: opens the training rows that are nearest to an answer.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIST, ANSWERS)

    def __init__(
        self,
        comparisons: Sequence[Compared],
        store: LogStore,
        arms: tuple[str, str] = ARMS,
        trace: Callable[[Compared], None] | None = None,
    ) -> None:
        super().__init__()
        self._trace = trace
        self._arms = arms
        self.worst, self.best = ends(comparisons)
        self._store = store
        self._list = AnswerRows(self._row, id="answer-rows")
        self._preview = Static("", id="answer-preview")
        self._previewed: Compared | None = None
        self._figures_width = max((len(_figures(one)) for one in self.answers), default=0)

    @property
    def answers(self) -> list[Compared]:
        """All that are listed, in order."""
        return [*self.worst, *self.best]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide", id="answers-box") as box:
            label(
                box,
                f"Best and worst · {len(self.worst)} worse, {len(self.best)} better",
                "↑ ↓ Enter compares · L training rows · Esc",
            )
            yield self._list
            yield self._preview

    def on_mount(self) -> None:
        self._list.focus()
        count = len(self.answers)
        self._list.show(count)
        if count:
            self._show_preview(self.answers[0])
        else:
            self._preview.update("No answer changed its score.")

    def on_resize(self) -> None:
        """Let the list have the lines that the texts below it leave."""
        room = box_height(self.app.size.height) - _TEXTS
        self._list.styles.height = max(1, min(len(self.answers), max(_ROWS, room)))

    def _row(self, index: int, width: int) -> Pieces:
        compared = self.answers[index]
        worse = index < len(self.worst)
        texts = self._store.event(compared.event).texts
        scores = _figures(compared).ljust(self._figures_width)
        head = [("✗ worse  " if worse else "✓ better ", "bad" if worse else "good"), (f"{scores}  ", "strong")]
        room = width - 9 - len(scores) - 2
        return [*head, (clip(_line(texts.get("prompt", "")), max(4, room)), "text")]

    def on_rows_marked(self, event: Rows.Marked) -> None:
        event.stop()
        if event.index < len(self.answers):
            self._show_preview(self.answers[event.index])

    def _show_preview(self, compared: Compared) -> None:
        if compared is self._previewed:
            return
        self._previewed = compared
        texts = self._store.event(compared.event).texts
        lines = (self.app.size.height - _ROWS) // 8  # of the question, so that both answers begin in sight
        question = clip(_line(texts.get("prompt", "")), lines * box_width(self.app.size.width))
        parts = [
            Content.styled("\n" + question, "bold"),
            *([Content.styled(_SAME_SCORE, "$rd-dim")] if _is_tied(compared) else []),
            *(
                Content.assemble((f"{name:<9}", "$rd-dim"), truncate(_line(texts.get(arm, "")), _PREVIEW))
                for arm, name in zip(ARMS, self._arms, strict=True)
            ),
        ]
        self._preview.update(Content("\n").join(parts))

    def action_lineage(self) -> None:
        if self.answers and self._trace is not None:
            self._trace(self.answers[self._list.cursor])

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        event.stop()
        self.dismiss(self.answers[event.index])


def _is_tied(compared: Compared) -> bool:
    return _change(compared)[0] == 0.0


def _figures(compared: Compared) -> str:
    """Both scores; where they are the same, the sums of the probabilities that tell the answers apart."""
    if not _is_tied(compared):
        return change(score_words(compared.base.get("score")), score_words(compared.trained.get("score")))
    return "p " + change(*(f"{_probability(verdict):.2f}" for verdict in (compared.base, compared.trained)))


def _line(text: object) -> str:
    return " ".join(sanitize(str(text)).split())
