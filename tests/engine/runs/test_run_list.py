"""The list of runs, and which run a person means, whatever lies in the folder."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from engine.errors import InputError, StorageError
from engine.runs.journal_reader import JOURNAL
from engine.runs.journal_writer import JournalWriter
from engine.runs.store import find_run, inspect, list_runs, read_report

CONFIG = {"preset": "demo", "generator": "smollm2-135m-instruct"}


def begin(folder: Path) -> JournalWriter:
    journal = JournalWriter(folder)
    (folder / "run.json").write_text(json.dumps({"kind": "run", "config": CONFIG}))
    journal.append("RUN-START", 1, "demo", data={"config": CONFIG})
    return journal


def finish(folder: Path, pairs: int = 12) -> Path:
    with begin(folder) as journal:
        journal.append("RUN-COMPLETE", 1, "done", data={"pairs": pairs, "seconds": 61.0})
    return folder


def test_a_finished_run_has_the_figures_of_its_end(tmp_path: Path) -> None:
    run = inspect(finish(tmp_path / "demo-1"))
    assert (run.id, run.state, run.preset, run.generator) == ("demo-1", "finished", "demo", "smollm2-135m-instruct")
    assert run.figures == {"pairs": 12, "seconds": 61.0}
    assert run.note == ""


def test_a_run_that_is_written_now_is_running_and_says_how_far_it_is(tmp_path: Path) -> None:
    with begin(tmp_path / "demo-1") as journal:
        journal.append("STAGE-START", 1, "draft", data={"name": "draft", "total": 20})
        journal.append("PROGRESS", 3, "draft", data={"name": "draft", "done": 5, "total": 20})
        for _ in range(3):
            journal.append("INITIAL-GENERATION", 2, "", texts={"draft": "x" * 900_000})
        run = inspect(tmp_path / "demo-1")
    assert (run.state, run.figures) == ("running", {"stage": "draft", "done": 5, "total": 20})


def test_a_run_whose_process_died_is_stopped_and_one_that_failed_says_why(tmp_path: Path) -> None:
    begin(tmp_path / "died").close()
    with begin(tmp_path / "stopped") as journal:
        journal.append("RUN-STOPPED", 1, "stopped by a person")
    with begin(tmp_path / "failed") as journal:
        journal.append("ERROR", 1, "no space\nleft")
    assert [
        (inspect(tmp_path / name).state, inspect(tmp_path / name).note) for name in ("died", "stopped", "failed")
    ] == [
        ("stopped", "interrupted"),
        ("stopped", "stopped by a person"),
        ("stopped", "no space left"),
    ]


def test_a_run_that_went_on_and_finished_is_finished(tmp_path: Path) -> None:
    with begin(tmp_path / "a") as journal:
        journal.append("RUN-STOPPED", 1, "")
        journal.append("RUN-RESUMED", 1, "")
    assert inspect(tmp_path / "a").state == "stopped"
    with JournalWriter(tmp_path / "a") as journal:
        journal.append("RUN-COMPLETE", 1, "")
    assert inspect(tmp_path / "a").state == "finished"


def test_a_torn_end_is_an_interruption_not_damage(tmp_path: Path) -> None:
    begin(tmp_path / "a").close()
    with open(tmp_path / "a" / JOURNAL, "ab") as file:
        file.write(b'{"v":1,"se')
    assert inspect(tmp_path / "a").state == "stopped"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"rubbish\n" * 1000, b"\0" * 5000])
def test_a_journal_that_tells_nothing_is_damaged(tmp_path: Path, content: bytes) -> None:
    finish(tmp_path / "a")
    (tmp_path / "a" / JOURNAL).write_bytes(content)
    run = inspect(tmp_path / "a")
    assert run.state == "damaged"
    assert run.note
    assert run.preset == "demo"


def test_a_missing_journal_or_a_folder_in_its_place_is_damaged(tmp_path: Path) -> None:
    finish(tmp_path / "a")
    (tmp_path / "a" / JOURNAL).unlink()
    assert inspect(tmp_path / "a").state == "damaged"
    (tmp_path / "a" / JOURNAL).mkdir()
    assert inspect(tmp_path / "a").state == "damaged"


def test_rubbish_in_a_runs_files_never_keeps_the_list_from_being_shown(tmp_path: Path) -> None:
    chance = random.Random(0)
    for number in range(60):
        folder = finish(tmp_path / f"demo-{number}")
        for name in (JOURNAL, "run.json"):
            data = bytearray((folder / name).read_bytes())
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            (folder / name).write_bytes(data[: chance.randrange(len(data) + 1)])
    (tmp_path / "a file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    strange = ("[]", "null", '"x"', '{"config":5,"kind":"run"}', '{"config":{"preset":[1]}}', "[" * 100_000)
    for number, content in enumerate(strange):
        folder = tmp_path / f"json-{number}"
        folder.mkdir()
        (folder / "run.json").write_text(content)
    assert len(list_runs(tmp_path)) == 66


def test_runs_are_listed_newest_first_without_sessions_and_other_folders(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        finish(tmp_path / name)
    with JournalWriter(tmp_path / "session-1") as journal:
        (tmp_path / "session-1" / "run.json").write_text('{"kind": "session", "config": {}}')
        journal.append("EVAL-INPUT", 2, "")
    (tmp_path / "empty").mkdir()
    assert [run.id for run in list_runs(tmp_path)] == ["a", "c", "b"]


def test_no_folder_of_runs_is_no_run_and_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nothing") == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        list_runs(tmp_path / "file")


def test_a_run_is_found_by_id_by_the_beginning_of_its_id_by_path_and_as_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    first, second = finish(runs / "demo-0412"), finish(runs / "demo-0413")
    elsewhere = finish(tmp_path / "elsewhere" / "mine")
    assert find_run("demo-0412", runs) == first
    assert find_run("demo-0413", runs) == second
    assert find_run("last", runs) == second
    assert find_run(str(elsewhere), runs) == elsewhere
    assert find_run(str(elsewhere / JOURNAL), runs) == elsewhere
    monkeypatch.chdir(elsewhere)
    assert find_run(".", runs).resolve() == elsewhere
    monkeypatch.chdir(elsewhere.parent)
    assert find_run("mine", runs).resolve() == elsewhere


def test_a_whole_id_wins_over_longer_ones_that_begin_with_it(tmp_path: Path) -> None:
    finish(tmp_path / "demo-1")
    finish(tmp_path / "demo-1-2")
    assert find_run("demo-1", tmp_path).name == "demo-1"


def test_a_beginning_that_several_runs_have_is_told_with_them(tmp_path: Path) -> None:
    finish(tmp_path / "demo-0412")
    finish(tmp_path / "demo-0413")
    with pytest.raises(InputError, match="demo-0412, demo-0413"):
        find_run("demo", tmp_path)


@pytest.mark.parametrize(
    "name", ["nothing", "", "../nothing", "a/b", "x" * 5000, "x/" * 3000, "nul\0", "\x1b[31m", "~~", "last"]
)
def test_a_run_that_is_not_there_is_told_in_one_safe_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as raised:
        find_run(name, tmp_path / "runs")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_a_report_is_read_and_its_absence_or_damage_told(tmp_path: Path) -> None:
    folder = finish(tmp_path / "a")
    (folder / "report.json").write_text('{"summary": {"n": 40}}')
    assert read_report(folder) == {"summary": {"n": 40}}
    (folder / "report.json").write_text('{"summary"')
    with pytest.raises(StorageError, match="damaged"):
        read_report(folder)
    (folder / "report.json").unlink()
    with pytest.raises(InputError, match="no report"):
        read_report(folder)


def test_listing_reads_the_ends_of_journals_only(tmp_path: Path) -> None:
    folder = finish(tmp_path / "a")
    end = (folder / JOURNAL).read_bytes().splitlines(keepends=True)[-1]
    with open(folder / JOURNAL, "ab") as file:
        file.truncate(40 << 30)  # a file with a hole: no program could read it whole here
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + end)
    assert inspect(folder).state == "finished"
