"""Which panes of the run screen are in sight, and how large: all of them where there is room, else one at a time."""

from __future__ import annotations

from typing import Any

from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from tui.services.preferences import Preferences

PANES = ("log", "input", "loss", "diff")

WIDE, HIGH = 100, 28
"""Columns and lines from which on all panes are in sight."""


class PaneLayout:
    """How the panes of a run screen lie.

    Args:
        screen: whose panes they are.
        diff: the comparison's pane.
        preferences: keep the sizes that the user chose.
    """

    def __init__(self, screen: Screen[Any], diff: Widget, preferences: Preferences) -> None:
        self._screen = screen
        self._diff = diff
        self._preferences = preferences
        self._zoomed = False
        self._compares = False
        self.focused_pane = "log"
        """The pane with the focus."""

    @property
    def single(self) -> bool:
        """Whether one pane alone is in sight."""
        return self._zoomed or self._screen.has_class("-small")

    def begin(self, size: Size) -> None:
        """The screen will have this size; for before it has panes, since a class that changes later styles them all."""
        self._screen.set_class(size.width < WIDE or size.height < HIGH, "-small")
        self._screen.set_class(self.single, "-single")

    def fit(self, size: Size) -> None:
        """The screen has this size now."""
        self.begin(size)
        self.place()

    def enter(self, pane: str) -> None:
        """This pane has the focus now."""
        if pane != self.focused_pane:
            self.focused_pane = pane
            self.place()

    def zoom(self) -> None:
        """Show only the focused pane, or all again."""
        self._zoomed = not self._zoomed
        self.place()

    def compare(self, compares: bool) -> None:
        """Whether there is anything to compare, and so a pane for it."""
        if compares != self._compares:
            self._compares = compares
            self.place()

    def place(self) -> None:
        """Show the visible panes, in the sizes that the user chose as far as there is room."""
        screen, single = self._screen, self.single
        screen.set_class(single, "-single")
        for name in ("log", "input", "loss"):
            screen.query_one(f"#{name}").display = not single or self.focused_pane == name
        screen.query_one("#upper").display = not single or self.focused_pane != "diff"
        self._diff.display = self.focused_pane == "diff" if single else self._compares
        if not single:
            self._size()
            return
        for name in ("input", "loss"):
            screen.query_one(f"#{name}").styles.clear_rule("width")
        self._diff.styles.clear_rule("height")

    def _size(self) -> None:
        screen, prefs = self._screen, self._preferences.current
        width, height = screen.size
        if not width:
            return
        left = prefs.left or max(26, min(44, width * 22 // 100))
        right = prefs.right or max(30, min(60, width * 30 // 100))
        screen.query_one("#input").styles.width = min(left, width // 3)
        screen.query_one("#loss").styles.width = min(right, width // 2)
        self._diff.styles.height = min(prefs.diff or max(9, height // 3), height - 14)

    def widen(self, cells: int) -> None:
        """Make the panes next to the log wider, or narrower."""
        screen = self._screen
        left, right = (screen.query_one(f"#{name}").size.width for name in ("input", "loss"))
        if not self.single:
            self._preferences.remember(left=max(20, left + cells), right=max(24, right + cells))
            self.place()

    def resize_diff(self, lines: int) -> None:
        """Make the comparison higher, or lower."""
        if not self.single:
            self._preferences.remember(diff=max(6, self._diff.size.height + lines))
            self.place()


def pane_of(widget: Widget) -> str | None:
    """The pane that a widget is in."""
    for node in widget.ancestors_with_self:
        if node.id in PANES:
            return str(node.id)
    return None
