"""Runs long engine work on a thread and shows its journal on this one, until it ends or is stopped.

Handles Ctrl-C, a closed terminal and a closed pipe for runs without a screen.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from engine.control import Control
from engine.events.base import Record
from engine.runs.journal_reader import JournalReader
from tui.commands.failure import STOPPED, PipeClosed
from tui.commands.plain import PlainDisplay

_EVERY = 0.1
"""Seconds between two looks at the journal."""


def perform(
    work: Callable[[Control], object],
    folder: Path,
    display: PlainDisplay,
    begun: threading.Event | None = None,
    on_records: Callable[[Sequence[Record]], None] = lambda _records: None,
) -> None:
    """Run `work` on a thread and show the journal of `folder` until it ends.

    Where `begun` is given, nothing is shown before the work sets it: work that is refused shows its refusal only.
    `on_records` gets the records before they are shown, and must not raise.

    Ctrl-C and SIGTERM stop it cleanly, a second one ends the process at once. SIGHUP (the terminal is gone) and a
    watcher's request only detach it from the terminal: the work continues. A closed stdout stops it, as it stops every
    filter.

    Raises:
        Stopped: the user stopped it; what was done is in the journal.
        PipeClosed: stdout was closed.
        Exception: what `work` raised.
    """
    control = Control()
    # Asked now: of a terminal that has hung up the system says that it is none.
    terminals = [number for number in (0, 1, 2) if _is_terminal(number)]
    failure: list[BaseException] = []

    def target() -> None:
        try:
            work(control)
        except BaseException as error:  # noqa: BLE001 -- handed to the thread that waits
            failure.append(error)

    thread = threading.Thread(target=target, name="redraft-run", daemon=True)
    reader = JournalReader(folder)
    closed = False
    with _signals(control, display, terminals):
        thread.start()
        while True:
            if control.detaching and terminals:
                display.notice("the run continues without this terminal; `redraft watch` shows it.")
                _detach(terminals)
            alive = thread.is_alive()
            if begun is None or begun.is_set():
                closed = not _show(reader, display, control, on_records) or closed
            if not alive:
                break
            thread.join(_EVERY)
    display.close()
    if closed:
        raise PipeClosed
    if failure:
        raise failure[0]


def follow(
    folder: Path,
    show: Callable[[JournalReader], None],
    alive: Callable[[], bool],
    wait: Callable[[float], bool],
) -> None:
    """Call `show` with the journal's reader until the run's writer is gone and all of it was shown.

    Args:
        wait: called between two looks with the seconds to wait; False ends the following.
    """
    reader = JournalReader(folder)
    while True:
        last = not alive()
        show(reader)
        if last or not wait(_EVERY):
            return


def _show(
    reader: JournalReader,
    display: PlainDisplay,
    control: Control,
    on_records: Callable[[Sequence[Record]], None],
) -> bool:
    """Show what is new; False where stdout was closed just now."""
    try:
        while events := reader.poll(limit=200):
            on_records(events)
            display.show(events)
    except BrokenPipeError:
        display.notice("stdout was closed; stopping …")
        display.muted = True
        control.stop()
        return False
    except OSError as error:
        # The terminal is gone, or the disk that stdout goes to is full: no reason to lose hours of work.
        display.notice(f"stdout cannot be written ({error.strerror}); the run continues without it.")
        display.muted = True
    except Exception as error:  # noqa: BLE001 -- a display that fails is no reason to lose hours of work either
        display.notice(f"the display failed ({type(error).__name__}); the run continues, `redraft watch` shows it.")
        display.muted = True
    return True


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _detach(terminals: list[int]) -> None:
    """Replace these descriptors by /dev/null. A file that stdout is redirected to is still written."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    while terminals:
        os.dup2(nowhere, terminals.pop())
    os.close(nowhere)


@contextmanager
def _signals(control: Control, display: PlainDisplay, terminals: list[int]) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        if control.stopping:
            os._exit(STOPPED)  # records are written whole, so nothing is lost but the item in the air
        control.stop()
        display.notice("stopping … (again to end at once)")

    def silence(_number: int, _frame: FrameType | None) -> None:
        _detach(terminals)

    wanted = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: silence}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
