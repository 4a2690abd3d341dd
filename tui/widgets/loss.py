"""The loss curve while a model learns, and the newest sample of what it writes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static
from textual_plotext import Plot

from engine.runs.state import RunState
from engine.text import sanitize, truncate
from tui.views.formatting import mark_of, score_words
from tui.widgets.border import label

_INTERVAL = 0.25
"""Seconds between two drawings: a curve that changes faster is not seen, but sent."""

_LONGEST = 20_000


class Chart(Widget):
    """The library's plot in the colours that the pane gives it; its own widget would put its theme over them."""

    def __init__(self, sized: Callable[[], None]) -> None:
        super().__init__(id="loss-plot")
        self.plt: Any = Plot()
        self._sized = sized

    def on_resize(self) -> None:
        # A plot that was hidden had no size to be drawn for.
        self._sized()

    def render(self) -> Text:
        """The plot as it was last drawn into, at the widget's size."""
        width, height = self.size
        self.plt.plotsize(width, height)
        # As the library's own widget does: without it a plot keeps its first size.
        self.plt._set_size(width, height)
        return Text.from_ansi(self.plt.build())


class LossPane(Vertical, can_focus=True):
    """Train and validation loss over steps."""

    def __init__(self) -> None:
        super().__init__(id="loss-chart", classes="pane")
        self._state = RunState()
        self._plot = Chart(self.redraw)
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
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self.redraw())
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
        size = self._plot.size
        if not there or size.width < 8 or size.height < 3:
            return
        self._draw(size.width)
        self._plot.refresh()

    def _draw(self, width: int) -> None:
        state, plot = self._state, self._plot.plt
        colors = {name: Color.parse(self.app.theme_variables[f"rd-{name}"]).rgb for name in _COLORS}
        first, last = state.loss.steps
        last = max(last, float(state.steps), first + 1)
        plot.clear_figure()
        plot.theme("clear")
        plot.canvas_color(colors["background"])
        plot.axes_color(colors["background"])
        plot.ticks_color(colors["dim"])
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        columns = max(4, width - 8)
        for series, color in ((state.valid, "soft"), (state.loss, "accent")):
            if series.count:
                xs, ys = series.columns(columns, first, last)
                plot.plot(xs, ys, color=colors[color], marker="braille")
        plot.xlim(first, last)
        plot.xticks([first, last], [f"{first:.0f}", f"{last:.0f}"])
        low, high = _range(state)
        plot.ylim(low, high)
        plot.yticks([low, high], [f"{low:.2f}", f"{high:.2f}"])

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


_COLORS = ("background", "dim", "accent", "soft")


def _range(state: RunState) -> tuple[float, float]:
    ranges = [series.range for series in (state.loss, state.valid) if series.count]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if high - low < 1e-6:
        return low - 0.5, high + 0.5
    return low, high


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
