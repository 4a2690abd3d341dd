"""Which frames the app sends to its terminal, and how much of them.

Textual sends whole regions; here only the cells that change go out, and nothing while the terminal takes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual._compositor import CompositorUpdate

from tui.terminal.frame_diff import Cells, Picture

if TYPE_CHECKING:
    from tui.app import RedraftApp


class Frames:
    """What the terminal shows, as far as frames were sent.

    Args:
        app: whose frames they are.
    """

    def __init__(self, app: RedraftApp) -> None:
        self._app = app
        self._picture = Picture(app.console._color_system)
        self._cursor_sent: Any = None
        self._owing = False

    def forget(self) -> None:
        """The terminal may show anything now; the next frames are sent whole."""
        self._picture.forget()

    def reduced(self, renderable: Any) -> Any:
        """What is to be sent in the place of a frame; None for nothing."""
        app = self._app
        if not isinstance(renderable, CompositorUpdate):
            return renderable
        if self._congested:
            self._owe()
            return None
        cells = self._picture.changes(renderable, *app.size)
        if cells is None:
            self._picture.forget()
            return renderable
        cursor = app.screen.outer_size.clamp_offset(app.cursor_position)
        if not cells and cursor == self._cursor_sent:
            return None
        self._cursor_sent = cursor
        return Cells(cells)

    @property
    def _congested(self) -> bool:
        return bool(getattr(self._app._driver, "congested", False))

    def _owe(self) -> None:
        """The terminal takes nothing for now: leave frames out until it does, then send one whole."""
        self._picture.forget()
        if not self._owing:
            self._owing = True
            self._app.set_timer(0.1, self._pay)

    def _pay(self) -> None:
        self._owing = False
        if self._congested:
            self._owe()
        else:
            self._app.screen.refresh()
