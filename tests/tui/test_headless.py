"""A run without a screen: Ctrl-C, a closed terminal, a closed pipe and a full stdout, with real signals and pipes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.runs.journal_reader import read

pytestmark = pytest.mark.alone

# Work as the engine does it: whole records, and a check of the control between them.
_RUN = """
import sys, time
from pathlib import Path
from engine.control import Control
from engine.errors import Stopped
from engine.runs.journal_writer import JournalWriter
from tui.terminal import output
from tui.commands.headless import PipeClosed, perform
from tui.commands.plain import PlainDisplay

def work(control):
    with JournalWriter(Path(sys.argv[1])) as journal:
        journal.append("RUN-START", 1, "begins")
        try:
            for number in range(int(sys.argv[2])):
                control.check()
                journal.append("NOTICE", 1, f"step {number}")
                time.sleep(0.01)
        except Stopped:
            if sys.argv[3:] == ["stubborn"]:
                time.sleep(60)
            journal.append("RUN-STOPPED", 1, "stopped")
            raise
        journal.append("RUN-COMPLETE", 1, "done")

output.prepare()
try:
    perform(work, Path(sys.argv[1]), PlainDisplay(sys.stdout, sys.stderr, 2))
except Stopped:
    sys.exit(130)
except PipeClosed:
    sys.exit(141)
"""


def start(folder: Path, steps: int, *more: str, **options: object) -> subprocess.Popen[bytes]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", _RUN, folder, str(steps), *more], **streams)  # type: ignore[call-overload, no-any-return]


def wait_for(process: subprocess.Popen[bytes], words: bytes) -> None:
    assert process.stdout is not None
    while words not in process.stdout.readline():
        assert process.poll() is None


def stages(folder: Path) -> list[str]:
    return [event.stage for event in read(folder)]


def links(process: int) -> list[str]:
    """What its descriptors lead to; nothing once it has ended."""
    try:
        return [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return []


def test_all_of_the_journal_is_shown_up_to_its_last_entry(tmp_path: Path) -> None:
    out, _ = start(tmp_path, 30).communicate(timeout=60)
    assert [line.split()[1] for line in out.decode().splitlines()] == stages(tmp_path)
    assert stages(tmp_path)[-1] == "RUN-COMPLETE"


def test_ctrl_c_stops_cleanly_and_shows_the_end(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = tmp_path / number.name
        process = start(folder, 100_000)
        wait_for(process, b"step 3")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert stages(folder)[-1] == "RUN-STOPPED"
        assert b"RUN-STOPPED" in out
        assert b"stopping" in err


def test_a_second_ctrl_c_ends_at_once_and_leaves_a_whole_journal(tmp_path: Path) -> None:
    process = start(tmp_path, 100_000, "stubborn")
    wait_for(process, b"step 3")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert b"stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert stages(tmp_path)[-1] == "NOTICE"


def test_a_pipe_that_nobody_reads_stops_the_work_cleanly(tmp_path: Path) -> None:
    process = start(tmp_path, 100_000)
    wait_for(process, b"step 3")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert stages(tmp_path)[-1] == "RUN-STOPPED"
    assert process.stderr is not None
    assert b"stdout was closed" in process.stderr.read()


def test_a_terminal_that_goes_away_does_not_cost_the_work(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = start(tmp_path, 150, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    seen = b""
    while b"step 3" not in seen:
        seen += os.read(master, 4096)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while any(link.startswith("/dev/pts") for link in links(process.pid)):
        assert time.monotonic() < end, "it holds the terminal"
        time.sleep(0.01)
    assert process.wait(timeout=60) == 0
    assert stages(tmp_path)[-1] == "RUN-COMPLETE"


def test_a_full_stdout_does_not_cost_the_work(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(tmp_path, 50, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert stages(tmp_path)[-1] == "RUN-COMPLETE"
    assert err.count(b"No space left") == 1


def test_on_a_terminal_lines_and_progress_do_not_mix(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = start(tmp_path, 20, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"})
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    process.wait(timeout=60)
    os.close(master)
    assert b"\x1b[3" not in seen
    assert [line.split()[1].decode() for line in seen.splitlines()] == stages(tmp_path)
