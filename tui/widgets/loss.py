"""The loss curve while a model learns, and the newest sample of what it writes meanwhile."""

from __future__ import annotations

import os
import time
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.runs.state import RunState
from engine.text import sanitize, truncate
from tui.views.chart import Curve, plot
from tui.views.formatting import mark_of, score_words
from tui.views.pieces import Pieces
from tui.widgets.border import label
from tui.widgets.lines import LineWidget

_INTERVAL = 0.25
"""Seconds between two drawings: a curve that changes faster is not seen, but sent."""

_LONGEST = 20_000


class Chart(LineWidget):
    """The curves, drawn again where a value came or the size changed."""

    def __init__(self) -> None:
        super().__init__(id="loss-plot")
        self._state = RunState()
        self._rows: list[Pieces] = []
        self._drawn_for: object = None

    def show(self, state: RunState) -> None:
        """Draw this run's curves."""
        self._state = state
        loss, valid = state.loss, state.valid
        key = (id(state), loss.count, valid.count, state.steps, self.size)
        if key != self._drawn_for:
            self._drawn_for = key
            first, last = loss.steps
            curves = [Curve(valid, "soft"), Curve(loss, "accent")]
            steps = (first, max(last, float(state.steps), first + 1))
            self._rows = [*plot(curves, *self.size, steps, braille=_has_braille())]
            self.refresh()

    def on_resize(self) -> None:
        # What was hidden had no size to be drawn for.
        self.show(self._state)

    def lines(self, width: int) -> list[Pieces]:  # noqa: ARG002 - drawn for the width before
        return self._rows


def _has_braille() -> bool:
    """The Linux console has a font of 256 or 512 characters, without braille."""
    return os.environ.get("TERM") != "linux"


class LossPane(Vertical, can_focus=True):
    """Train and validation loss over steps."""

    def __init__(self) -> None:
        super().__init__(id="loss-chart", classes="pane")
        self._state = RunState()
        self._plot = Chart()
        self._hint = Static("", id="loss-hint")
        self._drawn = 0.0
        self._dirty = True
        self._count: tuple[int, int, int, bool] = (-1, -1, 0, False)
        self._hinted = ""

    def compose(self) -> ComposeResult:
        yield self._hint
        yield self._plot

    def on_mount(self) -> None:
        self._plot.display = False
        self._label()

    def on_resize(self) -> None:
        self.redraw()

    def show(self, state: RunState, hint: str) -> None:
        """Tell of this run; `hint` is for before there is a loss."""
        count = state.loss.count, state.valid.count, len(state.health.alarms), state.health.decision is not None
        if state is not self._state or count != self._count:
            self._state, self._count, self._dirty = state, count, True
        if not count[0] and hint != self._hinted:
            self._hinted = hint
            self._hint.update(Content.styled(hint, "$rd-dim"))
        self.redraw_if_due()

    def redraw_if_due(self) -> None:
        """Draw where something changed, four times a second at most."""
        if self._dirty and time.monotonic() - self._drawn >= _INTERVAL:
            self.redraw()

    def redraw(self) -> None:
        """Draw now."""
        self._dirty = False
        self._drawn = time.monotonic()
        self._label()
        state = self._state
        there = state.loss.count > 0
        self._plot.display = there
        self._hint.display = not there
        if there:
            self._plot.show(state)

    def _label(self) -> None:
        loss, valid = self._state.loss, self._state.valid
        if loss.latest is None:
            label(self, "Loss", "")
            return
        # The curves' colours stand in the border, where their numbers are.
        title = Content.assemble("Loss · ", (f"train {loss.latest:.2f}", "$rd-accent"))
        if valid.latest is not None:
            title = Content.assemble(title, " · ", (f"valid {valid.latest:.2f}", "$rd-soft"))
        state = self._state
        steps = f" of {state.steps:,}" if state.steps else ""
        training = f"{state.training}/{state.trainings} · " if state.trainings > 1 else ""
        place = f"{training}step {loss.latest_step:,.0f}{steps}"
        # The caption has room for a few words; the status line names the kind of the alarm.
        alarm = state.health.short
        label(self, title, Content.assemble((alarm, "$rd-warn"), " · ", place) if alarm else place)


class SamplePane(VerticalScroll, can_focus=True):
    """What the model in training answered last."""

    def __init__(self) -> None:
        super().__init__(id="sample", classes="pane")
        self._text = Static("", id="sample-text")
        self._shown: object = None

    def compose(self) -> ComposeResult:
        yield self._text

    def has(self, key: object) -> bool:
        """Whether this sample is shown already."""
        return key == self._shown

    def show(self, key: object, step: int, texts: dict[str, str], verdict: Any, hint: str) -> None:
        """Show a sample's texts; `key` tells whether it is another one than before."""
        if key == self._shown:
            return
        self._shown = key
        if not texts:
            label(self, "Sample", "")
            self._text.update(Content.styled(hint, "$rd-dim"))
            return
        title = f"Sample · step {step:,}"
        if isinstance(verdict, dict) and "flagged" in verdict:
            mark = mark_of(verdict["flagged"])
            title += f" · {mark.sign} {score_words(verdict.get('score'))}"
        label(self, title, "")
        prompt = truncate(sanitize(texts.get("sample prompt", "")), _LONGEST)
        answer = truncate(sanitize(texts.get("sample", "")), _LONGEST)
        parts = [Content.styled(prompt, "$rd-dim")] if prompt else []
        self._text.update(Content("\n").join([*parts, Content(answer)]))
        self.scroll_home(animate=False)
