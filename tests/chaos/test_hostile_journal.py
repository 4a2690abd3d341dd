"""A journal cut and flipped in any way: every record that is whole is read, the rest is told with its place."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from hostile import LONG, holds_no_control, refusal

from engine.events.base import Record
from engine.events.codec import DamagedLine, decode, encode
from engine.events.registry import EVENTS
from engine.events.schema import Event
from engine.runs.export import export
from engine.runs.journal_reader import JOURNAL, JournalReader
from engine.runs.journal_writer import JournalWriter
from engine.runs.store import inspect
from tui.services.log_store import LogStore
from tui.services.session import Session

COUNT = 10_000 if LONG else 500
SEED = random.SystemRandom().randrange(2**32) if LONG else 7


def stage_name(cls: type[Event]) -> str:
    """A name that a record of this class may have."""
    return re.sub(r"\{\w+\}", "1", cls.STAGE)


def records(chance: random.Random, count: int) -> list[Record]:
    """Events of all stages with texts of all kinds."""
    alphabet = 'ab\n"\\é\x00\x1b€😀{}:,'
    made = []
    for seq in range(count):
        stage = stage_name(chance.choice(EVENTS))
        texts = {label: "".join(chance.choices(alphabet, k=chance.randrange(60))) for label in ("draft", "prompt")}
        made.append(Record(seq, 1e9 + seq, stage, 1 + seq % 3, f"record {seq}", f"item-{seq}", texts, {}, {"n": seq}))
    return made


def whole(data: bytes) -> list[int]:
    """Numbers of the records that are whole in these bytes, found without the reader: line by line."""
    found = []
    for line in data.split(b"\n")[:-1]:
        try:
            found.append(decode(line).seq)
        except DamagedLine:
            continue
    return found


def test_whatever_is_cut_or_flipped_all_whole_records_are_read_and_the_rest_is_placed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    good = records(chance, 30)
    lines = [encode(event) for event in good]
    data = b"".join(lines)
    path = tmp_path / JOURNAL
    for turn in range(COUNT):
        harmed = bytearray(data)
        flips = chance.choice((0, 1, 1, 2, 5, 40)) if turn % 2 else 0
        for _ in range(flips):
            harmed[chance.randrange(len(harmed))] ^= 1 << chance.randrange(8)
        if not flips or chance.random() < 0.3:
            del harmed[chance.randrange(len(harmed) + 1) :]
        path.write_bytes(harmed)
        reader = JournalReader(tmp_path, chunk=chance.choice((64, 1_000, 1 << 20)))
        events = reader.poll()
        assert [event.seq for event in events] == whole(bytes(harmed)), (SEED, turn)
        assert all(event == good[event.seq] for event in events), (SEED, turn)
        unended = len(harmed) - harmed.rfind(b"\n") - 1
        covered = sum(len(lines[event.seq]) for event in events) + sum(d.length for d in reader.damage) + unended
        assert covered == len(harmed), (SEED, turn)
        assert all(harmed[d.offset + d.length - 1 : d.offset + d.length] in (b"\n", b"") for d in reader.damage)
        assert all(holds_no_control(d.reason) for d in reader.damage)


def test_every_reader_and_the_next_writer_take_a_harmed_journal(tmp_path: Path) -> None:
    chance = random.Random(SEED + 1)
    good = records(chance, 20)
    data = b"".join(encode(event) for event in good)
    for turn in range(COUNT // 10):
        harmed = bytearray(data)
        for _ in range(chance.choice((0, 1, 3, 10))):
            harmed[chance.randrange(len(harmed))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.7:
            del harmed[chance.randrange(len(harmed) + 1) :]
        folder = tmp_path / f"run-{turn}"
        folder.mkdir()
        (folder / JOURNAL).write_bytes(harmed)
        expected = whole(bytes(harmed))
        assert inspect(folder).state in {"finished", "stopped", "damaged"}
        session = Session()
        session.open(folder)
        while session.poll(1.0) or session.behind:
            pass
        assert len(session.store) == len(expected)
        for number in range(len(session.store)):
            assert session.store.event(number).seq == expected[number]
        session.close()
        done = export(folder, "jsonl", folder / "x.jsonl")
        assert done.entries == len(expected)
        torn = harmed[harmed.rfind(b"\n") + 1 :]
        with JournalWriter(folder) as journal:
            first = journal.next_seq - bool(torn)
            journal.append("NOTICE", 1, "goes on")
        assert first == (max(expected[-1:], default=-1) + 1), (SEED, turn)
        aside = list(folder.glob("journal.torn-*"))
        assert [p.read_bytes() for p in aside] == ([bytes(torn)] if torn else [])
        if torn:
            assert "were moved to" in (folder / JOURNAL).read_text("utf-8", "replace")
        assert whole((folder / JOURNAL).read_bytes())[: len(expected)] == expected


@pytest.mark.parametrize("how", ["replaced", "shrunk", "grown again", "removed", "a folder", "unreadable bytes"])
def test_a_journal_that_changes_under_its_readers_harms_nobody(tmp_path: Path, how: str) -> None:
    chance = random.Random(11)
    first, second = records(chance, 30), records(chance, 50)
    path = tmp_path / JOURNAL
    path.write_bytes(b"".join(map(encode, first)))
    reader, session = JournalReader(tmp_path), Session()
    session.open(tmp_path)
    assert len(reader.poll()) == 30
    while session.poll(1.0) or session.behind:
        pass
    if how == "replaced":  # by a longer one of another run
        (tmp_path / "other").write_bytes(b"".join(map(encode, second)))
        os.replace(tmp_path / "other", path)
    elif how in {"shrunk", "grown again"}:
        path.write_bytes(b"".join(map(encode, first[:10])))
    elif how == "removed":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(b"\xff" * 100_000)
    for _ in range(3):
        found: list[Record] = []
        error = refusal(lambda: found.extend(reader.poll()))  # noqa: B023 - called at once
        assert error is None or str(path) in str(error)
        session.poll(0.1)
        if how == "grown again":
            with open(path, "ab") as file:
                file.write(encode(Record(90, 1.0, "NOTICE", 1, "later")))
        assert all(event in second or event.summary == "later" for event in found)
    if how in {"shrunk", "grown again"}:
        assert any("are gone" in damage.reason for damage in reader.damage)
    for number in range(len(session.store)):
        assert isinstance(session.store.event(number), Record)
    session.close()


def test_a_record_that_says_it_is_whole_and_holds_nonsense_is_shown_or_passed_over(tmp_path: Path) -> None:
    from hostile import cases
    from hypothesis import given
    from hypothesis import strategies as st
    from mutilation import VALUES

    from engine.events.verbosity import entry
    from engine.runs.state import RunState

    data = st.dictionaries(
        st.sampled_from(
            (
                "name",
                "done",
                "total",
                "rate",
                "seconds",
                "config",
                "step",
                "steps",
                "loss",
                "valid",
                "base",
                "trained",
                "set",
                "changes",
                "result",
                "summary",
                "kept",
                "from",
                "to",
                "words_added",
                "model",
                "flagged",
                "principles",
            )
        ),
        VALUES,
    )

    @cases(300, 3_000)
    @given(st.sampled_from(EVENTS), data)
    def check(cls: type[Event], members: dict[str, object]) -> None:
        event = Record(0, 1.0, stage_name(cls), 2, "s", "i", {"draft": "d"}, {}, members)
        line = encode(event)
        found = decode(line)
        state = RunState()
        state.apply(found, 0)
        assert state.progress.left is None or state.progress.left >= 0
        made = entry(found, 3)
        assert made is not None
        assert holds_no_control(made.summary)
        store = LogStore()
        assert store.extend(0, [0], [len(line)], [found.level]) == 0

    check()
