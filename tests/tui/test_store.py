from __future__ import annotations

from pathlib import Path

import pytest
from recorded import Recorder, run

from engine.events.verbosity import entry
from engine.runs.journal_reader import read
from tui.services.log_search import Filter, Scan, Words
from tui.services.log_store import LogStore
from tui.services.session import Session


def opened(folder: Path) -> Session:
    session = Session()
    session.open(folder)
    while session.poll(1.0):
        pass
    return session


def test_events_come_back_as_they_were_written(finished: Path) -> None:
    session = opened(finished)
    assert [session.store.event(number) for number in range(len(session.store))] == list(read(finished))


def test_each_verbosity_shows_what_the_rule_says(finished: Path) -> None:
    store = opened(finished).store
    for verbosity in range(4):
        rule = [number for number, event in enumerate(read(finished)) if entry(event, verbosity) is not None]
        assert list(store.shown(verbosity)) == rule


def test_a_journal_that_vanishes_keeps_its_open_records_and_tells_of_the_others(finished: Path) -> None:
    store = opened(finished).store
    first = store.event(0)
    (finished / "journal.jsonl").write_bytes(b"")
    store._recent.clear()
    assert first.stage == "RUN-START"
    assert store.event(5).stage == "NOTICE"
    assert "can no longer be read" in store.event(5).summary


def test_evaluations_join_a_finished_run_and_a_new_run_replaces_it(tmp_path: Path) -> None:
    old = run(tmp_path / "old", train=2, heldout=2, steps=2)
    session = opened(old)
    count = len(session.store)
    aside = Recorder(tmp_path / "session")
    (aside.folder / "run.json").write_text('{"kind": "session"}')
    aside("EVAL-DECISION", 2, "clean", texts={"text": "a"}, data={"flagged": False})
    session.attend(aside.folder)
    session.poll(1.0)
    assert len(session.store) == count + 1
    assert session.store.event(count).stage == "EVAL-DECISION"
    assert session.state.status == "done"
    new = run(tmp_path / "new", train=2, heldout=2, steps=2)
    session.attend(new)
    session.poll(1.0)
    assert session.folder == new
    assert session.store.event(0).stage == "RUN-START"
    aside("EVAL-DECISION", 2, "clean", texts={"text": "b"}, data={"flagged": False})
    session.poll(1.0)
    assert session.store.event(len(session.store) - 1).texts == {"text": "b"}


def hits(store: LogStore, text: str, verbosity: int, start: int = 0, step: int = 1) -> list[int]:
    scan = Scan(store, Words(text), verbosity, start, step)
    found: list[int] = []
    while not scan.done:
        found += scan.run(1.0, limit=10_000)
    return found


@pytest.mark.parametrize(
    "text", ["medicine", "MEDICINE", "“should definitely”", 'leaves no "', "→", "train", "e", "zzz"]
)
@pytest.mark.parametrize("verbosity", [1, 2, 3])
def test_a_search_finds_exactly_what_is_shown(finished: Path, text: str, verbosity: int) -> None:
    store = opened(finished).store
    words = Words(text)
    rule = [n for n in range(len(store)) if words.in_event(store.event(n), verbosity)]
    assert hits(store, text, verbosity) == rule
    assert hits(store, text, verbosity, len(store) - 1, -1) == rule[::-1]


def test_a_search_sees_past_escapes_and_beyond_ascii(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run")
    recorder("NOTICE", 1, "plain")
    recorder("NOTICE", 2, "x", texts={"text": 'He said "never\\ever"\nand left for Zürich 日本'})
    store = opened(recorder.folder).store
    for text in ('"never', "ever", "\\ever", "zürich", "ZÜRICH", "日本", "left for"):
        assert hits(store, text, 2) == [1], text
    assert hits(store, "日本", 1) == []


def test_words_beyond_the_cut_are_found_only_where_they_are_shown(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run")
    recorder("NOTICE", 2, "x", texts={"text": "a " * 400 + "needle"})
    store = opened(recorder.folder).store
    assert hits(store, "needle", 2) == []
    assert hits(store, "needle", 3) == [0]


@pytest.mark.parametrize("around", [0, 100, 100_000])
def test_a_filter_filled_from_any_place_holds_all_hits_in_order(finished: Path, around: int) -> None:
    store = opened(finished).store
    found = Filter(store, Words("medicine"), 2, min(around, len(store)))
    while not found.done:
        found.run(0.001, enough=3)
    assert [found[index] for index in range(len(found))] == hits(store, "medicine", 2)
    assert found.share == pytest.approx(1.0)


def test_a_filter_goes_on_with_what_arrives_later(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run")
    recorder("NOTICE", 1, "needle one")
    session = opened(recorder.folder)
    found = Filter(session.store, Words("needle"), 2, 0)
    found.run(1.0)
    recorder("NOTICE", 1, "hay")
    recorder("NOTICE", 1, "needle two")
    session.poll(1.0)
    assert not found.done
    found.run(1.0)
    assert [found[0], found[1]] == [0, 2]


@pytest.mark.parametrize("verbosity", [1, 2, 3])
def test_what_a_verbosity_shows_grows_with_the_store(verbosity: int) -> None:
    store = LogStore()
    shown = store.shown(verbosity)
    store.extend(0, [0], [10], [1])
    store.extend(0, [10], [10], [1])
    assert list(shown) == [0, 1]
    assert shown[-1] == 1
