"""Widgets of one or a few lines that are drawn from pieces with roles: status line, tab line, footer."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from tui.views.pieces import Pieces
from tui.widgets.role_styles import RoleWidget


class LineWidget(RoleWidget):
    """A widget that draws `lines(width)`; call `refresh()` when they change."""

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
        base = self.base_style
        lines = self.lines(width)
        if y >= len(lines):
            return Strip.blank(width, base)
        segments = [Segment(text, base + self.role_style(role)) for text, role in lines[y] if text]
        return Strip(segments).adjust_cell_length(width, base)
