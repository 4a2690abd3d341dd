"""Leaving the terminal: by a key, by a hang-up, by a crash, with the parent that a shell sees."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal
from test_terminal import used

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("own_home")]

# A run that goes on until a file appears, without a model; the shell's own process is the parent that waits.
BUSY = """
import os, pathlib, sys, threading, time
from tui.terminal import detach
detach.launch()
from engine.worker import WorkerStatus, WorkerState
import tui.app
folder = pathlib.Path({folder!r})
class Busy:
    def __init__(self, *_):
        self.state = WorkerState(WorkerStatus.RUNNING)
    def start(self):
        (folder / "process").write_text(str(os.getpid()))
        threading.Thread(target=self.work, daemon=True).start()
    def work(self):
        while not (folder / "finish").exists():
            time.sleep(0.02)
            self.state = WorkerState(WorkerStatus.RUNNING, detach=(folder / "asked").exists())
        (folder / "done").write_text(str(os.getsid(0)))
        self.state = WorkerState(WorkerStatus.IDLE)
    def stop(self): pass
    def decide(self, choice): pass
    def shutdown(self, timeout=10.0):
        if {stubborn}:
            (folder / "ending").touch()
            time.sleep(60)
        return True
tui.app.Worker = Busy
sys.exit(tui.app.run())
"""


def busy(folder: Path, stubborn: bool = False) -> Terminal:
    terminal = Terminal(BUSY.format(folder=str(folder), stubborn=stubborn))
    terminal.until("p Pause")
    return terminal


def process_of(folder: Path) -> int:
    return int((folder / "process").read_text())


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(autouse=True)
def _end_the_run(tmp_path: Path) -> Iterator[None]:
    """A failed test leaves no run behind that waits for its end."""
    yield
    if (tmp_path / "process").exists():
        process = process_of(tmp_path)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"detach.launch" in Path(f"/proc/{process}/cmdline").read_bytes():
                os.kill(process, signal.SIGKILL)


def until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def holds_terminal(process: int) -> bool:
    links: list[str] = []
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            links.append(os.readlink(entry))
    return any(link.startswith(("/dev/pts", "/dev/tty")) for link in links)


def finish(folder: Path) -> None:
    """Let the run end, and see that it does, in the process that had the screen."""
    process = process_of(folder)
    (folder / "finish").touch()
    until(lambda: (folder / "done").exists())
    until(lambda: gone(process))


def test_a_key_gives_the_prompt_back_and_the_run_goes_on_in_a_session_of_its_own(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)
        terminal.type("d")
        assert terminal.wait() == 0
        assert terminal.restored
        assert b"continues without a screen" in terminal.sent
        assert not gone(process)
        until(lambda: not holds_terminal(process))
        before = used(process)
        time.sleep(1.0)
        assert used(process) - before < 0.3
        finish(tmp_path)
        assert int((tmp_path / "done").read_text()) == process


@pytest.mark.parametrize("how", ["signal", "closed", "parent"])
def test_a_lost_terminal_or_parent_does_not_cost_the_run(tmp_path: Path, how: str) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)
        if how == "signal":
            terminal.signal(signal.SIGHUP)
        elif how == "closed":
            terminal.hang_up()
        else:
            terminal.signal(signal.SIGKILL)
        terminal.wait()
        until(lambda: not holds_terminal(process))
        assert not gone(process)
        before = used(process)
        time.sleep(1.0)
        assert used(process) - before < 0.3
        finish(tmp_path)


def test_a_second_hang_up_changes_nothing_and_sigterm_ends_it(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)
        terminal.hang_up()
        terminal.wait()
        os.kill(process, signal.SIGHUP)
        time.sleep(0.5)
        assert not gone(process)
        os.kill(process, signal.SIGTERM)
        until(lambda: gone(process), 5)
        assert not (tmp_path / "done").exists()


def test_a_storm_of_hang_ups_from_kernel_shell_and_parent_does_not_cost_the_run(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)
        for _ in range(300):
            for target in (process, terminal.process):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(target, signal.SIGHUP)
            time.sleep(0.002)
        terminal.wait()
        assert not gone(process)
        finish(tmp_path)


def test_a_watcher_can_have_the_app_leave_a_terminal_that_was_forgotten(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)
        (tmp_path / "asked").touch()
        assert terminal.wait() == 0
        assert terminal.restored
        assert not gone(process)
        finish(tmp_path)


def test_sigterm_to_the_process_that_the_shell_knows_ends_both_and_restores_the_terminal(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)
        terminal.signal(signal.SIGTERM)
        assert terminal.wait(5) == 128 + signal.SIGTERM
        assert terminal.restored
        until(lambda: gone(process), 5)


def test_a_second_sigterm_ends_at_once_where_the_first_takes_its_time(tmp_path: Path) -> None:
    with busy(tmp_path, stubborn=True) as terminal:
        terminal.signal(signal.SIGTERM)
        until(lambda: (tmp_path / "ending").exists())
        terminal.signal(signal.SIGTERM)
        assert terminal.wait(5) == 128 + signal.SIGTERM
        assert terminal.restored


def test_an_app_that_is_killed_leaves_a_usable_terminal(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        os.kill(process_of(tmp_path), signal.SIGKILL)
        assert terminal.wait() == -signal.SIGKILL
        assert terminal.restored


def test_suspending_stops_both_and_fg_brings_both_back(tmp_path: Path) -> None:
    with busy(tmp_path) as terminal:
        process = process_of(tmp_path)

        def states() -> set[str]:
            stats = [Path(f"/proc/{p}/stat").read_text() for p in (terminal.process, process)]
            return {stat.rpartition(")")[2].split()[0] for stat in stats}

        terminal.type("\x1a")
        terminal.until(lambda: states() == {"T"})
        terminal.signal(signal.SIGCONT)
        terminal.until(lambda: "T" not in states())
        terminal.until(lambda: terminal.sent.rfind(b"?1049h") > terminal.sent.rfind(b"?1049l"))
        terminal.type("d")
        assert terminal.wait() == 0
        finish(tmp_path)
