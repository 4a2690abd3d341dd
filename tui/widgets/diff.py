"""Base and trained answer of one comparison, side by side where there is room, with the words that changed marked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.strip import Strip
from textual.widget import Widget

from engine.runs.state import Compared, RunState
from engine.text import sanitize, truncate
from engine.textdiff.diff import AlignedDiff, diff_texts
from tui.keymap import DIFF, bindings
from tui.services.log_store import LogStore
from tui.views.formatting import count, mark_of, score_words, short_name
from tui.views.log_layout import Line
from tui.views.pieces import clip
from tui.views.side_by_side import beside, stacked
from tui.widgets.border import label

BESIDE = 100
"""Cells of the pane from which on the answers stand side by side."""

_LONGEST = 50_000


class DiffColumn(Widget):
    """One answer's lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"diff--{role}" for role in ("text", "gone", "new", "gone-part", "new-part", "dim")
    }
    ALLOW_SELECT = False

    def __init__(self, name: str) -> None:
        super().__init__(id=f"diff-{name}", classes="pane")
        self.lines: list[Line] = []
        self.first = 0
        self.hint = ""

    def show(self, lines: list[Line], first: int, hint: str = "") -> None:
        """Draw these lines from the line `first` on; `hint` where there are none."""
        self.lines, self.first, self.hint = lines, first, hint
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, base = self.content_size.width, self.rich_style
        if not self.lines and self.hint and y == 0:
            style = base + self.get_component_rich_style("diff--dim", partial=True)
            return Strip([Segment(clip(self.hint, width), style)]).adjust_cell_length(width, base)
        index = self.first + y
        if index >= len(self.lines):
            return Strip.blank(width, base)
        segments = [
            Segment(piece.text, base + self.get_component_rich_style(f"diff--{piece.role}", partial=True))
            for piece in self.lines[index]
        ]
        return Strip(segments).adjust_cell_length(width, base)


class DiffPane(Container, can_focus=True):
    """The comparison that is looked at, among all there are."""

    BINDINGS = bindings(DIFF)

    def __init__(self) -> None:
        super().__init__(id="diff")
        self.base = DiffColumn("base")
        self.trained = DiffColumn("trained")
        self.by_change = True
        self._state = RunState()
        self._store = LogStore()
        self._item: Compared | None = None
        self._diff: AlignedDiff | None = None
        self._first = 0
        self._key: object = None
        self._chosen = False

    def compose(self) -> ComposeResult:
        yield self.base
        yield self.trained

    @property
    def current(self) -> Compared | None:
        """The comparison that is shown."""
        return self._item

    def show(self, state: RunState, store: LogStore) -> None:
        """Tell of this run's comparisons; the one that is looked at stays."""
        if state is not self._state:
            self._item = self._diff = self._key = None
            self._chosen = False
        self._state, self._store = state, store
        if not self._chosen and state.comparisons:
            # Until a person looks at one, the one that changed most is shown.
            self._item = self._order()[0]
        self._present()

    def step(self, step: int) -> None:
        """Look at the next or previous comparison."""
        order = self._order()
        if order:
            at = order.index(self._item) if self._item in order else -step
            self._item = order[(at + step) % len(order)]
            self._chosen = True
            self._first = 0
            self._present()

    def toggle_order(self) -> None:
        """Sort by change, or as they came."""
        self.by_change = not self.by_change
        self._label()

    def _order(self) -> list[Compared]:
        return self._state.by_change if self.by_change else self._state.comparisons

    def _present(self) -> None:
        self._label()
        item = self._item
        key = (id(self._state), item.event) if item else None
        if key == self._key:
            return
        self._key = key
        self._diff = None
        if item is None:
            self._lay_out()
        else:
            self.run_worker(self._compute(item, key), exclusive=True, group="diff")

    async def _compute(self, item: Compared, key: object) -> None:
        texts = self._store.event(item.event).texts
        base, trained = (truncate(sanitize(str(texts.get(name, ""))), _LONGEST) for name in ("base", "trained"))
        diff = await asyncio.to_thread(diff_texts, base, trained)
        if key == self._key:
            self._diff = diff
            self._label()
            self._lay_out()

    def on_focus(self) -> None:
        self._chosen = self._item is not None

    def on_resize(self) -> None:
        self.set_class(self.size.width < BESIDE, "-stacked")
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        diff = self._diff
        if diff is None:
            hint = "" if self._item else "Answers of the base and the trained model come here when a run compares them."
            self.base.show([], 0, hint)
            self.trained.show([], 0)
            return
        left, right = max(8, self.base.content_size.width), max(8, self.trained.content_size.width)
        if self.has_class("-stacked"):
            ours, theirs = stacked(diff, left)
        else:
            ours, theirs = beside(diff, left, right)
        self._first = max(0, min(self._first, max(len(ours), len(theirs)) - 1))
        self.base.show(ours, min(self._first, max(0, len(ours) - 1)), "(no text)")
        self.trained.show(theirs, min(self._first, max(0, len(theirs) - 1)), "(no text)")

    def _label(self) -> None:
        item, order = self._item, self._order()
        if item is None:
            label(self.base, "Base")
            label(self.trained, "Trained")
            return
        place = order.index(item) + 1 if item in order else 0
        total = len(order)
        sorting = "sorted by change" if self.by_change else "as they came"
        kind = "benign" if item.benign else "held out"
        label(self.base, f"Base · {_verdict(item.base)}", f"{place:>{len(str(total))}} of {total} · {kind} · {sorting}")
        changes = " · ".join(sanitize(change) for change in item.changes[:3])
        if self._diff is not None and self._diff.truncated:
            changes = f"{changes} · diff cut short" if changes else "diff cut short"
        label(self.trained, f"Trained · {_verdict(item.trained)}", changes or count(item.changed, "word") + " changed")

    def action_line(self, lines: int) -> None:
        self._first += lines
        self._lay_out()

    def action_page(self, pages: int) -> None:
        self._first += pages * max(1, self.base.content_size.height - 1)
        self._lay_out()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_line(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_line(-3)


def _verdict(verdict: Mapping[str, Any]) -> str:
    mark = mark_of(verdict.get("flagged"))
    broken = verdict.get("broken") or ()
    names = ", ".join(short_name(str(name)) for name in broken) if isinstance(broken, list | tuple) else ""
    return f"{score_words(verdict.get('score'))} {mark.sign} {names or mark.word}"
