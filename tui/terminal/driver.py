"""The terminal belongs to the screen alone while the app runs.

C libraries, tqdm and stray prints write to file descriptors 1 and 2, which would tear the picture apart. For the life
of the app both point at a log file, and the screen is drawn through a descriptor of its own.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui.terminal.notify import RESTORE_TITLE, SAVE_TITLE
from tui.terminal.typed_text import continued, join_typed_text


class Screen:
    """What the picture is written to. A terminal that is gone swallows it: Textual's writer must not die of it, or its
    queue would fill and hold up the app."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending: list[str] = []
        self.leaving = False
        """Whether the app is on its way out: then a terminal that takes nothing is waited for only a second."""

    def write(self, text: str) -> None:
        """Keep the text until the next flush."""
        self._pending.append(text)

    def flush(self) -> None:
        """Send what was written."""
        data = "".join(self._pending).encode("utf-8", "replace")
        self._pending.clear()
        waited = 0.0
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
                waited = 0.0
            except BlockingIOError:
                if self.leaving and waited >= _PATIENCE:
                    return
                select.select([], [self._descriptor], [], 0.1)
                waited += 0.1
            except OSError:
                return

    def fileno(self) -> int:
        """The terminal's descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Send the rest and let go of the terminal."""
        self.flush()
        os.close(self._descriptor)


_PATIENCE = 1.0
_CONGESTED = 12
"""Writes that wait for a terminal from which on frames are left out; Textual's queue takes 30 and then blocks."""

_BURST_GAP = 0.02
"""Seconds within which the rest of a text follows that a terminal types as fast as it can."""
_BACKLOG = 64
"""Messages that may wait for the app before reading keys stops."""

_screen: Screen | None = None
_held: tuple[int, ...] = ()
"""Descriptors of the terminal that are kept while the screen has it."""


@contextlib.contextmanager
def own_terminal(log: Path) -> Iterator[None]:
    """Keep the terminal for the screen; whatever else is written to stdout and stderr goes to the end of `log`.

    Where no log can be written, it goes nowhere. The descriptors are put back at the end.
    """
    global _screen, _held
    sys.stdout.flush()
    sys.stderr.flush()
    drawn_to = 1 if os.isatty(1) else 2
    saved = os.dup(1), os.dup(2)
    private = _own_descriptor(drawn_to)
    try:
        sink = _open_log(log)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.close(sink)
        _screen, _held = Screen(private), (*saved, private)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        _held = ()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        os.close(saved[0])
        os.close(saved[1])
        screen, _screen = _screen, None
        if screen is not None:
            screen.close()


def _own_descriptor(terminal: int) -> int:
    """Another way to the same terminal that does not block: a link that stalls must not hold up the app.

    Opened anew, because a duplicate would share that setting with the shell.
    """
    try:
        return os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return os.dup(terminal)


def shell_streams() -> tuple[int, int]:
    """Descriptors of stdout and stderr as they were before `own_terminal`: for a program that the terminal is handed
    to."""
    return (_held[0], _held[1]) if _held else (1, 2)


def release() -> None:
    """Let go of the terminal for good, in the block of `own_terminal`: stdin and what would be put back at its end lead
    nowhere from now on, stdout and stderr into the log."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, *_held):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _open_log(log: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(log, flags, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


class ScreenDriver(LinuxDriver):
    """Textual's driver, drawing through the private descriptor."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if _screen is not None:
            self._file = _screen  # type: ignore[assignment]
        self._suspended = False

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            width, height = os.get_terminal_size(self._file.fileno() if self._file is not None else 1)
        except (OSError, ValueError):
            return super()._get_terminal_size()
        # A terminal that does not know its size says 0.
        return width or 80, height or 24

    def _sigtstp_application(self, *arguments: Any) -> None:
        self._suspended = True
        super()._sigtstp_application(*arguments)

    def _sigcont_application(self, *arguments: Any) -> None:
        # A shell continues the whole process group, and the process above the app passes that on: one of the two
        # starts the app's mode again. A process that was stopped from outside never left that mode.
        if self._suspended:
            self._suspended = False
            super()._sigcont_application(*arguments)
        elif self._writer_thread is not None:
            self._take_back()

    def _take_back(self) -> None:
        """The app was stopped without leaving its mode: set the line mode that the shell changed, and draw."""
        if self.attrs_before is not None:
            attributes = list(self.attrs_before)
            attributes[tty.LFLAG] = self._patch_lflag(attributes[tty.LFLAG])
            attributes[tty.IFLAG] = self._patch_iflag(attributes[tty.IFLAG])
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.fileno, termios.TCSANOW, attributes)
        self._loop.call_soon_threadsafe(self._app.post_message, self.SignalResume())

    @property
    def congested(self) -> bool:
        """Whether the terminal takes less than it is sent."""
        return self._writer_thread is not None and self._writer_thread._queue.qsize() >= _CONGESTED

    def stop_application_mode(self) -> None:
        """Give the terminal back."""
        if _screen is not None:
            _screen.leaving = True
        self.write(RESTORE_TITLE)
        super().stop_application_mode()

    def start_application_mode(self) -> None:
        """Take the terminal, at the start and after a suspension."""
        forget = getattr(self._app, "forget_picture", None)
        if forget is not None:
            forget()
        if _screen is not None:
            _screen.leaving = False
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.write(SAVE_TITLE)

    def run_input_thread(self) -> None:
        """Read keys until the app ends; also ends where the terminal is gone, instead of spinning on it."""
        watch = threading.Thread(target=self._watch_terminal, name="redraft-terminal", daemon=True)
        watch.start()
        parser = XTermParser(self._debug)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode

        def read(seconds: float) -> str:
            return decode(self._read(seconds))

        while not self.exit_event.is_set():
            text = read(0.1)
            while text:
                typed = join_typed_text(parser.feed(text))
                messages, text = continued(typed, lambda: read(_BURST_GAP))
                self._send(messages)
            self._send(parser.tick())

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if self._wait_for_room():
                self.process_message(message)

    def _read(self, seconds: float) -> bytes:
        """What was typed within this time; nothing where nothing was, or where the terminal is gone."""
        try:
            if not select.select([self.fileno], [], [], seconds)[0]:
                return b""
            data = os.read(self.fileno, 4096)
        except OSError:
            data = b""
        if not data:
            self._lose_terminal()
        return data

    def _wait_for_room(self) -> bool:
        """Wait while keys wait to be handled, so that what is typed waits in the terminal instead, where a signal
        overtakes it; False where the app leaves meanwhile."""
        while self._backlog > _BACKLOG:
            if self.exit_event.wait(0.01):
                return False
        return not self.exit_event.is_set()

    @property
    def _backlog(self) -> int:
        """Messages that wait in the app and in the widget that keys go to."""
        app, focused = self._app, self._app.screen.focused if self._app.screen_stack else None
        return max(pump._message_queue.qsize() for pump in (app, focused) if pump is not None)

    def _watch_terminal(self) -> None:
        while not self.exit_event.wait(1.0):
            if not os.isatty(self.fileno):
                self._lose_terminal()

    def _lose_terminal(self) -> None:
        """The terminal is gone: read no more, and inform the app."""
        if self.exit_event.is_set():
            return
        self.exit_event.set()
        leave = getattr(self._app, "terminal_lost", None)
        if leave is not None:
            self._loop.call_soon_threadsafe(leave)


def say(text: str) -> None:
    """Write to the terminal while it is kept for the screen, after the screen has left it."""
    if _screen is not None:
        _screen.write(text.replace("\n", "\r\n"))
        _screen.flush()
