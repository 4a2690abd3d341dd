"""The log pane: draws the lines of the journal's records that stand in the window, and nothing else.

A Line API widget that moves by places (`tui.widgets.log.viewport`) instead of a ScrollView, because the height of
everything above the window is never known: it would have to be laid out.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import replace
from typing import TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip

from engine.events.verbosity import entry
from engine.text import percent
from tui.keymap import LOG, bindings
from tui.services.log_filter import TARGETS, LogFilter
from tui.services.log_search import Filter, Matcher, Scan, Words
from tui.services.log_store import LogStore
from tui.views.formatting import count
from tui.views.log_layout import Line, Piece
from tui.views.wrap import wrap
from tui.widgets.log.layout_cache import Layouts
from tui.widgets.log.viewport import Row, Viewport
from tui.widgets.role_styles import RoleWidget

_SLICE = 0.012
"""Seconds of searching at a time; keys are served in between."""

Hint: TypeAlias = tuple[str | tuple[str, str], ...]
"""What an empty log says: sentences, and keys with what each does."""

_KEY = 6
"""Cells of a key before what it does."""


def _hint_lines(hint: str | tuple[str, str], width: int) -> list[Line]:
    if isinstance(hint, str):
        return [(Piece(hint[start:end], "label"),) for start, end in wrap(hint, width)] or [()]
    key, does = hint
    heads = [Piece(key.ljust(_KEY), "heading"), Piece(" " * _KEY, "text")]
    return [
        (heads[number > 0], Piece(does[start:end], "summary"))
        for number, (start, end) in enumerate(wrap(does, max(8, width - _KEY)))
    ]


class LogView(RoleWidget, can_focus=True):
    """The window on the log."""

    BINDINGS = bindings(LOG)
    ROLE_KIND = "log"
    ALLOW_SELECT = False

    class Changed(Message):
        """What the pane's border shows has changed."""

    def __init__(self, store: LogStore, verbosity: int) -> None:
        super().__init__(id="log-view")
        self.store = store
        self.verbosity = verbosity
        self.viewport = Viewport(self._height_of)
        self.viewport.show(store.shown(verbosity))
        self.marked: int | None = None
        """The record that keys act on; None until one is marked."""
        self.words: Words | None = None
        self.search_note = ""
        self.hint: Hint = ()
        """What an empty log says."""
        self.filter = LogFilter()
        """What is shown beside the verbosity."""
        self._filter: Filter | None = None
        self._scan: Scan | None = None
        self._sought: Matcher | None = None
        self._sought_name = ""
        self._wrapped = False
        self._layouts = Layouts()
        self._rows: list[Row] | None = None
        """The lines in the window; None where they have to be looked up again."""
        self._thumb = (0, 0)

    # What is shown

    def show_store(self, store: LogStore) -> None:
        """Show another journal's records, from its end."""
        self.store = store
        self.marked = self.words = self._filter = self._scan = None
        self.filter = LogFilter()
        self.search_note = ""
        self._layouts.reset_folds()
        self.viewport.following = True
        self._reshow()

    def grown(self) -> None:
        """Records were added."""
        self.viewport.newest = len(self.store) - 1
        if self._filter is not None:
            self._fill_filter()
        self.viewport.grown()
        self._changed()

    def set_verbosity(self, verbosity: int) -> None:
        """Show more or less of all records, and keep the place."""
        if verbosity == self.verbosity:
            return
        self.verbosity = verbosity
        self._layouts.forget()
        if self.filter:
            self._filter = self._new_filter()
        self._reshow()

    def _reshow(self) -> None:
        self.viewport.newest = len(self.store) - 1
        self.viewport.show(self._filter if self._filter is not None else self.store.shown(self.verbosity))
        if self.marked is not None and not self._is_shown(self.marked):
            self.marked = None
        self._changed()

    def _is_shown(self, number: int) -> bool:
        shown = self.viewport.shown
        position = bisect_left(shown, number)
        return position < len(shown) and shown[position] == number

    def _changed(self) -> None:
        self._rows = None
        self.refresh()
        self.post_message(self.Changed())

    def set_hint(self, hint: Hint) -> None:
        """What an empty log says."""
        if hint != self.hint:
            self.hint = hint
            if not len(self.viewport.shown):
                self.refresh()

    @property
    def followed(self) -> bool:
        return self.viewport.following

    def status(self) -> tuple[str, str]:
        """Title and subtitle of the pane's border; `chips` stand between them."""
        viewport = self.viewport
        title = "Log · following" if viewport.following else "Log · not following"
        total = count(len(viewport.shown), "record")
        if self._filter is not None and not self._filter.done:
            total += f" · {percent(self._filter.share):>5} searched"
        if self.search_note:
            total = f"{self.search_note} · {total}"
        if viewport.unseen:
            total += f" · {viewport.unseen:,} new ↓"
        return title, total

    # Drawing

    def on_resize(self) -> None:
        self._layouts.colors = not self.app.has_class("-no-color")
        self._layouts.forget()
        self.viewport.height = max(1, self.size.height)
        self.viewport.relaid()
        self._changed()

    @property
    def text_width(self) -> int:
        """Cells of a line, without the scroll bar and the cell before it."""
        return max(8, self.size.width - 2)

    def _height_of(self, number: int) -> int:
        return len(self._lines(number))

    def _lines(self, number: int) -> list[Line]:
        return self._layouts.lines(self.store, number, self.verbosity, self.text_width)

    def render_line(self, y: int) -> Strip:
        if self._rows is None:
            self._rows = self.viewport.rows()
            self._thumb = self.viewport.scrollbar()
        width, base = self.size.width, self.base_style
        if not len(self.viewport.shown):
            return self._hint_line(y, width, base)
        if y >= len(self._rows):
            return Strip.blank(width, base)
        row = self._rows[y]
        lines = self._lines(row.number)
        # A record that can no longer be read may have fewer lines than when it was measured.
        pieces = lines[row.line] if row.line < len(lines) else ()
        if row.number == self.marked:
            base += self.role_style("marked")
        segments = self._segments(pieces, base)
        strip = Strip(segments).adjust_cell_length(width - 1, base)
        return Strip([*strip, self._scrollbar_cell(y)])

    def _segments(self, pieces: Line, base: Style) -> list[Segment]:
        if self.words is None:
            return [Segment(piece.text, base + self.role_style(piece.role)) for piece in pieces]
        hits = self.words.spans("".join(piece.text for piece in pieces))
        segments: list[Segment] = []
        start = 0
        for piece in pieces:
            style = base + self.role_style(piece.role)
            position, end = start, start + len(piece.text)
            for first, last in hits:
                first, last = max(first, position), min(last, end)
                if first < last:
                    segments.append(Segment(piece.text[position - start : first - start], style))
                    segments.append(Segment(piece.text[first - start : last - start], style + self.role_style("hit")))
                    position = last
            segments.append(Segment(piece.text[position - start :], style))
            start = end
        return segments

    def _scrollbar_cell(self, y: int) -> Segment:
        first, length = self._thumb
        if not length:
            return Segment(" ", self.base_style)
        inside = first <= y < first + length
        return Segment("┃" if inside else " ", self.base_style + self.role_style("thumb"))

    def _hint_line(self, y: int, width: int, base: Style) -> Strip:
        if self.verbosity == 0:
            hint: Hint = ("The log is off.", "Press 1, 2 or 3 to show it.")
        elif self._filter is not None:
            hint = (
                "No record passes the filter." if self._filter.done else "Searching …",
                "Press Esc for all records.",
            )
        else:
            hint = self.hint
        lines = [line for one in hint for line in _hint_lines(one, max(8, width - 2))]
        top = max(0, (self.size.height - len(lines)) // 3)
        pieces = lines[y - top] if 0 <= y - top < len(lines) else ()
        return Strip([Segment(" ", base), *self._segments(pieces, base)]).adjust_cell_length(width, base)

    # Moving

    def action_line(self, lines: int) -> None:
        self.viewport.move(lines)
        self._changed()

    def action_page(self, pages: int) -> None:
        self.viewport.move(pages * max(1, self.viewport.height - 1))
        self._changed()

    def action_first(self) -> None:
        self.viewport.to_start()
        self._changed()

    def action_last(self) -> None:
        self.viewport.follow(True)
        self._changed()

    def toggle_follow(self) -> None:
        """Follow the end, or stay."""
        self.viewport.follow(not self.viewport.following)
        self._changed()

    def go_to(self, number: int) -> bool:
        """Mark this record, or the nearest one shown after it, and bring it into the window."""
        shown = self.viewport.shown
        position = bisect_left(shown, number)
        if position >= len(shown):
            return False
        self.marked = shown[position]
        self.viewport.reveal(self.marked)
        self._changed()
        return True

    def action_mark(self, step: int) -> None:
        shown = self.viewport.shown
        if not len(shown):
            return
        rows = self.viewport.rows()
        if self.marked is None or self.marked not in {row.number for row in rows}:
            visible = [row.number for row in rows]
            self.go_to(visible[0] if step > 0 else visible[-1])
            return
        position = bisect_left(shown, self.marked) + step
        self.go_to(shown[max(0, min(len(shown) - 1, position))])

    def action_fold(self) -> None:
        if self.marked is None:
            top = self.viewport.top
            self.marked = top.number if top else None
        if self.marked is not None:
            self._layouts.fold(self.marked)
            self.viewport.relaid()
            self._changed()

    def action_fold_all(self) -> None:
        self._layouts.fold_all()
        self.viewport.relaid()
        self._changed()

    def copied(self) -> str:
        """The marked record (or the one at the top) as text, as it is shown, unwrapped; "" where there is none."""
        top = self.viewport.top
        number = self.marked if self.marked is not None else top.number if top else None
        shown = entry(self.store.event(number), self.verbosity) if number is not None else None
        if shown is None:
            return ""
        head = f"{shown.time} {shown.stage}  {shown.summary}".rstrip()
        return "\n\n".join([head, *(f"{part.label}:\n{part.text}" for part in shown.parts)])

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_line(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_line(-3)

    def on_click(self, event: events.Click) -> None:
        if event.x >= self.size.width - 1:
            self.viewport.to_fraction(event.y / max(1, self.size.height - 1))
        elif self._rows and 0 <= event.y < len(self._rows):
            row = self._rows[event.y]
            if row.number == self.marked and row.line == 0:
                self.action_fold()
                return
            self.marked = row.number
        self._changed()

    # Searching and filtering

    def search(self, text: str) -> None:
        """Search for these words from the window's place on; "" ends searching."""
        self._scan = None
        self.words = Words(text) if text else None
        self.search_note = ""
        if self.filter.words is not None:
            self.set_filter(replace(self.filter, words=self.words))
        elif self.words is not None:
            top = self.viewport.top
            self._begin_scan(self.words, f"“{text}”", top.number if top else 0, 1)
        else:
            self._changed()

    def next_hit(self, step: int) -> None:
        """Go to the next (1) or previous (-1) record that holds the words; goes round at the ends."""
        if self.words is None:
            return
        if self.filter.words is not None:
            self.action_mark(step)
        else:
            self._jump(self.words, f"“{self.words.text}”", step)

    def action_jump(self, name: str, step: int) -> None:
        target = TARGETS[name]
        self._jump(replace(target, within=self.filter), target.name, step)

    def _jump(self, sought: Matcher, name: str, step: int) -> None:
        top = self.viewport.top
        start = self.marked if self.marked is not None else (top.number if top else 0)
        self._begin_scan(sought, name, start + step, step)

    def _begin_scan(self, sought: Matcher, name: str, start: int, step: int) -> None:
        self._sought, self._sought_name = sought, name
        self._scan = Scan(self.store, sought, self.verbosity, start, step)
        self._wrapped = False
        self._search_on()

    def _search_on(self) -> None:
        scan, sought, name = self._scan, self._sought, self._sought_name
        if scan is None or sought is None:
            return
        hits = scan.run(_SLICE)
        if hits:
            self._scan = None
            self.search_note = name + (" from the other end" if self._wrapped else "")
            self.go_to(hits[0])
        elif not scan.done:
            self.search_note = f"searching {name} …"
            self.set_timer(0.001, self._search_on)
        elif self._wrapped:
            self._scan = None
            self.search_note = f"no {name} at this verbosity"
        else:
            self._wrapped = True
            last = len(self.store) - 1
            self._scan = Scan(
                self.store, sought, self.verbosity, 0 if scan.forward else last, 1 if scan.forward else -1
            )
            self.set_timer(0.001, self._search_on)
        self._changed()

    def toggle_filter(self) -> None:
        """Show only records that hold the words searched for, or those without them, too."""
        if self.filter.words is not None:
            self.set_filter(replace(self.filter, words=None))
        elif self.words is not None:
            self.set_filter(replace(self.filter, words=self.words))

    def set_filter(self, wanted: LogFilter) -> None:
        """Show only what this filter lets through, and keep the place."""
        self.filter = wanted
        self._filter = self._new_filter() if wanted else None
        self._reshow()

    def show_item(self, item: str) -> None:
        """Show the records of this prompt alone, from the first."""
        self.marked = None
        self.viewport.follow(False)
        self.set_filter(replace(self.filter, item=item))
        if item:
            self.viewport.to_start()
            self._changed()

    def action_story(self) -> None:
        """Show the records of the marked record's prompt alone, or all again; folds a record that has no prompt."""
        number = self.marked if self.marked is not None else self.viewport.top.number if self.viewport.top else None
        if number is None:
            return
        item = self.store.event(number).item
        if self.filter.item:
            self.set_filter(replace(self.filter, item=""))
            self.go_to(number)
        elif item:
            self.show_item(item)
            self.go_to(number)
        else:
            self.action_fold()

    def clear_filter(self) -> bool:
        """Show all records again; False where they are shown already."""
        if not self.filter:
            return False
        number = self.marked if self.marked is not None else self.viewport.top.number if self.viewport.top else None
        self.set_filter(LogFilter())
        if number is not None and not self.viewport.following:
            self.viewport.reveal(number)
            self._changed()
        return True

    def _new_filter(self) -> Filter:
        top = self.marked if self.marked is not None else self.viewport.top.number if self.viewport.top else 0
        if self.viewport.following:
            top = len(self.store)
        found = Filter(self.store, self.filter, self.verbosity, top)
        found.run(_SLICE * 4, enough=self.viewport.height)
        self.set_timer(0.001, self._fill_filter)
        return found

    def _fill_filter(self) -> None:
        found = self._filter
        if found is None or found.done:
            return
        deadline = time.perf_counter() + _SLICE
        grew = found.run(_SLICE)
        if grew or found.done:
            self.viewport.show(found)
        self._changed()
        if not found.done and time.perf_counter() >= deadline:
            self.set_timer(0.001, self._fill_filter)
