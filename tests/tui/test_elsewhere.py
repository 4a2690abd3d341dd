"""A run of another process, steered from `redraft watch` and the app; interrupted runs offered on start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import RecordingHost
from terminals import Terminal

from engine.runs.journal_reader import read
from engine.runs.journal_writer import JournalWriter
from engine.worker import ResumeRun
from tui.app import RedraftApp

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("own_home")]

# A run without a model: it writes a record every 20 ms until it is stopped.
WORK = """
import pathlib, sys, time
from engine.control import Control
from engine.errors import Stopped
from engine.runs.journal_writer import JournalWriter
from engine.runs.control_file import CommandListener
folder = pathlib.Path(sys.argv[1])
def work(control):
    with JournalWriter(folder) as journal:
        def told(paused):
            journal.append("RUN-PAUSED" if paused else "RUN-CONTINUED", 1, "waits" if paused else "goes on")
        (folder / "run.json").write_text('{"kind": "run", "config": {"preset": "demo"}}')
        control.add_check(CommandListener(folder, control, told).poll)
        journal.append("RUN-START", 1, "begins", data={"config": {"preset": "demo", "generator": "tiny"}})
        try:
            for number in range(10_000):
                control.check()
                journal.append("NOTICE", 1, f"step {number}")
                time.sleep(0.02)
        except Stopped:
            journal.append("RUN-STOPPED", 1, "stopped")
            raise
"""

OWNER = f"""{WORK}
try:
    work(Control())
except Stopped:
    pass
"""

# The same, shown on a terminal by the plain display.
DETACHABLE = f"""{WORK}
from tui.commands import headless
from tui.terminal import output
from tui.commands.plain import PlainDisplay
output.prepare()
try:
    headless.perform(work, folder, PlainDisplay(sys.stdout, sys.stderr, 2))
except Stopped:
    sys.exit(130)
