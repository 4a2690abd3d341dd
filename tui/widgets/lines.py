"""Widgets of one or a few lines that are drawn from pieces with roles: status line, tab line, footer."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tui.views.pieces import Pieces


class LineWidget(Widget):
    """A widget that draws `lines(width)`; call `refresh()` when they change."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line--{role}"
        for role in (
            *("strong", "text", "dim", "border", "key", "accent", "soft", "current", "good", "bad", "warn"),
            *("span1", "span2", "span3", "span4", "pinned"),
        )
    }
    ALLOW_SELECT = False

    def lines(self, width: int) -> list[Pieces]:
        """What is drawn, a list of pieces for each line."""
        raise NotImplementedError

    def update(self) -> None:
        """Draw again where something changed: an idle app sends no bytes."""
        lines = self.lines(self.size.width)
        if lines != getattr(self, "_drawn", None):
            self._drawn = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        lines = self.lines(width)
        if y >= len(lines):
            return Strip.blank(width, base)
        segments = [Segment(text, base + self._style(role)) for text, role in lines[y] if text]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, role: str) -> Style:
        return self.get_component_rich_style(f"line--{role}", partial=True)
