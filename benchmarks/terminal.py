"""The app over a pseudo-terminal: start, rest, a typed letter, a growing log; and in one process the log's intake, its
filter and the chart. Loads no model. `python -m benchmarks.terminal` prints one line a figure (docs/terminal.md).
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import pty
import random
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.events.base import ALL, KEY
from engine.runs.journal_writer import JournalWriter
from engine.runs.series import Series
from tui.services.log_filter import LogFilter
from tui.services.log_search import Filter
from tui.services.session import Session
from tui.views.chart import Curve, Kind, plot

_APP = "import sys; from tui.start import main; sys.exit(main([]))"
_OPEN = "import sys, pathlib; from tui.app import run; sys.exit(run(folder=pathlib.Path({!r})))"
_BARE = """
from textual.app import App
from textual.widgets import Footer, Static
class Bare(App):
    def compose(self):
        yield Static('text')
        yield Footer()
Bare().run()
"""
_SILENCE = 1.0
_RECORDS = 100_000
LETTERS = "".join(chr(code) for code in range(0x430, 0x450)) * 20
"""Cyrillic letters, to be told from all else."""


def report(what: str, figure: str) -> None:
    """Print one figure."""
    print(f"{what:<58} {figure}", flush=True)  # noqa: T201 - the output of this command


class Child:
    """A program in a pseudo-terminal of its own."""

    def __init__(self, code: str, columns: int, lines: int, home: str) -> None:
        self.began = time.perf_counter()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            # Compiled once and kept, as what is installed is: without that each start would compile the app's modules.
            variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "REDRAFT_HOME": home}
            os.execve(sys.executable, [sys.executable, "-c", code], variables)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, silence: float, most: float = 30.0, patience: float = 0.0) -> tuple[bytes, float, float]:
        """What is sent until nothing comes for `silence` seconds (before the first byte `patience`), when the first and
        the last byte came."""
        got, first, last = b"", 0.0, time.perf_counter()
        end = last + most
        while (
            time.perf_counter() < end
            and select.select([self._terminal], [], [], silence if got else patience or silence)[0]
        ):
            with contextlib.suppress(OSError):
                got += os.read(self._terminal, 1 << 16)
            last = time.perf_counter()
            first = first or last
        return got, first, last

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far, of the program or the one that it waits for."""
        below = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        fields = Path(f"/proc/{below[0] if below else self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@contextlib.contextmanager
def child(code: str, columns: int = 120, lines: int = 40) -> Iterator[Child]:
    """A program that has come to rest."""
    with tempfile.TemporaryDirectory() as home:
        made = Child(code, columns, lines, home)
        try:
            yield made
        finally:
            made.end()


def start() -> None:
    """The first settled frame, against a bare Textual app in turn."""
    times: dict[str, list[float]] = {"app": [], "bare": []}
    sent = b""
    for turn in range(6):  # the first of which compiles what is imported
        for name, code in (("app", _APP), ("bare", _BARE)):
            with child(code, 80, 24) as one:
                got, _first, last = one.read(_SILENCE, patience=20.0)
                times[name] += [last - one.began] if turn else []
                sent = got if name == "app" else sent
    app, bare = (statistics.median(found) for found in (times["app"], times["bare"]))
    report("first settled frame, 80x24: app / bare Textual", f"{app:.2f} / {bare:.2f} s = {app / bare:.2f} x")
    report("bytes at start, 80x24", f"{len(sent) / 1000:.1f} KB")


def rest() -> None:
    """Bytes and processor time at rest, with the focus in the field; then what a letter costs."""
    with child(_APP) as one:
        one.read(_SILENCE, patience=20.0)
        one.type("i")
        one.read(5.0)
        before, began = one.cpu, time.perf_counter()
        got, _, _ = one.read(20.0, 20.0)
        seconds = time.perf_counter() - began
        report("at rest, focus in the field, 20 s", f"{len(got)} B, {100 * (one.cpu - before) / seconds:.2f} % CPU")
        sizes, waits = [], []
        for letter in "the quick brown fox jumps over":
            began = time.perf_counter()
            one.type(letter)
            got, first, _ = one.read(0.15)
            sizes.append(len(got))
            waits.append(1000 * (first - began))
        waits.sort()
        report("one typed letter, median", f"{statistics.median(sizes):.0f} B")
        report(
            "key to first byte at rest, p50 / p95 / max",
            f"{statistics.median(waits):.0f} / {waits[int(0.95 * len(waits))]:.0f} / {waits[-1]:.0f} ms",
        )


def _waits(one: Child, keys: str, most: float) -> list[float]:
    """Milliseconds from each of these keys, at random moments, until its letter is drawn; of those typed in `most`
    seconds. The letters have to be ones that nothing else on the screen holds."""
    waits = []
    end = time.perf_counter() + most
    for letter in keys:
        began = time.perf_counter()
        if began > end:
            break
        one.type(letter)
        got = b""
        while letter.encode() not in got and time.perf_counter() - began < 5:
            got += one.read(0.002, 0.02)[0]
        waits.append(1000 * (time.perf_counter() - began))
        one.read(random.uniform(0.02, 0.08), 0.08)
    return sorted(waits)


def _percentiles(waits: list[float]) -> str:
    middle, high = statistics.median(waits), waits[int(0.95 * len(waits))]
    return f"{middle:.0f} / {high:.0f} / {waits[-1]:.0f} ms, n {len(waits)}"


def reading() -> None:
    """Keys while a journal is read."""
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder) / "run")
        _records(writer, 4 * _RECORDS)
        writer.close()
        with child(_OPEN.format(str(Path(folder) / "run"))) as one:
            got = b""
            while b"records" not in got:
                got += one.read(0.02, 0.02)[0]
            began = time.perf_counter()
            one.type("i")
            one.read(0.2, 0.2)
            waits = _waits(one, LETTERS, 3.0)
            report("records read, keys meanwhile, p50 / p95 / max", _percentiles(waits))
            seconds = time.perf_counter() - began
            report("  seconds of typing", f"{seconds:.1f}")


