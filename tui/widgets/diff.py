"""Two texts of one prompt, the question above them: base and trained answer, or the two sides of a preference pair.

Side by side where there is room, with the words that changed marked, the words that rules matched underlined, and what
was found below each. The principles are always in sight; further comparisons are listed where lines are left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from engine.runs.arms import ARMS
from engine.runs.state import Compared, Order, RunState
from engine.text import sanitize
from tui.keymap import DIFF, bindings
from tui.services.log_store import LogStore
from tui.services.workers import start_worker
from tui.views.comparison import Side, below, main_text, plain, principles, question, row, title
from tui.views.formatting import count
from tui.views.log_layout import Line
from tui.views.pieces import Pieces, clip
from tui.views.side_by_side import Mode, beside, changed_at, minimap, stacked
from tui.widgets.border import label
from tui.widgets.lines import LineWidget
from tui.widgets.role_styles import RoleWidget

if TYPE_CHECKING:
    from engine.textdiff.diff import AlignedDiff

BESIDE = 100
"""Cells of the pane from which on the texts stand side by side."""

_MAP = 2
"""Cells at the right of a text for the minimap."""
_QUESTION = 3
"""Lines of the question at most."""
_LISTED = 4
"""Lines that have to be left for the list of further comparisons."""


class DiffColumn(RoleWidget):
    """One text's lines, with a minimap of where they changed at the right."""

    ROLE_KIND = "diff"
    ALLOW_SELECT = False

    def __init__(self, side: int) -> None:
        super().__init__(id=f"diff-{('base', 'trained')[side]}", classes="pane")
        self.side = side
        self.lines: list[Line] = []
        self.first = 0
        self.hint = ""
        self._foot: list[Line] = []
        self._signs: list[str] = []
        self._map: tuple[int, list[tuple[str, bool]]] = (0, [])

    @property
    def text_width(self) -> int:
        """Cells of a line of the text."""
        return max(8, self.content_size.width - _MAP)

    @property
    def text_height(self) -> int:
        """Lines for the text, above those that do not move."""
        height = self.content_size.height
        return height - len(self._foot) if height > len(self._foot) + 1 else height

    def show(self, lines: list[Line], first: int, hint: str = "", foot: Sequence[Line] = ()) -> None:
        """Draw these lines from the line `first` on; `hint` where there are none; `foot` at the bottom always, where
        two lines are left above it."""
        self.lines, self.first, self.hint, self._foot = lines, first, hint, [*foot]
        self._signs = [changed_at(line) for line in lines]
        self._map = (0, [])
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, base = self.content_size.width, self.base_style
        if not self.lines and self.hint and y == 0:
            return Strip([Segment(clip(self.hint, width), base + self.role_style("dim"))]).adjust_cell_length(
                width, base
            )
        height = self.text_height
        if y >= height:
            return self._drawn(self._foot[y - height] if y - height < len(self._foot) else (), width)
        index = self.first + y
        strip = self._drawn(self.lines[index] if index < len(self.lines) else (), max(0, width - 1))
        if self._map[0] != height:
            self._map = (height, minimap(self._signs, height, self.first))
        sign, shown = self._map[1][y]
        return Strip([*strip, Segment(sign, base + self.role_style("strong" if shown else "dim"))])

    def _drawn(self, line: Line, width: int) -> Strip:
        base = self.base_style
        segments = [Segment(piece.text, base + self.role_style(piece.role)) for piece in line]
        return Strip(segments).adjust_cell_length(width, base)


class Question(LineWidget):
    """The prompt that both texts answer."""

    def __init__(self) -> None:
        super().__init__(id="diff-question")
        self._prompt = ""
        self._rows = 1

    def show(self, prompt: str, rows: int) -> None:
        """Show a prompt on at most this many lines."""
        self._prompt, self._rows = prompt, rows
        self.styles.height = max(1, len(self.lines(self.size.width or 80))) if prompt else 0
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        return question(self._prompt, width, self._rows)


