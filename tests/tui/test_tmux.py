"""The app inside tmux and a shell with job control: how most of its users see it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.alone,
    pytest.mark.usefixtures("own_home"),
    pytest.mark.skipif(not shutil.which("tmux") or not shutil.which("bash"), reason="needs tmux and bash"),
]


class Tmux:
    """A tmux server of its own with one window, in which bash runs.

    Args:
        socket: of the server.
        columns, lines: of the window.
    """

    def __init__(self, socket: Path, columns: int = 110, lines: int = 32) -> None:
        self._socket = socket
        size = ("-x", str(columns), "-y", str(lines))
        self.run("-f", os.devnull, "new-session", "-d", *size, "bash --norc --noprofile")
        self.run("set-option", "-g", "set-clipboard", "on")

    def run(self, *arguments: str) -> str:
        """What a tmux command prints."""
        variables = {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2]), **os.environ}
        command = ["tmux", "-S", str(self._socket), *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=20).stdout

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self.run("send-keys", *keys)

    @property
    def picture(self) -> str:
        """The lines in the window."""
        return self.run("capture-pane", "-p")

    def until(self, words: str, present: bool = True) -> None:
        """Wait until the picture holds these words, or no longer does."""
        end = time.monotonic() + 30
        while (words in self.picture) is not present:
            assert time.monotonic() < end, self.picture
            time.sleep(0.1)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    # A socket's path has to be short.
    server = Tmux(Path("/tmp") / f"redraft-tmux-{os.getpid()}-{time.monotonic_ns() % 10**6}")
    try:
        yield server
    finally:
        server.run("kill-server")
        server._socket.unlink(missing_ok=True)


def start(tmux: Tmux, run: Path) -> None:
    tmux.type("PS1='ready> '; clear", "Enter")
    tmux.until("ready>")
    script = run.parent / "open.py"
    script.write_text(
        "import pathlib, sys\n"
        "from tui.terminal.detach import launch\n"
        "launch()\n"
        "from tui.app import run\n"
        f"sys.exit(run(folder=pathlib.Path({str(run)!r})))\n"
    )
    tmux.type(f"{sys.executable} {script}", "Enter")
    tmux.until("RUN-COMPLETE")


def test_a_suspended_app_is_drawn_again_when_it_comes_back(tmux: Tmux, finished: Path) -> None:
    start(tmux, finished)
    for _ in range(2):
        tmux.type("C-z")
        tmux.until("ready>")
        tmux.type("fg", "Enter")
        tmux.until("RUN-COMPLETE")
        tmux.until("Quit")
    tmux.type("C-q")
    tmux.until("ready>")
    tmux.type("echo works", "Enter")
    tmux.until("\nworks")


def test_an_app_that_was_stopped_from_outside_is_drawn_again(tmux: Tmux, finished: Path) -> None:
    start(tmux, finished)
    pane = tmux.run("display-message", "-p", "#{pane_pid}").strip()
    job = subprocess.run(["pgrep", "-P", pane], capture_output=True, text=True, check=True).stdout.split()[0]
    subprocess.run(["kill", "-STOP", "--", f"-{job}"], check=True)
    tmux.until("Stopped")
    tmux.type("fg", "Enter")
    tmux.until("Stopped", present=False)
    tmux.until("RUN-COMPLETE")
    tmux.type("1")
    tmux.until("v1")
    tmux.type("C-q")
    tmux.until("ready>")


def test_copies_resizes_and_survives_a_detached_session(tmux: Tmux, finished: Path) -> None:
    start(tmux, finished)
    tmux.type("g")
    tmux.until("RUN-START")
    tmux.type("y")
    tmux.until("copied")
    assert "RUN-START" in tmux.run("show-buffer")
    tmux.run("resize-window", "-x", "80", "-y", "24")
    tmux.until("4 Log")
    tmux.run("resize-window", "-x", "110", "-y", "32")
    tmux.until("4 Log", present=False)
    tmux.until("RUN-START")
    tmux.type("C-q")
    tmux.until("ready>")
