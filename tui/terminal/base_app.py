"""The app's half that knows Textual from inside: which frames are sent, what is typed, how it leaves.

Every use of a private name of Textual stands in this folder, and tests/tui/test_private_names.py holds that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from textual import events
from textual.app import App
from textual.css.query import NoMatches
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import WorkerFailed, get_current_worker

from tui.terminal.driver import ScreenDriver
from tui.terminal.frames import Frames
from tui.terminal.sanitize_filter import SanitizeFilter
from tui.terminal.shutdown import Ending, listen


class TerminalApp(App[None]):
    """An app that sends only the cells that change, shows no control characters, and leaves on signals."""

    def __init__(self) -> None:
        super().__init__(driver_class=ScreenDriver)
        self.ending = Ending.QUIT
        self._frames = Frames(self.console._color_system, self._is_congested, self._flush_later)
        self._sanitize_filter = SanitizeFilter()
        self._leaving = False
        self._typed = 0.0

    def on_mount(self) -> None:
        # Textual publishes this when a shell has brought the app back, and draws nothing by itself then.
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        listen(self.leave)

    def _handle_exception(self, error: Exception) -> None:
        # A window that was opened in the moment in which the app ends is mounted without the widgets that it looks for,
        # and a worker of a window that was closed at once (Textual's command palette) begins when they are gone.
        is_late = isinstance(error, WorkerFailed) and isinstance(error.error, NoMatches) and self._is_gone()
        if not (is_late or (isinstance(error, NoMatches) and self._exit)):
            super()._handle_exception(error)

    def _is_gone(self) -> bool:
        """Whether the widget or window of the worker that failed, in whose task this is called, was taken away."""
        node = get_current_worker().node
        if self._exit or not isinstance(node, Widget):
            return self._exit
        return not node.is_attached or node._pruning or node.screen not in self.screen_stack

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._sanitize_filter]

    # What it looks like

    def begin_with_theme(self, name: str) -> None:
        """Take a registered theme before anything is styled: taken later, it has the style sheet read and each widget
        styled a second time."""
        self.set_reactive(App.theme, name)
        dark = self.current_theme.dark
        self.update_classes({f"-theme-{name}": True, "-dark-mode": dark, "-light-mode": not dark}, update=False)
        self._refresh_truecolor_filter(self.ansi_theme)
        self.stylesheet.set_variables(self.get_css_variables())

    # What is sent

    def forget_picture(self) -> None:
        """The terminal may show anything now; the next frames are sent whole."""
        self._frames.forget()

    def action_redraw(self) -> None:
        self.forget_picture()
        self.screen.refresh(layout=True)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        # Frames that Textual would not send are left to it, since what is not sent must not be taken for shown.
        sends = self._running and not self._closed and not self.is_headless and not self._batch_count
        if sends and self._driver is not None:
            cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
            renderable = self._frames.reduced(renderable, self.size, cursor)
        if renderable is not None:
            super()._display(screen, renderable)

    def _is_congested(self) -> bool:
        return isinstance(self._driver, ScreenDriver) and self._driver.congested

    def _flush_later(self, flush: Callable[[], bool]) -> None:
        def try_again() -> None:
            if flush():
                self.screen.refresh()

        self.set_timer(0.1, try_again)

    def put_on_clipboard(self, text: str, sequence: str) -> None:
        """Copy a text: within the app, and with this escape sequence to the terminal's clipboard."""
        self._clipboard = text
        if self._driver is not None:
            self._driver.write(sequence)

    def write_to_terminal(self, sequence: str) -> None:
        """Send an escape sequence that changes no cell."""
        if sequence and self._driver is not None:
            self._driver.write(sequence)

    def is_typed_within(self, seconds: float) -> bool:
        """Whether a key came in the last seconds."""
        return time.monotonic() - self._typed < seconds

    # How it leaves

    def leave(self, ending: Ending) -> None:
        """Leave the screen; what becomes of the run is decided after it (`tui.terminal.shutdown.finish`)."""
        self.ending = ending
        self._leaving = True
        self.exit()

    def terminal_lost(self) -> None:
        """The terminal is gone."""
        self.leave(Ending.HUNG_UP)

    async def on_event(self, event: events.Event) -> None:
        """Handle an event; once the app leaves, what was typed before that is dropped, so that leaving overtakes it."""
        if isinstance(event, events.Key):
            self._typed = time.monotonic()
        ends = self._leaving or self._exit  # from then on there may be no screen that takes it
        if not (ends and isinstance(event, events.InputEvent | events.Paste)):
            await super().on_event(event)