class Further(LineWidget):
    """The comparisons after the one that is looked at, a line each; a click goes there."""

    class Chosen(Message):
        """A line was clicked: the comparison this many after the current one."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self) -> None:
        super().__init__(id="diff-further")
        self._rows: list[tuple[Compared, int, str]] = []

    def show(self, rows: list[tuple[Compared, int, str]]) -> None:
        """List these: comparison, place in the order, prompt."""
        self._rows = rows
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        found: list[Pieces] = [[(" next", "dim")]]
        return [*found, *(row(compared, place, prompt, width) for compared, place, prompt in self._rows)]

    def on_click(self, event: events.Click) -> None:
        if 0 < event.y <= len(self._rows):
            self.post_message(self.Chosen(event.y))


class DiffPane(Container, can_focus=True):
    """The comparison that is looked at, among all there are."""

    BINDINGS = bindings(DIFF)

    def __init__(self) -> None:
        super().__init__(id="diff")
        self.base, self.trained = self._columns = DiffColumn(0), DiffColumn(1)
        self.order = Order.CHANGE
        self.mode = Mode.WORDS
        self.pairs = False
        """Whether preference pairs are shown instead of answers."""
        self.side = 1
        """The side that keys act on: 0 left, 1 right."""
        self._question = Question()
        self._further = Further()
        self._sides: tuple[Side, Side] | None = None
        self._state = RunState()
        self._store = LogStore()
        self._item: Compared | None = None
        self._prompt = ""
        self._diff: AlignedDiff | None = None
        self._first = 0
        self._key: object = None
        self._listed: object = None
        self._records: tuple[int, int] | None = None
        """The two records of the log that are compared instead."""
        self._chosen = False

    def compose(self) -> ComposeResult:
        yield self._question
        yield Container(self.base, self.trained, id="diff-sides")
        yield self._further

    @property
    def current(self) -> Compared | None:
        """The comparison that is shown."""
        return self._item

    @property
    def compares_records(self) -> bool:
        """Whether two records of the log are compared."""
        return self._records is not None

    @property
    def judged(self) -> tuple[str, Side] | None:
        """The prompt, and the side that keys act on; None where nothing is shown."""
        return (self._prompt, self._sides[self.side]) if self._sides is not None else None

    def copied(self) -> str:
        """The question and both texts as text."""
        return plain(self._sides, self._prompt) if self._sides is not None else ""

    def show(self, state: RunState, store: LogStore) -> None:
        """Show this run's comparisons; the one that is looked at stays."""
        if state is not self._state:
            self._item = self._diff = self._key = self._sides = self._listed = self._records = None
            self._chosen = self.pairs = False
        self._state, self._store = state, store
        if not self._chosen and self._order():
            # Until the user looks at one, the first in the order is shown.
            self._item = self._order()[0]
        self._present()

    def step(self, step: int) -> None:
        """Look at the next or previous comparison."""
        order = self._order()
        if order:
            at = order.index(self._item) if self._item in order else -step
            self._look_at(order[(at + step) % len(order)])

    def look_at(self, item: Compared) -> None:
        """Look at this comparison of answers."""
        self.pairs = False
        self._look_at(item)

    def next_order(self) -> str:
        """Sort in the next order; returns how it is called."""
        orders = list(Order)
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self._label()
        self._list()
        return self.order.value

    def next_mode(self) -> str:
        """Mark words, whole sentences, or show changed sentences only; returns how it is called."""
        modes = list(Mode)
        self.mode = modes[(modes.index(self.mode) + 1) % len(modes)]
        self._label()
        self._lay_out()
        return self.mode.value

    def toggle_pairs(self) -> bool:
        """Show preference pairs instead of answers, or answers again; returns whether there are any to show."""
        if not (self._state.comparisons if self.pairs else self._state.pairs):
            return False
        self.pairs = not self.pairs
        self._chosen = True
        self._look_at(self._order()[0])
        return True

    def compare_records(self, first: int, second: int) -> bool:
        """Compare the texts of two records of the log; returns whether both have one."""
        found = [main_text(self._store.event(number)) for number in (first, second)]
        if not all(text for _, text in found):
            return False
        names = found[0][0], found[1][0]
        self._records = first, second
        self._look_at(Compared("", second, names, note=f"records {first:,} and {second:,}"))
        return True

    def _look_at(self, item: Compared) -> None:
        if item.item:
            self._records = None
        self._item = item
        self._chosen = True
        self._first = 0
        self._present()

    def _order(self) -> list[Compared]:
        return self._state.ordered(self.order, pairs=self.pairs)

    def _present(self) -> None:
        self._label()
        item = self._item
        key = (id(self._state), item.event, self._records) if item else None
        if key == self._key:
            self._list()
            return
        self._key = key
        self._diff = self._sides = None
        if item is None:
            self._lay_out()
        else:
            start_worker(self, self._compute, item, key, exclusive=True, group="diff")

    async def _compute(self, item: Compared, key: object) -> None:
        numbers = self._records or (item.event, item.event)
        records = [self._store.event(number) for number in numbers]
        verdicts = [
            self._verdict(number, known) for number, known in zip(item.verdicts, (item.base, item.trained), strict=True)
        ]
        called = dict(zip(ARMS, self._state.arms, strict=True))
        left, right = (
            Side.of(called.get(name, name), str(record.texts.get(name, "")), verdict, reasoning, name in item.cut)
            for record, name, (verdict, reasoning) in zip(records, item.names, verdicts, strict=True)
        )
        diff = await asyncio.to_thread(_diff_texts, left.text, right.text)
        if key == self._key:
            self._prompt = next((str(r.texts["prompt"]) for r in records if r.texts.get("prompt")), "")
            self._sides, self._diff = (left, right), diff
            self._label()
            self._lay_out()

    def _verdict(self, number: int, known: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """The whole verdict, and its reasoning where its record has one."""
        if number < 0:
            return known, ""
        record = self._store.event(number)
        return record.data or known, str(record.texts.get("reasoning") or "")

    def on_focus(self) -> None:
        self._chosen = self._item is not None
        self._label()

    def on_blur(self) -> None:
        self._label()

    def on_resize(self) -> None:
        self.set_class(self.size.width < BESIDE, "-stacked")
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        diff, sides = self._diff, self._sides
        if diff is None or sides is None:
            hint = "" if self._item else "Answers of the base and the trained model come here when a run compares them."
            self._question.show("", 1)
            self.base.show([], 0, hint)
            self.trained.show([], 0)
            self._list()
            return
        self._question.show(self._prompt, _QUESTION if self.size.height >= 12 else 1)
        left, right = self.base.text_width, self.trained.text_width
        highlights = sides[0].highlights, sides[1].highlights
        if self.has_class("-stacked"):
            ours, theirs = stacked(diff, left, self.mode, highlights)
        else:
            ours, theirs = beside(diff, left, right, self.mode, highlights)
        ours, theirs = [*ours, *below(sides[0], left)], [*theirs, *below(sides[1], right)]
        feet = principles(sides, [column.content_size.width for column in self._columns])
        self._first = max(0, min(self._first, max(len(ours), len(theirs)) - 1))
        self._fit(len(ours) + len(feet[0]), len(theirs) + len(feet[1]))
        for column, lines, foot in zip(self._columns, (ours, theirs), feet, strict=True):
            column.show(lines, min(self._first, max(0, len(lines) - 1)), "(no text)", foot)
        self._list()

    def _fit(self, left: int, right: int) -> None:
        """Give each text the lines that it needs, and where lines are left, list further comparisons below.

        Args:
            left, right: lines of the texts.
        """
        question = self._question.styles.height
        room = self.size.height - int(question.value if question else 0)
        above, below = left + 2, right + 2
        is_stacked = self.has_class("-stacked")
        needed = above + below if is_stacked else max(above, below)
        self._further.display = listed = room - needed >= _LISTED
        sides = self.query_one("#diff-sides")
        if listed:
            sides.styles.height = needed
        else:
            _free_height(sides)
        if is_stacked:
            half = room // 2
            self.base.styles.height = above if listed else max(min(above, half), min(above, room - below))
        else:
            _free_height(self.base)

    def _list(self) -> None:
        if not self._further.display or self._item is None:
            return
        order = self._order()
        key = (self._item.event, self.order, self.pairs, len(order), self.size.height)
        if key == self._listed:
            return
        self._listed = key
        at = order.index(self._item) if self._item in order else -1
        rows: list[tuple[Compared, int, str]] = []
        for place in range(at + 1, min(len(order), at + self.size.height)):
            item = order[place]
            rows.append((item, place + 1, str(self._store.event(item.event).texts.get("prompt", ""))))
        self._further.show(rows)

    def on_further_chosen(self, event: Further.Chosen) -> None:
        event.stop()
        self.step(event.step)

    def _label(self) -> None:
        item, sides = self._item, self._sides
        if item is None:
            label(self.base, self._state.arms[0].capitalize())
            label(self.trained, self._state.arms[1].capitalize())
            return
        if sides is None:
            return
        highest = self._state.max_score
        marks = ["▸ " if self.side == number and self.has_focus else "" for number in (0, 1)]
        label(self.base, marks[0] + title(sides[0], highest), self._place(item))
        label(self.trained, marks[1] + title(sides[1], highest), self._changes(item))

    def _place(self, item: Compared) -> str:
        """Which of the compared prompts is shown, of what kind, in which order and mode."""
        kind = sanitize(item.note) if item.note else "benign" if item.benign else "held out"
        mode = "" if self.mode is Mode.WORDS else f" · {self.mode.value}"
        if self._records is not None:
            return f"{kind}{mode}"
        order = self._order()
        place = order.index(item) + 1 if item in order else 0
        total = len(order)
        return f"{place:>{len(str(total))}} of {total} · {kind} · {self.order.value}{mode}"

    def _changes(self, item: Compared) -> str:
        """The kinds of change, or else how many words differ."""
        changes = " · ".join(sanitize(change) for change in item.changes[:3])
        diff = self._diff
        if diff is not None and not changes:
            changes = count(diff.changed_words_left + diff.changed_words_right, "word") + " changed"
        if diff is not None and diff.truncated:
            changes = f"{changes} · diff cut short"
        return changes

    def action_side(self, side: int) -> None:
        self.side = side
        self._label()

    def action_line(self, lines: int) -> None:
        self._first += lines
        self._lay_out()

    def action_page(self, pages: int) -> None:
        self._first += pages * max(1, self.base.text_height - 1)
        self._lay_out()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_line(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_line(-3)


def _diff_texts(left: str, right: str) -> AlignedDiff:
    from engine.textdiff.diff import diff_texts  # its libraries are loaded in the thread, with the first comparison

    return diff_texts(left, right)


def _free_height(widget: Widget) -> None:
    """Let the style sheet say the height again. Textual's `clear_rule` would not lay the widget out anew."""
    if widget.styles.inline.has_rule("height"):
        widget.styles.height = None
