"""Jump mode: a letter over each pane and field of the screen below; the letter puts the focus there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.errors import NoWidget
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from tui.screens.dialog import ClosesOnce

_LETTERS = "asdfghjklqwertyuiopzxcvbnm"


def targets(screen: Screen[Any]) -> dict[str, Widget]:
    """Letter -> what can have the focus and is in sight, in the order of Tab."""
    seen = [widget for widget in screen.focus_chain if screen.region.overlaps(_place(screen, widget))]
    return dict(zip(_LETTERS, seen, strict=False))


def _place(screen: Screen[Any], widget: Widget) -> Region:
    """Where the widget is seen; nowhere before the screen was laid out."""
    try:
        return screen.find_widget(widget).visible_region
    except NoWidget:
        return Region()


class Jump(ClosesOnce, ModalScreen[Widget | None]):
    """The letters. Any other key closes them.

    Args:
        below: the screen that they are over.
        found: of `targets`.
    """

    def __init__(self, below: Screen[Any], found: Mapping[str, Widget]) -> None:
        super().__init__()
        self._below = below
        self._targets = found
        self._size_below = below.size

    def compose(self) -> ComposeResult:
        for letter, widget in self._targets.items():
            tag = Static(f" {letter} ", classes="tag", markup=False)
            tag.styles.offset = _place(self._below, widget).offset
            yield tag

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.dismiss(self._targets.get(event.key))

    def on_click(self) -> None:
        self.dismiss(None)

    def on_resize(self, event: events.Resize) -> None:
        # The panes are elsewhere now.
        if event.size != self._size_below:
            self.dismiss(None)