def growing() -> None:
    """Bytes a second while 20 records and 5 losses a second arrive, the log following at verbosity 2."""
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder) / "run")
        _records(writer, 200)
        with child(_OPEN.format(str(Path(folder) / "run"))) as one:
            one.read(_SILENCE, patience=20.0)
            seconds = []
            for second in range(12):
                got = 0
                for part in range(5):
                    _records(writer, 4, 200 + 20 * second + 4 * part)
                    loss = {"loss": 2.0 - second / 20, "step": 5 * second + part + 1, "steps": 60}
                    writer.append(f"EPOCH-1-BATCH-{part + 1}", ALL, "a step", data=loss)
                    began = time.perf_counter()
                    while (left := 0.2 - (time.perf_counter() - began)) > 0:
                        got += len(one.read(left, left)[0])
                seconds.append(got)
        writer.close()
    report(
        "20 records and 5 losses a second, 120x40: median / worst",
        f"{statistics.median(seconds) / 1000:.1f} / {max(seconds) / 1000:.1f} KB/s",
    )


def _records(writer: JournalWriter, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        text = f"Answer {number}. " + "It depends on what you want, and on what you can spend. " * 4
        writer.append("INITIAL-GENERATION", KEY, f"{number} tokens", texts={"draft": text}, item=f"train-{number % 97}")


def log() -> None:
    """How fast records are taken in, and a filter's first page."""
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder))
        _records(writer, _RECORDS)
        writer.close()
        session = Session()
        session.open(Path(folder))
        began = time.perf_counter()
        while session.poll(0.008):
            pass
        seconds = time.perf_counter() - began
        report(f"{_RECORDS:,} records taken in, 8 ms at a time", f"{_RECORDS / seconds:,.0f} records/s")
        began = time.perf_counter()
        found = Filter(session.store, LogFilter(item="train-5"), 2, len(session.store))
        found.run(1.0, enough=40)
        report(
            "first page of a filter by prompt", f"{1000 * (time.perf_counter() - began):.0f} ms, {len(found)} records"
        )
        session.close()


def chart() -> None:
    """One drawing of a curve of a million values: its steps, their mean."""
    series = Series()
    for step in range(1, 1_000_001):
        series.add(step, 2 + math.exp(-step / 2e5) + 0.1 * math.sin(step * 1.7))
    curves = [Curve(series, "dim", Kind.POINTS), Curve(series, "accent", Kind.SMOOTH)]
    for width, height in ((34, 10), (80, 16), (190, 40)):
        times = []
        for _ in range(25):
            began = time.process_time()
            plot(curves, width, height, (1, 1_000_000))
            times.append(1000 * (time.process_time() - began))
        report(f"chart of a million values, {width}x{height}", f"{statistics.median(times):.1f} ms")


MEASURES: dict[str, Callable[[], None]] = {
    "chart": chart,
    "log": log,
    "start": start,
    "rest": rest,
    "growing": growing,
    "reading": reading,
}


def main(names: list[str]) -> None:
    """Measure these, or all of them."""
    for name in names or MEASURES:
        MEASURES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
