"""The last gate before the terminal: no character of any text is obeyed there, whichever pane drew it.

Panes sanitize their texts themselves; this is for one that forgets to, and for what the user types or pastes.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from engine.text import sanitize


class SanitizeFilter(LineFilter):
    """Takes control characters, and marks that turn the direction of writing, out of every segment. All of them are
    no cell wide, so nothing moves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - Textual's interface
        """The segments without them; the same list where there are none."""
        # Nearly every text is printable, and asking is a tenth of the cost of cleaning.
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [
            segment if segment.text.isprintable() else segment._replace(text=_line(segment.text))
            for segment in segments
        ]


def _line(text: str) -> str:
    return sanitize(text).replace("\n", "").replace("\t", "")
