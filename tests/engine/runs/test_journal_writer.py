"""The writer: what it appended is in the file, whole; what could not be written leaves no trace; it is alone."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import StorageError
from engine.events.base import Record
from engine.events.codec import encode
from engine.runs.folder import remove_unless_begun
from engine.runs.journal_reader import JOURNAL, JournalReader, read
from engine.runs.journal_writer import JournalWriter, is_written


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "run") as journal:
        written = [
            journal.append("RUN-START", 1, "begins", data={"config": {"seed": 1}}, sync=True),
            journal.append("INITIAL-GENERATION", 2, "", item="a", texts={"draft": "Hi"}, raw={"request": "<s>"}),
        ]
    found = list(read(tmp_path / "run"))
    assert [(e.seq, e.stage, e.item, e.texts, e.raw, e.data) for e in found] == [
        (e.seq, e.stage, e.item, e.texts, e.raw, e.data) for e in written
    ]


def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "run"
        with JournalWriter(folder) as journal:
            journal.append("NOTICE", 1, "")
        with open(folder / JOURNAL, "ab") as file:
            file.write(b"torn")
        JournalWriter(folder).close()
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    (torn,) = folder.glob("journal.torn-*")
    assert {mode(folder / JOURNAL), mode(folder / "lock"), mode(torn)} == {0o600}


def test_texts_can_be_kept_out_of_the_file_while_labels_and_figures_stay(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, texts=False) as journal:
        event = journal.append(
            "INITIAL-GENERATION", 2, "62 tokens", texts={"draft": "SECRET"}, raw={"request": "SECRET"}, data={"n": 1}
        )
    assert event.texts == {"draft": "SECRET"}  # the run itself goes on with it
    assert b"SECRET" not in (tmp_path / JOURNAL).read_bytes()
    (found,) = read(tmp_path)
    assert (found.texts, found.raw, found.data) == ({"draft": ""}, {}, {"n": 1})


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        with pytest.raises(StorageError, match="another process"):
            JournalWriter(tmp_path)
        journal.append("NOTICE", 1, "still the writer")
    with JournalWriter(tmp_path) as journal:
        assert journal.next_seq == 1


_SECOND = """
import sys
from pathlib import Path
from engine.errors import StorageError
from engine.runs.folder import remove_unless_begun
from engine.runs.journal_writer import JournalWriter
try:
    JournalWriter(Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""


def test_a_second_writer_in_another_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with JournalWriter(tmp_path):
        told = run_python(_SECOND, tmp_path)
    assert f"process {os.getpid()}" in told.stdout
    assert str(tmp_path) in told.stdout


_KILLED = """
import os, sys
from pathlib import Path
from engine.runs.folder import remove_unless_begun
from engine.runs.journal_writer import JournalWriter
journal = JournalWriter(Path(sys.argv[1]))
number = 0
while number < 2_000:  # an end, should nobody kill it
    journal.append("NOTICE", 1, str(number), texts={"text": "x" * (number * 7919 % 300_000)})
    number += 1
    if number == 3:
        print("writing", flush=True)
"""


def test_a_writer_that_is_killed_anywhere_loses_nothing_that_was_whole_and_frees_its_lock(tmp_path: Path) -> None:
    chance = random.Random(0)
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        with subprocess.Popen([sys.executable, "-c", _KILLED, folder], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            written = is_written(folder)
            time.sleep(chance.random() * 0.03)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert written
        assert not is_written(folder)
        before = list(read(folder))
        assert [event.summary for event in before] == [str(number) for number in range(len(before))]
        with JournalWriter(folder) as journal:
            journal.append("NOTICE", 1, "after")
        reader = JournalReader(folder)
        after = reader.poll()
        assert after[: len(before)] == before
        assert after[-1].summary == "after"
        assert [event.seq for event in after] == list(range(len(after)))
        assert reader.damage == []
        assert reader.path.read_bytes().endswith(b"\n")


def test_the_rest_of_a_torn_record_is_set_aside_and_told(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append("NOTICE", 1, "whole")
    size = (tmp_path / JOURNAL).stat().st_size
    torn = encode(Record(1, 1.0, "NOTICE", 1, "torn" * 1_000_000))[:-100]
    with open(tmp_path / JOURNAL, "ab") as file:
        file.write(torn)
    with JournalWriter(tmp_path) as journal:
        assert journal.next_seq == 2
    assert (tmp_path / f"journal.torn-{size}").read_bytes() == torn
    assert [event.stage for event in read(tmp_path)] == ["NOTICE", "NOTICE"]
    assert list(read(tmp_path))[1].data == {"bytes": len(torn)}


def test_counting_goes_on_after_the_last_whole_record_even_behind_damage_or_a_huge_line(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        for number in range(3):
            journal.append("NOTICE", 1, str(number), texts={"text": "y" * 3_000_000})
    with open(tmp_path / JOURNAL, "ab") as file:
        file.write(b"rubbish\n" * 400_000)
    with JournalWriter(tmp_path) as journal:
        assert journal.next_seq == 3


def test_a_journal_without_any_whole_record_is_begun_anew_behind_the_rubbish(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"\n\nrubbish\n")
    with JournalWriter(tmp_path) as journal:
        assert journal.next_seq == 0
        journal.append("NOTICE", 1, "first")
    assert [event.summary for event in read(tmp_path)] == ["first"]


_FULL = """
import json, resource, sys
from pathlib import Path
from engine.errors import StorageError
from engine.runs.folder import remove_unless_begun
from engine.runs.journal_writer import JournalWriter
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
journal = JournalWriter(Path(sys.argv[1]))
written = 0
try:
    while written < 1_000:
        journal.append("NOTICE", 1, str(written), texts={"text": "z" * 1000})
        written += 1
except StorageError as error:
    told = str(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append("NOTICE", 1, "after")
print(json.dumps([written, told]))
"""


def test_where_there_is_no_more_room_the_record_is_taken_back_and_later_ones_follow_cleanly(tmp_path: Path) -> None:
    for limit in (10_000, 10_400, 11_111):
        folder = tmp_path / str(limit)
        written, told = json.loads(run_python(_FULL, folder, limit).stdout)
        reader = JournalReader(folder)
        found = reader.poll()
        assert [event.summary for event in found] == [*map(str, range(written)), "after"]
        assert reader.damage == []
        assert reader.path.read_bytes().endswith(b"\n")
        assert str(folder) in told
        assert "resume" in told


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/redraft")):
        with pytest.raises(StorageError) as raised:
            JournalWriter(folder)
        assert str(folder) in str(raised.value)


@pytest.mark.parametrize("name", [JOURNAL, "lock"])
def test_a_folder_where_a_file_should_be_is_an_error_and_leaves_no_lock(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError):
        JournalWriter(tmp_path)
    (tmp_path / name).rmdir()
    JournalWriter(tmp_path).close()


def test_closing_twice_is_no_error_and_frees_the_lock(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path)
    assert is_written(tmp_path)
    journal.close()
    journal.close()
    assert not is_written(tmp_path)


def test_asking_who_writes_does_not_keep_a_writer_out(tmp_path: Path) -> None:
    JournalWriter(tmp_path).close()
    ask = "import sys\nfrom pathlib import Path\nfrom engine.runs.journal_writer import is_written\nprint(flush=True)\n"
    ask += "while True: is_written(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", ask, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            for _ in range(1_000):
                JournalWriter(tmp_path).close()
        finally:
            process.kill()


def test_a_folder_that_is_no_run_is_written_by_nobody(tmp_path: Path) -> None:
    assert not is_written(tmp_path)
    assert not is_written(tmp_path / "nothing")


def test_the_folder_of_a_failed_run_is_emptied_only_where_no_other_process_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with JournalWriter(folder) as journal:
        journal.append("RUN-START", 1, "begun by another process")
        remove_unless_begun(folder)
        assert (folder / JOURNAL).exists()
    remove_unless_begun(folder)
    assert not list(folder.iterdir())
