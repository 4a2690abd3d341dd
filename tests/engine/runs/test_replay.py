"""A replayed run is the run's own records, in its rhythm, in a folder that looks like a run in progress."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from engine.control import Control
from engine.errors import InputError, Stopped
from engine.events.base import Record
from engine.events.codec import encode
from engine.runs.control_file import PAUSE, STOP, send
from engine.runs.journal_reader import JOURNAL, read
from engine.runs.journal_writer import is_written
from engine.runs.replay import replay


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of five records, ten seconds apart, the last a day later."""
    folder = tmp_path / "run"
    folder.mkdir()
    times = [1000.0, 1010.0, 1020.0, 1030.0, 90_000.0]
    records = [Record(seq=n, time=t, stage="NOTICE", level=1, summary=f"record {n}") for n, t in enumerate(times)]
    (folder / JOURNAL).write_bytes(b"".join(encode(record) for record in records))
    (folder / "run.json").write_text("{}")
    (folder / "report.json").write_text("{}")
    return folder


def test_the_copy_holds_the_same_records_and_then_the_report(run: Path, tmp_path: Path) -> None:
    assert replay(run, tmp_path / "copy", 1e5, Control(), max_wait=0.01) == 5
    assert (tmp_path / "copy" / JOURNAL).read_bytes() == (run / JOURNAL).read_bytes()
    assert {path.name for path in (tmp_path / "copy").iterdir()} >= {"run.json", "report.json"}


def test_waits_are_those_of_the_run_divided_by_the_speed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("engine.runs.replay.time.sleep", slept.append)
    replay(run, tmp_path / "copy", 20.0, Control(), max_wait=3.0)
    assert sum(slept) == pytest.approx(3 * 0.5 + 3.0)


def test_it_looks_like_a_run_in_progress_and_obeys_its_commands(run: Path, tmp_path: Path) -> None:
    target, control = tmp_path / "copy", Control()
    ended: list[type[BaseException]] = []

    def work() -> None:
        try:
            replay(run, target, 20.0, control)
        except Stopped as stopped:
            ended.append(type(stopped))

    thread = threading.Thread(target=work)
    thread.start()
    while not (target / JOURNAL).exists() or not list(read(target)):
        time.sleep(0.01)
    assert is_written(target)
    send(target, PAUSE)
    while not control.paused:
        time.sleep(0.01)
    seen = len(list(read(target)))
    time.sleep(0.7)
    assert len(list(read(target))) == seen < 5
    send(target, STOP)
    thread.join(10)
    assert ended == [Stopped]
    assert not is_written(target)


def test_damaged_lines_are_left_out(run: Path, tmp_path: Path) -> None:
    (run / JOURNAL).write_bytes(b"garbage\n" + (run / JOURNAL).read_bytes())
    assert replay(run, tmp_path / "copy", 1e5, Control(), max_wait=0.0) == 5


def test_a_run_without_records_says_so(run: Path, tmp_path: Path) -> None:
    (run / JOURNAL).write_bytes(b"")
    with pytest.raises(InputError, match="no records"):
        replay(run, tmp_path / "copy", 20.0, Control())
