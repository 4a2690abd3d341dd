"""Which frames the app sends to its terminal, and how much of them.

Textual sends whole regions; here only the cells that change go out, and nothing while the terminal takes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual._compositor import CompositorUpdate
from textual.geometry import Offset, Size

from tui.terminal.frame_diff import Cells, Picture


class Frames:
    """What the terminal shows, as far as frames were sent.

    Args:
        color_system: of the console, as Rich knows it.
        is_congested: whether the terminal takes less than it is sent.
        schedule: calls a function a little later, and draws the screen again where that returns True.
    """

    def __init__(
        self,
        color_system: Any,
        is_congested: Callable[[], bool],
        schedule: Callable[[Callable[[], bool]], None],
    ) -> None:
        self._picture = Picture(color_system)
        self._is_congested = is_congested
        self._schedule = schedule
        self._cursor_sent: Offset | None = None
        self._dirty = False

    def forget(self) -> None:
        """The terminal may show anything now; the next frames are sent whole."""
        self._picture.forget()

    def reduced(self, renderable: Any, size: Size, cursor: Offset) -> Any:
        """What to send in place of a frame; None for nothing."""
        if not isinstance(renderable, CompositorUpdate):
            return renderable
        if self._is_congested():
            self._schedule_flush()
            return None
        cells = self._picture.changes(renderable, *size)
        if cells is None:
            self._picture.forget()
            return renderable
        if not cells and cursor == self._cursor_sent:
            return None
        self._cursor_sent = cursor
        return Cells(cells)

    def _schedule_flush(self) -> None:
        """Leave frames out until the terminal takes them again, then send one whole."""
        self._picture.forget()
        if not self._dirty:
            self._dirty = True
            self._schedule(self._flush)

    def _flush(self) -> bool:
        """Whether a whole frame can be sent now; tries again later where it cannot."""
        self._dirty = False
        if self._is_congested():
            self._schedule_flush()
            return False
        return True
