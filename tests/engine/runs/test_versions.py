"""Journals of every release stay readable; one in a newer format is reported and left alone.

The samples are files as those releases wrote them (`samples/write_sample.py`): they are never written anew.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from pathlib import Path

import pytest

from engine.errors import StorageError
from engine.events.codec import VERSION, NewerLine, decode
from engine.events.registry import UnknownEvent, parse
from engine.runs.export import FORMATS, export
from engine.runs.journal_reader import JOURNAL, JournalReader
from engine.runs.journal_writer import JournalWriter
from engine.runs.state import RunState
from engine.runs.store import inspect

SAMPLES = Path(__file__).parent / "samples"

WRITTEN = {1: "bf5f3f9a745bceb22dc8cd6344b07a570a552c41cc97d45f2da1971db75bd80e"}
"""Version of the format -> sha256 of its sample."""

RELEASES = {1: "0.1"}
"""Version of the format -> the release that wrote its sample."""


def test_there_is_a_sample_of_every_version_as_it_was_written() -> None:
    assert sorted(WRITTEN) == list(range(1, VERSION + 1))
    for version, digest in WRITTEN.items():
        assert hashlib.sha256((SAMPLES / f"journal-{RELEASES[version]}.jsonl").read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("version", WRITTEN)
def test_an_old_journal_is_read_exported_and_gone_on_with(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(SAMPLES / f"journal-{RELEASES[version]}.jsonl", folder / JOURNAL)
    reader = JournalReader(folder)
    events = reader.poll()
    assert reader.damage == []
    assert [event.seq for event in events] == list(range(9))
    assert events[2].texts["draft"] == "You should definitely pursue medicine.\n“É” 日本 😀 \x1b[31m"
    assert events[3].data["principles"] == {"autonomy_respect": 0.94, "fairness": None}
    assert events[3].data["spans"][0]["rule"] == "autonomy.order"
    assert events[2].raw["request"].startswith("<|im_start|>")
    assert inspect(folder).state == "finished"
    for file_format in FORMATS:
        assert export(folder, file_format, folder / f"x.{file_format}").entries >= 8
    with JournalWriter(folder) as journal:
        assert journal.append("NOTICE", 1, "goes on").seq == 9
    state = RunState()
    for event in JournalReader(folder).poll():
        state.apply(event)
    assert state.finished.complete
    assert state.finished.drafts["train-001"].startswith("You should")
    assert state.finished.draft_verdicts["train-001"].flagged is True


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("journal-*.jsonl")), ids=lambda path: path.stem)
def test_every_record_of_a_release_is_read_with_all_its_members(sample: Path) -> None:
    reader = JournalReader(sample)
    state = RunState()
    for record in reader.so_far():
        event = parse(record)
        assert isinstance(event, UnknownEvent) == (record.stage == "A-STAGE-OF-LATER")
        assert isinstance(event, UnknownEvent) or not event.unknown, record.stage
        state.apply(record)
    assert reader.damage == []
    assert state.unusable == 0
    assert state.status == "done"
    assert state.finished.complete
    assert state.loss.count > 0
    assert state.comparisons


def test_the_sample_of_0_2_holds_every_stage_of_the_method() -> None:
    classes = {type(parse(record)) for record in JournalReader(SAMPLES / "journal-0.2.jsonl").so_far()}
    modules = {cls.__module__.rpartition(".")[2] for cls in classes}
    assert {"run", "generation", "verdicts", "training", "comparison"} <= modules
    assert len(classes) >= 25


def newer(line: bytes, version: object = VERSION + 1) -> bytes:
    """The record in a version of the format that nobody knows yet."""
    head = line.rstrip(b"\n")[: -len(b',"crc":"00000000"}')].replace(b'{"v":1,', f'{{"v":{version},'.encode(), 1)
    return head + b',"crc":"%08x"}\n' % zlib.crc32(head)


def test_a_record_of_a_newer_version_says_so_and_the_others_are_read(tmp_path: Path) -> None:
    lines = (SAMPLES / "journal-0.1.jsonl").read_bytes().splitlines(keepends=True)
    with pytest.raises(NewerLine, match="version '2' of the journal is not known; this program reads version 1"):
        decode(newer(lines[0]))
    for version in ("0", "-1", "true", "null", '"1"', "1.5", "[1]"):
        with pytest.raises(ValueError, match="is not known") as raised:
            decode(newer(lines[0], version))
        assert not isinstance(raised.value, NewerLine)
    (tmp_path / JOURNAL).write_bytes(lines[0] + newer(lines[1]) + b"".join(lines[2:]))
    reader = JournalReader(tmp_path)
    assert [event.seq for event in reader.poll()] == [0, *range(2, 9)]
    (damage,) = reader.damage
    assert (damage.offset, "not known" in damage.reason) == (len(lines[0]), True)


def test_a_journal_that_ends_in_a_newer_version_is_not_written_to(tmp_path: Path) -> None:
    lines = (SAMPLES / "journal-0.1.jsonl").read_bytes().splitlines(keepends=True)
    data = b"".join(lines[:-1]) + newer(lines[-1]) + b"a torn tail"
    (tmp_path / JOURNAL).write_bytes(data)
    with pytest.raises(StorageError, match="newer version of Redraft"):
        JournalWriter(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == data
    assert not list(tmp_path.glob("journal.torn-*"))
