"""The app in a real pseudo-terminal: what it sends, and how it leaves the terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from recorded import Recorder
from terminals import Terminal

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("own_home")]

OPEN = "import sys; from tui.app import run; sys.exit(run())"


def opening(folder: Path) -> str:
    return f"import sys, pathlib; from tui.app import run; sys.exit(run(folder=pathlib.Path({str(folder)!r})))"


BUSY = """
import sys, threading, time, dataclasses, pathlib
from engine.worker import WorkerStatus, WorkerState
import tui.app
class Busy:
    '''A run that goes on for a second after it was seen, without a model.'''
    def __init__(self, *_):
        self.state = WorkerState(WorkerStatus.RUNNING)
    def start(self): threading.Timer(float({seconds}), self.end).start()
    def end(self):
        pathlib.Path({mark!r}).write_text("ended by itself")
        self.state = WorkerState(WorkerStatus.IDLE)
    def shutdown(self, timeout=10.0):
        return True
tui.app.Worker = Busy
code = tui.app.run()
pathlib.Path({code!r}).write_text(str(code))
import os; os._exit(code)
"""


def test_starts_draws_and_leaves_the_terminal_as_it_was() -> None:
    with Terminal(OPEN) as terminal:
        terminal.until("^q Quit")
        assert "start the demo run" in terminal.picture
        terminal.type("\x11")
        assert terminal.wait() == 0
        assert terminal.restored


def test_draws_a_finished_run_and_answers_keys(finished: Path) -> None:
    with Terminal(opening(finished)) as terminal:
        terminal.until("RUN-COMPLETE")
        terminal.until("1 of 40")
        terminal.type("1")
        terminal.until("v1")
        terminal.type("]")
        terminal.until(" 2 of 40")
        terminal.type("?")
        terminal.until("Run screen", 5)
        terminal.type("\x1b")
        terminal.until("following")
        terminal.type("\x11")
        assert terminal.wait() == 0


def test_a_tiny_window_gets_a_message_and_grows_into_the_app(finished: Path) -> None:
    with Terminal(opening(finished), 20, 5) as terminal:
        terminal.until("20x5 is too small")
        terminal.until("^q quits")
        terminal.resize(120, 40)
        terminal.until("RUN-COMPLETE")
        terminal.resize(1, 1)
        terminal.read(0.5)
        terminal.resize(80, 24)
        terminal.until("4 Log")
        terminal.type("\x11")
        assert terminal.wait() == 0
        assert terminal.restored


def test_sends_nothing_while_nothing_happens() -> None:
    with Terminal(OPEN) as terminal:
        terminal.until("^q Quit")
        terminal.type("i")
        terminal.until("Leave the field")
        terminal.read(1.0)
        assert terminal.read(2.0) == b""


def test_stray_output_goes_to_a_log_and_not_to_the_screen(own_home: Path) -> None:
    code = (
        "import os, sys, threading, time\n"
        "from tui.app import run\n"
        "def noise():\n"
        "    time.sleep(1.0)\n"
        "    os.write(1, b'NOISE ONE'); os.write(2, b'NOISE TWO'); print('NOISE THREE', flush=True)\n"
        "threading.Thread(target=noise, daemon=True).start()\n"
        "code = run()\n"
        "print('after')\n"
        "sys.exit(code)\n"
    )
    with Terminal(code) as terminal:
        terminal.until("^q Quit")
        terminal.read(1.5)
        assert "NOISE" not in terminal.picture
        assert b"NOISE" not in terminal.sent
        terminal.type("\x11")
        assert terminal.wait() == 0
        assert b"after" in terminal.sent
    log = (own_home / "cache" / "app.log").read_text()
    assert "NOISE ONE" in log
    assert "NOISE TWO" in log


def test_sigterm_restores_the_terminal(tmp_path: Path) -> None:
    with Terminal(OPEN) as terminal:
        terminal.until("^q Quit")
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
        assert terminal.restored


def test_sigterm_ends_a_run_within_seconds_and_restores_the_terminal(tmp_path: Path) -> None:
    code = BUSY.format(seconds=60, mark=str(tmp_path / "mark"), code=str(tmp_path / "code"))
    with Terminal(code) as terminal:
        terminal.until("p Pause")
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
        assert terminal.restored
        assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("how", ["signal", "closed"])
def test_a_run_outlives_its_terminal(tmp_path: Path, how: str) -> None:
    mark, code_file = tmp_path / "mark", tmp_path / "code"
    with Terminal(BUSY.format(seconds=3, mark=str(mark), code=str(code_file))) as terminal:
        terminal.until("p Pause")
        if how == "signal":
            terminal.signal(signal.SIGHUP)
        else:
            terminal.hang_up()
        assert terminal.wait() == 0
    assert mark.read_text() == "ended by itself"
    assert code_file.read_text() == "0"


def test_a_lost_terminal_does_not_make_the_process_spin(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + BUSY.format(
        seconds=30, mark=str(tmp_path / "mark"), code=str(tmp_path / "code")
    )
    with Terminal(code) as terminal:
        terminal.until("p Pause")
        terminal.hang_up()
        time.sleep(2.5)
        before = used(terminal.process)
        time.sleep(1.5)
        assert used(terminal.process) - before < 0.3


def test_quitting_while_the_worker_cannot_be_interrupted_still_ends(tmp_path: Path) -> None:
    code = BUSY.format(seconds=60, mark=str(tmp_path / "mark"), code=str(tmp_path / "code"))
    code = code.replace("return True", "threading.Thread(target=time.sleep, args=(60,)).start(); return False")
    with Terminal(code) as terminal:
        terminal.until("p Pause")
        terminal.type("\x11")
        terminal.until("Stay")
        terminal.type("\x1b[B\r")
        assert terminal.wait() == 0
        assert terminal.restored


def test_a_stalled_link_neither_holds_up_the_app_nor_its_end(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    recorder.start()
    with Terminal(opening(recorder.folder)) as terminal:
        terminal.until("^q Quit")
        flood(recorder)
        recorder("NOTICE", 1, "the very last record")
        terminal.until("the very last record")
        assert "records" in terminal.picture
        flood(recorder)
        terminal.signal(signal.SIGTERM)
        end = time.monotonic() + 5
        while not (done := os.waitpid(terminal.process, os.WNOHANG))[0]:
            assert time.monotonic() < end
            time.sleep(0.05)
        terminal.status = os.waitstatus_to_exitcode(done[1])
        assert terminal.status == 128 + signal.SIGTERM
    recorder.writer.close()


def flood(recorder: Recorder) -> None:
    """Records that fill every cell anew, for five seconds in which nobody reads the terminal: its buffer fills, then
    Textual's queue."""
    random = Random(1)
    for _ in range(50):
        for _ in range(20):
            recorder("NOTICE", 1, " ".join(random.choices("abcdefghij", k=60)))
        time.sleep(0.1)


