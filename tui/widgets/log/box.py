"""The log with its border, and the field to search in it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from tui.services.log_store import LogStore
from tui.widgets.border import label
from tui.widgets.log.pane import LogView


class SearchField(Input):
    """Where the words to search for are typed."""

    BINDINGS: ClassVar = [("escape", "leave", "Close")]

    class Cancelled(Message):
        """The field was left without a search."""

    def action_leave(self) -> None:
        """Close the field; the search before stays."""
        self.post_message(self.Cancelled())


class LogBox(Vertical):
    """The log with its border and the field to search in it."""

    def __init__(self, store: LogStore, verbosity: int) -> None:
        super().__init__(id="log", classes="pane")
        self.view = LogView(store, verbosity)
        self.field = SearchField(placeholder="Search the log; Enter finds, empty ends, Esc cancels", id="search")
        self.field.cursor_blink = False

    def compose(self) -> ComposeResult:
        yield self.view
        yield self.field

    def on_log_view_changed(self) -> None:
        label(self, *self.view.status())

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
