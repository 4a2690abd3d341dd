"""Pause, go on and stop, asked of a run by other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.control import Control
from engine.errors import InputError, Stopped
from engine.runs.control_file import CONTINUE, CONTROL, PAUSE, POLL_SECONDS, STOP, CommandListener, send
from engine.runs.journal_writer import JournalWriter


class Owner:
    """A run's loop on a thread: it checks its control and counts."""

    def __init__(self, folder: Path) -> None:
        self.journal = JournalWriter(folder)
        self.control = Control()
        self.told: list[bool] = []
        self.count = 0
        self.stopped = threading.Event()
        self.commands = CommandListener(folder, self.control, self.told.append)
        self.control.add_check(self.commands.poll)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while True:
                self.control.check()
                self.count += 1
                time.sleep(0.001)
        except Stopped:
            self.stopped.set()

    def end(self) -> None:
        self.control.stop()
        self._thread.join(10)
        self.journal.close()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path)
    yield owner
    owner.end()


def until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_a_watcher_pauses_continues_and_stops_a_run(owner: Owner, tmp_path: Path) -> None:
    send(tmp_path, PAUSE)
    until(lambda: owner.told == [True])
    count = owner.count
    time.sleep(3 * POLL_SECONDS)
    assert owner.count == count
    send(tmp_path, CONTINUE)
    until(lambda: owner.told == [True, False])
    until(lambda: owner.count > count)
    send(tmp_path, STOP)
    assert owner.stopped.wait(20)


def test_what_two_watchers_ask_in_the_same_moment_is_all_obeyed(owner: Owner, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from engine.runs.control_file import send\n"
        "for _ in range(200):\n"
        "    send(pathlib.Path(sys.argv[1]), 'pause')\n"
        "    send(pathlib.Path(sys.argv[1]), 'continue')\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [other.wait(60) for other in others] == [0, 0]
    send(tmp_path, PAUSE)
    until(lambda: owner.control.paused and owner.commands._read == (tmp_path / CONTROL).stat().st_size)
    lines = (tmp_path / CONTROL).read_text().split()
    assert len(lines) == 801
    send(tmp_path, STOP)
    assert owner.stopped.wait(20)


def test_a_stop_ends_a_pause(owner: Owner, tmp_path: Path) -> None:
    send(tmp_path, PAUSE)
    send(tmp_path, STOP)
    assert owner.stopped.wait(20)


def test_nobody_is_asked_where_nobody_performs_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no process"):
        send(tmp_path, STOP)
    assert not (tmp_path / CONTROL).exists()


def test_what_was_asked_of_an_owner_that_died_is_not_obeyed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / CONTROL).write_text("stop\n")
    owner = Owner(tmp_path)
    until(lambda: owner.count > 300)
    assert not owner.stopped.is_set()
    owner.end()


def test_the_file_can_be_opened_by_its_owner_only(owner: Owner, tmp_path: Path) -> None:
    send(tmp_path, CONTINUE)
    assert (tmp_path / CONTROL).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["link", "folder", "fifo", "rubbish"])
def test_a_file_that_is_no_wish_changes_nothing(owner: Owner, tmp_path: Path, what: str) -> None:
    place = tmp_path / CONTROL
    if what == "link":
        (tmp_path / "elsewhere").write_text("stop\n")
        place.symlink_to(tmp_path / "elsewhere")
    elif what == "folder":
        place.mkdir()
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place.write_bytes(b"\xff\x00 STOP stopp st op\n" * 10_000)
    count = owner.count
    time.sleep(3 * POLL_SECONDS)
    until(lambda: owner.count > count)
    assert not owner.stopped.is_set()


def test_looking_is_cheap(owner: Owner) -> None:
    owner.commands.poll()
    began = time.process_time()
    for _ in range(10_000):
        owner.commands.poll()
    # A look at the file would be a system call; between two of those there is only a clock.
    assert time.process_time() - began < 1.0