def used(process: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(process: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{process}/task").iterdir()))


def test_suspend_and_continue_brings_the_picture_back() -> None:
    with Terminal(OPEN) as terminal:
        terminal.until("^q Quit")
        before = threads(terminal.process)
        terminal.type("\x1a")

        def is_stopped() -> bool:
            return Path(f"/proc/{terminal.process}/stat").read_text().rpartition(")")[2].split()[0] == "T"

        terminal.until(is_stopped)
        terminal.until(lambda: terminal.sent.rfind(b"?1049l") > terminal.sent.rfind(b"?1049h"))
        terminal.signal(signal.SIGCONT)
        terminal.until(lambda: terminal.sent.rfind(b"?1049h") > terminal.sent.rfind(b"?1049l"))
        terminal.until("^q Quit")
        terminal.signal(signal.SIGCONT)  # a shell and the process above each send one
        terminal.read(0.5)
        terminal.until("^q Quit")
        assert threads(terminal.process) == before
        terminal.type("\x11")
        assert terminal.wait() == 0


def typed(terminal: Terminal, text: bytes) -> None:
    """Type a long text, reading what the app draws meanwhile."""
    while text:
        text = text[terminal.write(text[:4096]) :]
        terminal.read(0.001)


WORDS = b"The quick brown fox jumps over the lazy dog, and then it rests a while.\r"


def test_a_megabyte_typed_without_bracketed_paste_arrives_whole_and_quickly() -> None:
    with Terminal(OPEN) as terminal:
        terminal.until("^q Quit")
        terminal.type("i")
        terminal.until("Leave the field")
        begun = time.monotonic()
        text = WORDS * (1_000_000 // len(WORDS))
        typed(terminal, text + b"end")
        terminal.until(f"{len(text) + 3:,} characters", 20)
        terminal.type("\x11")
        assert terminal.wait() == 0
        assert time.monotonic() - begun < 30


@pytest.mark.parametrize("how", ["closed", "SIGTERM"])
@pytest.mark.parametrize("field", [True, False])
@pytest.mark.parametrize("text", [WORDS.rstrip(), b"ab\x1b[A\x1b[B"], ids=["text", "keys"])
def test_the_end_overtakes_a_megabyte_of_typed_keys(how: str, field: bool, text: bytes) -> None:
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    with Terminal(ignored + OPEN) as terminal:
        terminal.until("^q Quit")
        if field:
            terminal.type("i")
            terminal.until("Leave the field")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            terminal.write(text * 50)
            terminal.read(0.001)
        if how == "closed":
            terminal.hang_up()
            assert terminal.wait(8) == 0
        else:
            terminal.signal(signal.SIGTERM)
            assert terminal.wait(8) == 128 + signal.SIGTERM


def test_a_text_pasted_beside_the_field_runs_no_commands(finished: Path) -> None:
    with Terminal(opening(finished)) as terminal:
        terminal.until("RUN-COMPLETE")
        typed(terminal, b"s3t0dc all of these letters are keys that do something on the run screen\r" * 3)
        terminal.until("The pasted text was ignored")
        assert "v2" in terminal.picture


def test_letters_in_the_field_reach_it_as_they_are() -> None:
    with Terminal(OPEN) as terminal:
        terminal.until("^q Quit")
        terminal.type("i")
        terminal.until("Leave the field")
        terminal.type("quiet 日本 é")
        terminal.until("quiet 日")


def test_works_without_colours(finished: Path) -> None:
    with Terminal(opening(finished), NO_COLOR="1", COLORTERM="") as terminal:
        terminal.until("1 of 40")
        terminal.until("Here are some")
        cells = [cell for line in terminal.screen.buffer.values() for cell in line.values()]
        assert any(cell.strikethrough for cell in cells)
        assert any(cell.underscore for cell in cells)
