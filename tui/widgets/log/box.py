"""The log with its border, and the field to search in it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from tui.widgets.border import label
from tui.widgets.log.pane import LogView
from tui.widgets.log.store import LogStore


class SearchField(Input):
    """Where the words to search for are typed."""

    BINDINGS: ClassVar = [("escape", "leave", "Close")]

    def action_leave(self) -> None:
        """Close the field; the search stays."""
        self.post_message(Input.Submitted(self, self.value))


class LogBox(Vertical):
    """The log with its border and the field to search in it."""

    def __init__(self, store: LogStore, verbosity: int) -> None:
        super().__init__(id="log", classes="pane")
        self.view = LogView(store, verbosity)
        self.field = SearchField(placeholder="Search the log; Enter finds, empty ends", id="search")
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
        self.field.remove_class("-open")
        self.view.focus()
        self.view.search(event.value.strip())
