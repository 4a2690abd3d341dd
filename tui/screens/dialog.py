"""The base of every window above the run screen."""

from __future__ import annotations

from typing import Any, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

Answer = TypeVar("Answer")


class ClosesOnce:
    """Makes a screen close once, however often it is asked to.

    Keys and clicks that arrive faster than the window goes (key repeat, a lagging line) reach it after it has closed;
    Textual would then take another screen off the stack, or end the app where there is no other.

    Not a screen itself: Textual looks for styles along the first base that is one.
    """

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close with this result; does nothing where the screen is not the top one."""
        assert isinstance(self, Screen)
        if not self.is_active:
            return AwaitComplete()
        return Screen.dismiss(self, result)


class Dialog(ClosesOnce, ModalScreen[Answer | None]):
    """A window above the run screen; Esc closes it without a result."""

    def action_close(self) -> None:
        self.dismiss(None)