"""


@pytest.fixture
def runs(own_home: Path) -> Path:
    return own_home / "data" / "runs"


@pytest.fixture
def running(runs: Path) -> Iterator[Path]:
    folder = runs / "demo-7"
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)])
    until(lambda: (folder / "journal.jsonl").exists() and "RUN-START" in stages(folder))
    yield folder
    process.kill()
    process.wait()


def stages(folder: Path) -> list[str]:
    return [event.stage for event in read(folder)]


def until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def redraft(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui.cli", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_watch_pauses_continues_and_stops_a_run_of_another_process(running: Path) -> None:
    told = redraft("watch", "demo-7", "--pause", "--json")
    assert json.loads(told.stdout) == {"run": "demo-7", "asked": "pause"}
    until(lambda: "RUN-PAUSED" in stages(running))
    assert redraft("watch", "demo-7", "--continue").returncode == 0
    until(lambda: "RUN-CONTINUED" in stages(running))
    assert redraft("watch", "demo-7", "--stop").returncode == 0
    until(lambda: stages(running)[-1] == "RUN-STOPPED")
    late = redraft("watch", "demo-7", "--stop")
    assert late.returncode == 2
    assert "no process" in late.stderr
    assert redraft("watch", "demo-7", "--stop", "--pause").returncode == 2


@pytest.mark.parametrize("standard_input", ["", "< /dev/null"])
def test_a_watcher_whose_terminal_is_gone_ends_where_hang_ups_are_ignored(running: Path, standard_input: str) -> None:
    code = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    if standard_input:
        code += "os.dup2(os.open(os.devnull, os.O_RDONLY), 0); "
    code += "from tui.cli import main; sys.exit(main(['watch', 'demo-7']))"
    with Terminal(code) as watcher:
        watcher.until("NOTICE step")
        watcher.hang_up()
        watcher.wait(10)


def test_keys_steer_while_watching_and_two_watchers_see_the_same(running: Path) -> None:
    code = "import sys; from tui.cli import main; sys.exit(main(['watch', 'demo-7']))"
    with Terminal(code) as one, Terminal(code) as other:
        one.until(lambda: b"p pauses" in one.sent)
        other.until(lambda: b"p pauses" in other.sent)
        one.type("p")
        one.until(lambda: b"RUN-PAUSED" in one.sent)
        other.until(lambda: b"RUN-PAUSED" in other.sent)
        other.type("p")
        one.until(lambda: b"RUN-CONTINUED" in one.sent)
        other.type("q")
        assert other.wait() == 0
        one.type("s")
        one.until(lambda: b"is stopped" in one.sent)
        assert one.wait() == 0
    assert stages(running).count("RUN-PAUSED") == 1


def test_a_run_in_a_forgotten_terminal_is_made_to_let_go_of_it(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "work.py").write_text(DETACHABLE)
    folder = runs / "demo-8"
    code = f"import sys; sys.argv[1:] = [{str(folder)!r}]; exec(open({str(tmp_path / 'work.py')!r}).read())"
    with Terminal(code) as owner:
        until(lambda: (folder / "journal.jsonl").exists() and len(stages(folder)) > 3)
        assert redraft("watch", "demo-8", "--detach").returncode == 0
        owner.until(lambda: b"continues without this terminal" in owner.sent)
        until(lambda: not any("/dev/pts" in str(link.readlink()) for link in descriptors(owner.process)))
        before = len(stages(folder))
        until(lambda: len(stages(folder)) > before)
        assert redraft("watch", "demo-8", "--stop").returncode == 0
        assert owner.wait() == 130
    assert stages(folder)[-1] == "RUN-STOPPED"


def descriptors(process: int) -> list[Path]:
    return [entry for entry in Path(f"/proc/{process}/fd").iterdir() if entry.is_symlink()]


def test_a_watcher_that_is_terminated_gives_the_terminal_back(running: Path) -> None:
    code = "import sys; from tui.cli import main; sys.exit(main(['watch', 'demo-7']))"
    with Terminal(code) as watcher:
        watcher.until(lambda: b"p pauses" in watcher.sent)
        watcher.until(lambda: b"step" in watcher.sent)
        assert termios.tcgetattr(watcher._terminal)[3] != watcher.before[3]
        watcher.signal(signal.SIGTERM)
        assert watcher.wait() == -signal.SIGTERM
        assert termios.tcgetattr(watcher._terminal)[3] == watcher.before[3]
    assert stages(running)[-1] == "NOTICE"


def test_the_app_opens_on_a_run_of_another_process_and_steers_it(running: Path) -> None:
    with Terminal("import sys; from tui.app import run; sys.exit(run())") as terminal:
        terminal.until("demo-7")
        terminal.until("p Pause")
        terminal.type("p")
        terminal.until("p Continue")
        assert stages(running)[-1] == "RUN-PAUSED"
        terminal.type("p")
        terminal.until("p Pause")
        terminal.type("s")
        terminal.until("Stop the run?")
        terminal.type("\r")
        until(lambda: stages(running)[-1] == "RUN-STOPPED")
        terminal.type("\x11")
        assert terminal.wait() == 0


async def test_an_interrupted_run_is_offered_and_a_key_goes_on_with_it(runs: Path) -> None:
    with JournalWriter(runs / "demo-3") as journal:
        journal.append("RUN-START", 1, "begins", data={"config": {"preset": "demo"}})
        journal.append("STAGE-START", 1, "draft", data={"name": "draft", "total": 20, "done": 12})
    host = RecordingHost()
    app = RedraftApp(host=host, runs=runs)
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in range(200):
            await pilot.pause(0.02)
            if app.control.offered is not None:
                break
        assert app.control.offered == runs / "demo-3"
        await pilot.press("u")
        await pilot.pause()
    assert host.commands == [ResumeRun(runs / "demo-3")]


async def test_a_finished_run_is_not_offered(runs: Path) -> None:
    with JournalWriter(runs / "demo-4") as journal:
        journal.append("RUN-START", 1, "begins")
        journal.append("RUN-COMPLETE", 1, "done")
    host = RecordingHost()
    app = RedraftApp(host=host, runs=runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.5)
        assert app.control.offered is None
        await pilot.press("u")
    assert host.commands == []
