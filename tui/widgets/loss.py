"""The loss curve while a model learns, and the newest sample of what it writes meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.runs.series import Series
from engine.runs.state import RunState
from engine.text import sanitize, truncate
from tui.keymap import LOSS, bindings
from tui.messages import Remember
from tui.services.pinned_run import PinnedRun
from tui.views.chart import MIN_SMOOTHED, Curve, Kind, plot, plot_columns, smoothed_at, window
from tui.views.formatting import mark_of, range_text, score_words
from tui.views.pieces import Pieces, clip, width_of
from tui.widgets.border import label
from tui.widgets.lines import LineWidget

_INTERVAL = 0.25
"""Seconds between two drawings: a curve that changes faster is not seen, but sent."""

_LONGEST = 20_000
_DOTTED = {"dim": "·", "accent": "━", "soft": "○", "pinned": "╍"}
_LETTERED = {"dim": ".", "accent": "*", "soft": "o", "pinned": ":"}
"""Role of a curve -> its mark in the legend, and its letter where there are no dots."""

_MIN_PART = 6
"""Cells below which a part of the legend is left out."""

_LEGEND, _VALUES = 6, 4
"""Lines from which on one of them is the legend, or the values at the crosshair."""


_NONE = Series()


@dataclass(frozen=True)
class Measure:
    """What the chart shows: its name, its values, and the same measured on rows that are not trained on."""

    name: str
    train: Callable[[RunState], Series]
    valid: Callable[[RunState], Series] = lambda _: _NONE


MEASURES = (
    Measure("Loss", lambda state: state.loss, lambda state: state.valid),
    Measure("Reward margin", lambda state: state.margin),
)
"""What the chart can show, in order."""


def draws_braille() -> bool:
    """Whether the terminal has braille: the Linux console's font of 256 or 512 characters has not, nor has any
    encoding but UTF-8."""
    encoding = str(getattr(sys.__stdout__, "encoding", None) or "utf-8").lower()
    return os.environ.get("TERM") not in ("linux", "vt100", "vt220", "dumb") and encoding.startswith("utf")


class Chart(LineWidget):
    """The curves of a measure, drawn again where a value came, the size or what is pointed at changed."""

    def __init__(self) -> None:
        super().__init__(id="loss-plot")
        self._state = RunState()
        self._rows: list[Pieces] = []
        self._drawn_for: object = None
        self.measure = MEASURES[0]
        self.pinned = PinnedRun()
        self.crosshair: float | None = None
        """Step whose values are shown; None for none."""
        self.braille = True
        self._columns = 1

    @property
    def steps(self) -> tuple[float, float]:
        """First and last step of the axis."""
        train, state, pinned = self.measure.train(self._state), self._state, self.measure.train(self.pinned.state)
        first, last = train.steps
        return (first, max(last, float(state.steps), pinned.steps[1], first + 1))

    def show(self, state: RunState) -> None:
        """Draw this run's curves."""
        self._state = state
        train, valid = self.measure.train(state), self.measure.valid(state)
        options = (self.measure, self.pinned, self.crosshair, self.braille, self.app.has_class("-no-color"))
        key = (id(state), train.count, valid.count, state.steps, self.size, options)
        if key != self._drawn_for:
            self._drawn_for = key
            self._rows = self._draw()
            self.refresh()

    def _draw(self) -> list[Pieces]:
        width, height = self.size
        curves = self._curves()
        self._columns = plot_columns(curves, width)
        legend = self._legend(width) if height >= (_LEGEND if self.crosshair is None else _VALUES) else []
        rows = plot(curves, width, height - bool(legend), self.steps, braille=self._dotted, crosshair=self.crosshair)
        return [*([legend] if legend else []), *rows]

    @property
    def _dotted(self) -> bool:
        # Without colors letters tell several curves apart, dots do not.
        return self.braille and not self.app.has_class("-no-color")

    def _curves(self) -> list[Curve]:
        """What is drawn, the topmost last."""
        train, pinned = self.measure.train(self._state), self.measure.train(self.pinned.state)
        found = [
            Curve(pinned, "pinned", Kind.DASHED, _LETTERED["pinned"]),
            Curve(self.measure.valid(self._state), "soft", Kind.LINE, _LETTERED["soft"]),
        ]
        if train.count >= MIN_SMOOTHED:
            found.append(Curve(train, "dim", Kind.POINTS, _LETTERED["dim"]))
        return [*found, Curve(train, "accent", Kind.SMOOTH, _LETTERED["accent"])]

    def _legend(self, width: int) -> list[tuple[str, str]]:
        """What each curve is, or what it is at the crosshair; parts for which there is no room are left out."""
        parts = self._names() if self.crosshair is None else self._values(self.crosshair)
        legend: list[tuple[str, str]] = []
        marks = _DOTTED if self._dotted else _LETTERED
        for text, role in parts:
            room = width - width_of(legend)
            if room >= _MIN_PART:
                legend.append((clip(f"{marks[role]} {text}", room) + "  ", role))
        return legend

    def _names(self) -> list[tuple[str, str]]:
        span = window(self.measure.train(self._state), self._columns, self.steps)
        names = [("each step", "dim"), (f"mean of {span:,} steps", "accent")] if span > 1 else []
        return [*names, *([(self.pinned.name, "pinned")] if self.pinned.name else [])]

    def _values(self, step: float) -> list[tuple[str, str]]:
        train, valid = self.measure.train(self._state), self.measure.valid(self._state)
        pinned = self.measure.train(self.pinned.state)
        values = [(_value_text(train, step), "dim")]
        if train.count >= MIN_SMOOTHED:
            values.append((f"{smoothed_at(train, self._columns, self.steps, step):.2f}", "accent"))
        if valid.count:
            values.append((f"{_value_text(valid, step)}", "soft"))
        if pinned.count:
            values.append((_value_text(pinned, step), "pinned"))
        return values

    def move(self, columns: int) -> None:
        """Move the crosshair by so many columns, by a step at least; the first move shows it at the end."""
        first, last = self.steps
        end = self.measure.train(self._state).steps[1]
        stride = max(1.0, round((last - first) / max(1, self._columns)))
        wanted = end if self.crosshair is None else self.crosshair + columns * stride
        self.crosshair = max(first, min(last, wanted))

    def on_resize(self) -> None:
        # What was hidden had no size to be drawn for.
        self.show(self._state)

    def lines(self, width: int) -> list[Pieces]:  # noqa: ARG002 - drawn for the width before
        return self._rows


