"""A reader gives every whole record, reports the rest, and never raises for what is in the file.

The ten thousand truncations and flips of `make chaos` are in tests/chaos/test_hostile_journal.py.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.errors import StorageError
from engine.events.base import Record
from engine.events.codec import encode
from engine.runs import journal_reader as reader_module
from engine.runs.journal_reader import JOURNAL, JournalReader, read
from engine.runs.journal_writer import JournalWriter


def events(count: int, chance: random.Random) -> list[Record]:
    alphabet = 'ab\n"\\é\x00\x1b€😀'
    return [
        Record(
            seq, float(seq), "NOTICE", 1, "n", texts={"t": "".join(chance.choices(alphabet, k=chance.randrange(90)))}
        )
        for seq in range(count)
    ]


def journal_of(folder: Path, records: list[Record]) -> Path:
    path = folder / JOURNAL
    path.write_bytes(b"".join(encode(record) for record in records))
    return path


def test_after_any_truncation_every_whole_record_is_read_and_the_rest_is_counted(tmp_path: Path) -> None:
    chance = random.Random(1)
    records = events(20, chance)
    path = journal_of(tmp_path, records)
    whole = path.read_bytes()
    ends = [0]
    for record in records:
        ends.append(ends[-1] + len(encode(record)))
    for _ in range(1_000):
        size = chance.randrange(len(whole) + 1)
        path.write_bytes(whole[:size])
        reader = JournalReader(path)
        found = reader.poll()
        complete = sum(end <= size for end in ends) - 1
        assert found == records[:complete]
        assert reader.damage == []


def test_after_any_changed_bit_all_other_records_are_read_and_the_damage_is_told(tmp_path: Path) -> None:
    chance = random.Random(2)
    records = events(20, chance)
    path = journal_of(tmp_path, records)
    whole = path.read_bytes()
    for _ in range(1_000):
        position, bit = chance.randrange(len(whole)), chance.randrange(8)
        changed = bytearray(whole)
        changed[position] ^= 1 << bit
        path.write_bytes(changed)
        reader = JournalReader(path)
        found = reader.poll()
        lost = [record for record in records if record not in found]
        assert [record for record in records if record in found] == found
        assert 1 <= len(lost) <= 2  # two where the newline between them is gone
        if changed.endswith(b"\n"):
            assert any(d.offset <= position < d.offset + d.length for d in reader.damage)
        else:
            assert lost == records[-1:] or lost == records[-2:]


def test_after_random_mutilation_no_record_is_invented(tmp_path: Path) -> None:
    chance = random.Random(3)
    records = events(30, chance)
    path = journal_of(tmp_path, records)
    whole = path.read_bytes()
    for _ in range(1_000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            start = chance.randrange(len(data))
            end = min(len(data), start + chance.randrange(400))
            kind = chance.randrange(4)
            if kind == 0:
                del data[start:end]
            elif kind == 1:
                data[start:end] = chance.randbytes(end - start)
            elif kind == 2:
                data[start:start] = data[start:end]
            else:
                data[start:start] = b"\0" * chance.randrange(300)
            if not data:
                break
        path.write_bytes(data)
        assert all(event in records for event in JournalReader(path).poll())


def test_damage_says_where_and_what(tmp_path: Path) -> None:
    first, second, third = (encode(event) for event in events(3, random.Random(4)))
    broken = second.replace(b"NOTICE", b"notice")
    (tmp_path / JOURNAL).write_bytes(first + broken + third)
    reader = JournalReader(tmp_path)
    assert [event.seq for event in reader.poll()] == [0, 2]
    (damage,) = reader.damage
    assert (damage.offset, damage.length) == (len(first), len(broken))
    assert "checksum" in damage.reason


def test_records_that_are_missing_altogether_are_told(tmp_path: Path) -> None:
    records = events(10, random.Random(5))
    journal_of(tmp_path, [*records[:3], *records[7:]])
    reader = JournalReader(tmp_path)
    reader.poll()
    (damage,) = reader.damage
    assert damage.length == 0
    assert "4 records before record 7" in damage.reason


def test_lines_that_stand_twice_are_no_reason_to_miss_records(tmp_path: Path) -> None:
    records = events(4, random.Random(6))
    journal_of(tmp_path, [*records[:3], records[1], records[3]])
    reader = JournalReader(tmp_path)
    assert len(reader.poll()) == 5
    assert reader.damage == []


def test_a_reader_may_be_there_before_the_folder_is(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path / "run")
    assert reader.poll() == []
    with JournalWriter(tmp_path / "run") as journal:
        journal.append("NOTICE", 1, "one")
        assert [event.summary for event in reader.poll()] == ["one"]


def test_events_come_once_and_in_portions_when_asked(tmp_path: Path) -> None:
    records = events(50_000, random.Random(7))
    journal_of(tmp_path, records)
    reader = JournalReader(tmp_path)
    found: list[Record] = []
    portions = 0
    while part := reader.poll(limit=100):
        assert len(part) < 40_000
        found += part
        portions += 1
    assert found == records
    assert portions > 1
    assert reader.poll() == []


def test_a_record_longer_than_a_portion_of_reading_arrives_whole(tmp_path: Path) -> None:
    text = "\x00é" * 3_000_000
    with JournalWriter(tmp_path) as journal:
        journal.append("NOTICE", 1, "before")
        journal.append("NOTICE", 1, "long", texts={"text": text})
        journal.append("NOTICE", 1, "after")
    reader = JournalReader(tmp_path)
    found: list[Record] = []
    while part := reader.poll(limit=1):
        found += part
    assert [event.summary for event in found] == ["before", "long", "after"]
    assert found[1].texts["text"] == text


def test_half_a_record_that_the_writer_takes_back_costs_nothing(tmp_path: Path) -> None:
    """What a reader sees when the disk fills up in the middle of a record and is then given room again."""
    path = tmp_path / JOURNAL
    first, second = (encode(event) for event in events(2, random.Random(8)))
    path.write_bytes(first + second[:30])
    reader = JournalReader(tmp_path)
    assert len(reader.poll()) == 1
    path.write_bytes(first)
    assert reader.poll() == []
    path.write_bytes(first + second)
    assert [event.seq for event in reader.poll()] == [1]
    assert reader.damage == []


def test_a_file_that_lost_lines_is_told_and_read_on(tmp_path: Path) -> None:
    records = events(4, random.Random(9))
    path = journal_of(tmp_path, records[:3])
    reader = JournalReader(tmp_path)
    assert len(reader.poll()) == 3
    path.write_bytes(encode(records[0]))
    assert reader.poll() == []
    assert "gone" in reader.damage[0].reason
    with open(path, "ab") as file:
        file.write(encode(records[3]))
    assert [event.seq for event in reader.poll()] == [3]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_LINE", 3 << 20)
    first, second = (encode(event) for event in events(2, random.Random(10)))
    (tmp_path / JOURNAL).write_bytes(first + b"x" * (20 << 20) + b"\n" + second)
    reader = JournalReader(tmp_path)
    assert [event.seq for event in reader.poll()] == [0, 1]
    assert sum(damage.length for damage in reader.damage) == (20 << 20) + 1


def test_something_that_is_no_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(StorageError, match=JOURNAL):
        JournalReader(tmp_path).poll()


def test_reading_a_journal_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="redraft runs"):
        list(read(tmp_path))


_WRITE = """
import sys
from pathlib import Path
from engine.runs.journal_writer import JournalWriter
with JournalWriter(Path(sys.argv[1])) as journal:
    for number in range(int(sys.argv[2])):
        journal.append("NOTICE", 1, str(number), texts={"text": "é" * (number * 37 % 20_000)})
"""


def test_several_readers_follow_a_growing_journal_without_missing_or_doubting_anything(tmp_path: Path) -> None:
    count, results = 3_000, []
    with subprocess.Popen([sys.executable, "-c", _WRITE, str(tmp_path), str(count)]) as writer:

        def follow(limit: int | None) -> None:
            reader, found = JournalReader(tmp_path), []
            while len(found) < count:
                alive = writer.poll() is None
                part = reader.poll(limit=limit)
                found += part
                if not part and not alive:
                    break
            results.append(([event.seq for event in found], reader.damage))

        threads = [threading.Thread(target=follow, args=(limit,)) for limit in (None, 1, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [(list(range(count)), [])] * 3
