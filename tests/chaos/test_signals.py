"""SIGTERM, SIGHUP and a terminal that closes, at random moments of a run: in the app, without a screen, and watched."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Pty, alive, kill, owner, terminals_of, used
from run_processes import LONG, SEED, ForkServer, RunProcesses, Whole, as_arguments, check, events

from engine.errors import InputError
from engine.runs.control_file import CONTINUE, PAUSE, send
from engine.runs.journal_writer import is_written
from engine.settings import RunConfig, to_json

pytestmark = pytest.mark.alone

Runs = Callable[[str], RunProcesses]
TIMES = max(1, LONG // 4)


@pytest.fixture
def pty() -> Iterator[Pty]:
    terminal = Pty()
    yield terminal
    terminal.close()


class App:
    """The app in a terminal, with a run that it performs."""

    def __init__(self, fork_server: ForkServer, config: RunConfig, home: Path) -> None:
        self.pty = Pty()
        self.fork_server = fork_server
        self._home = home
        self.launched = fork_server.begin(
            what="app", config=to_json(config), terminal=self.pty.name, environment={"REDRAFT_HOME": str(home)}
        )
        self.pty.until(lambda: b"Quit" in self.pty.sent)
        self.pty.let_go()
        self.pty.type("\x12")
        self.pty.until(lambda: self.folders and owner(self.folders[0]))
        self.folder = self.folders[0]
        process = owner(self.folder)
        assert process is not None
        self.process = process
        self.processes = RunProcesses(fork_server, self.folder, config, as_arguments(config))

    @property
    def folders(self) -> list[Path]:
        return list((self._home / "data" / "runs").glob("*/"))

    def reach(self, at: int) -> None:
        """Wait until the run has written this much."""
        self.pty.until(lambda: self.processes.look() >= at)

    def lose(self, how: str) -> None:
        """What happens to people."""
        if how == "closed":
            self.pty.close()
        elif how == "killed parent":
            kill(self.launched, signal.SIGKILL)
        else:
            kill(self.launched, signal.Signals[how])

    def ended(self, seconds: float) -> None:
        """Wait until the process that performs the run is gone."""
        end = time.monotonic() + seconds
        while alive(self.process):
            assert time.monotonic() < end, "the process does not end"
            self.pty.pump(0.01)


def on_a_terminal(processes: RunProcesses, at: int) -> tuple[Pty, int]:
    """The terminal and the process of a run without a screen, when it has written this much."""
    pty = Pty()
    child = processes.fork_server.begin(what="command", arguments=processes.command, terminal=pty.name)
    pty.until(lambda: processes.look() >= at)
    return pty, child


def quiet(folder: Path, process: int) -> None:
    """Without its terminal the process does not spin and holds no terminal: seen while it is paused."""
    try:
        send(folder, PAUSE)
    except InputError:
        return  # the run has ended
    end = time.monotonic() + 20
    while events(folder)[-1].stage != "RUN-PAUSED":
        if not is_written(folder):
            return  # the run ended first
        assert time.monotonic() < end
        time.sleep(0.01)
    while terminals_of(process):
        assert time.monotonic() < end, terminals_of(process)
        time.sleep(0.01)
    before = used(process)
    time.sleep(1.0)
    assert used(process) - before < 0.2
    send(folder, CONTINUE)


@pytest.mark.parametrize("how", ["SIGHUP", "closed", "killed parent"])
def test_the_apps_run_goes_on_when_its_terminal_goes_away(
    fork_server: ForkServer, config: RunConfig, whole: Whole, like: Path, tmp_path: Path, how: str
) -> None:
    source = random.Random(f"{SEED} {how}")
    for turn in range(TIMES):
        app = App(fork_server, config, tmp_path / f"home-{turn}")
        app.reach(source.randrange(whole.records - 5))
        time.sleep(source.random() * 0.02)
        app.lose(how)
        if turn % 5 == 0:
            quiet(app.folder, app.process)
        app.ended(60)
        assert app.fork_server.wait(app.launched) == {"killed parent": -signal.SIGKILL}.get(how, 0)
        check(app.folder, whole, like)
        app.pty.close()


def test_sigterm_ends_the_app_with_a_checkpoint_and_the_terminal_restored(
    fork_server: ForkServer, config: RunConfig, whole: Whole, like: Path, tmp_path: Path
) -> None:
    source = random.Random(f"{SEED} term")
    longest = 0.0
    for turn in range(TIMES):
        app = App(fork_server, config, tmp_path / f"home-{turn}")
        app.reach(source.randrange(whole.records))
        time.sleep(source.random() * 0.02)
        began = time.monotonic()
        kill(app.launched if turn % 2 else app.process, signal.SIGTERM)
        app.ended(5)
        assert fork_server.wait(app.launched, 5) == 128 + signal.SIGTERM
        longest = max(longest, time.monotonic() - began)
        app.pty.pump(0.1)
        assert app.pty.restored
        assert events(app.folder)[-1].stage in ("RUN-STOPPED", "RUN-COMPLETE")
        if events(app.folder)[-1].stage == "RUN-STOPPED":
            app.processes.finish()
        check(app.folder, whole, like)
        app.pty.close()
    print(f"the slowest of {TIMES} ends took {longest:.2f} s")


@pytest.mark.parametrize("how", ["SIGHUP", "closed"])
def test_a_run_without_a_screen_goes_on_when_its_terminal_goes_away(
    run: Runs, whole: Whole, like: Path, how: str
) -> None:
    source = random.Random(f"{SEED} run {how}")
    for turn in range(TIMES):
        processes = run(f"{how}-{turn}")
        pty, child = on_a_terminal(processes, source.randrange(1, whole.records - 5))
        pty.until(lambda c=child: terminals_of(c))
        pty.let_go()
        if how == "closed":
            pty.close()
        else:
            kill(child, signal.SIGHUP)
        if turn % 5 == 0:
            quiet(processes.folder, child)
        assert processes.fork_server.wait(child) == 0
        check(processes.folder, whole, like)
        pty.close()


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C", "Ctrl-C twice"])
def test_a_run_without_a_screen_that_is_stopped_can_be_gone_on_with(
    run: Runs, whole: Whole, like: Path, how: str
) -> None:
    source = random.Random(f"{SEED} run {how}")
    for turn in range(TIMES):
        processes = run(f"{turn}")
        pty, child = on_a_terminal(processes, source.randrange(1, whole.records - 5))
        if how == "SIGTERM":
            kill(child, signal.SIGTERM)
        else:
            pty.type("\x03" * (2 if "twice" in how else 1))
        began = time.monotonic()
        pty.until(lambda c=child: processes.fork_server.poll(c) is not None, 5)  # noqa: B023
        assert time.monotonic() - began < 5
        # What is asked for in a run's last moments may find it complete.
        complete = events(processes.folder)[-1].stage == "RUN-COMPLETE"
        assert processes.fork_server.poll(child) in ((0, 130) if complete else (130,))
        assert pty.restored
        pty.close()
        if not complete:
            processes.finish()
        check(processes.folder, whole, like)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "closed", "closed under nohup"])
def test_a_watcher_that_is_ended_leaves_its_terminal_and_the_run_alone(
    run: Runs, whole: Whole, like: Path, how: str
) -> None:
    processes, pty = run("watched"), Pty()
    child = processes.begin()
    assert processes.reach(20, child)
    send(processes.folder, PAUSE)
    watcher = processes.fork_server.begin(
        what="command",
        arguments=["watch", str(processes.folder)],
        terminal=pty.name,
        nohup=how.endswith("nohup"),
    )
    pty.until(lambda: b"RUN-PAUSED" in pty.sent)
    pty.let_go()
    if how.startswith("closed"):
        pty.close()
    else:
        kill(watcher, signal.Signals[how])
    processes.fork_server.wait(watcher, 5)
    if how == "SIGTERM":
        assert pty.restored
    pty.close()
    send(processes.folder, CONTINUE)
    assert processes.fork_server.wait(child) == 0
    check(processes.folder, whole, like)