def _value_text(series: Series, step: float) -> str:
    low, high = series.at(step)
    return f"{low:.2f}" if high - low < 0.005 else range_text(f"{low:.2f}", f"{high:.2f}")


class LossPane(Vertical, can_focus=True):
    """Train and validation loss over steps.

    Args:
        letters: draw curves with letters even where the terminal has braille dots.
    """

    BINDINGS = bindings(LOSS)

    def __init__(self, letters: bool = False) -> None:
        super().__init__(id="loss-chart", classes="pane")
        self._state = RunState()
        self.plot = Chart()
        self.plot.braille = draws_braille() and not letters
        self._hint = Static("", id="loss-hint")
        self._drawn = 0.0
        self._dirty = True
        self._count: tuple[int, int, int, bool] = (-1, -1, 0, False)
        self._hinted = ""

    def compose(self) -> ComposeResult:
        yield self._hint
        yield self.plot

    def on_mount(self) -> None:
        self.plot.display = False
        self._label()

    def on_resize(self) -> None:
        self.redraw()

    def show(self, state: RunState, hint: str) -> None:
        """Show this run; `hint` is for before there is a loss."""
        count = state.loss.count, state.valid.count, len(state.health.alarms), state.health.decision is not None
        if state is not self._state or count != self._count:
            if state is not self._state:
                self.plot.crosshair, self.plot.measure = None, MEASURES[0]
            self._state, self._count, self._dirty = state, count, True
        if not count[0] and hint != self._hinted:
            self._hinted = hint
            self._hint.update(Content.styled(hint, "$rd-dim"))
        self.redraw_if_due()

    def pin(self, run: PinnedRun) -> None:
        """Draw this run's curves, too; one without a name ends that."""
        self.plot.pinned = run
        self.redraw()

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
        there = state.loss.count > 0 or self.plot.pinned.state.loss.count > 0
        self.plot.display = there
        self._hint.display = not there
        if there:
            self.plot.show(state)

    # Keys

    def action_cross(self, columns: int) -> None:
        if self._state.loss.count:
            self.plot.move(columns)
            self.redraw()

    def action_cross_end(self, end: int) -> None:
        if self._state.loss.count:
            self.plot.crosshair = self.plot.steps[0] if end < 0 else self.plot.measure.train(self._state).steps[1]
            self.redraw()

    def action_hide_cross(self) -> None:
        if self.plot.crosshair is None:
            raise SkipAction
        self.plot.crosshair = None
        self.redraw()

    def action_measure(self) -> None:
        there = [measure for measure in MEASURES if measure.train(self._state).count]
        if len(there) < 2:
            self.notify("This training has a loss only; reward margins come from preference training.", markup=False)
            return
        self.plot.measure = there[(there.index(self.plot.measure) + 1) % len(there)]
        self.redraw()

    def action_letters(self) -> None:
        self.plot.braille = not self.plot.braille
        self.post_message(Remember(letters=not self.plot.braille))
        self.redraw()

    def _label(self) -> None:
        measure = self.plot.measure
        train, valid = measure.train(self._state), measure.valid(self._state)
        if train.latest is None:
            label(self, "Loss", "")
            return
        # The curves' colors stand in the border, where their numbers are.
        title = Content.assemble(f"{measure.name} · ", (f"train {train.latest:.2f}", "$rd-accent"))
        if valid.latest is not None:
            title = Content.assemble(title, " · ", (f"valid {valid.latest:.2f}", "$rd-soft"))
        state = self._state
        steps = f" of {state.steps:,}" if state.steps else ""
        training = f"{state.training}/{state.trainings} · " if state.trainings > 1 else ""
        place = f"{training}step {train.latest_step:,.0f}{steps}"
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
        """Show a sample's texts; `key` says whether it is another one than before."""
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
