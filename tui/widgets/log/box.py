"""The log with its border, and the field to search in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from tui.keymap import Keymap
from tui.services.log_store import LogStore
from tui.views.formatting import short_name
from tui.views.pieces import clip
from tui.widgets.border import label
from tui.widgets.current_text import NowLine
from tui.widgets.log.pane import LogView

_CHIP = 24
"""Cells of a chip's text."""


class SearchField(Input):
    """Where the words to search for are typed."""

    BINDINGS: ClassVar = [("escape", "leave", "Close")]

    class Cancelled(Message):
        """The field was left without a search."""

    def action_leave(self) -> None:
        """Close the field; the search before stays."""
        self.post_message(self.Cancelled())


class LogBox(Vertical):
    """The log with its border and the field to search in it.

    Args:
        store: its records.
        verbosity: at first.
        keymap: names keys in the border.
        prompt_of: returns what is shown for the id of a prompt.
    """

    def __init__(
        self, store: LogStore, verbosity: int, keymap: Keymap, prompt_of: Callable[[str], str] = lambda item: item
    ) -> None:
        super().__init__(id="log", classes="pane")
        self._keymap = keymap
        self.prompt_of = prompt_of
        self.view = LogView(store, verbosity)
        self.field = SearchField(placeholder="Search the log; Enter finds, empty ends, Esc cancels", id="search")
        self.field.cursor_blink = False
        self.now = NowLine()

    def compose(self) -> ComposeResult:
        yield self.view
        yield self.now
        yield self.field

    def on_log_view_changed(self) -> None:
        title, subtitle = self.view.status()
        label(self, Content.assemble(title, *self._chips()), subtitle)

    def _chips(self) -> list[tuple[str, str]]:
        """The parts of the filter that are on, each with the key that changes it."""
        shown = self.view.filter
        words = shown.words.text if shown.words is not None else ""
        parts = [
            ("prompt_filter", self.prompt_of(shown.item) if shown.item else ""),
            ("stage_filter", shown.group),
            ("principle_filter", short_name(shown.principle) if shown.principle else ""),
            ("only_hits", f"“{words}”" if words else ""),
        ]
        chips: list[tuple[str, str]] = []
        for action, text in parts:
            if text:
                chips += [(" ", ""), (f" {self._keymap.shown(action)} {clip(text, _CHIP)} ", "reverse")]
        return chips

    def open_search(self) -> None:
        """Show the field and type into it."""
        self.field.add_class("-open")
        self.field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_search()
        self.view.search(event.value.strip())

    def on_search_field_cancelled(self, event: SearchField.Cancelled) -> None:
        event.stop()
        self._close_search()
        self.field.value = self.view.words.text if self.view.words is not None else ""

    def _close_search(self) -> None:
        self.field.remove_class("-open")
        self.view.focus()
