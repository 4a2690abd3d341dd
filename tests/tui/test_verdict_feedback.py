"""Agreeing or disagreeing with a verdict, wherever one is in focus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driving import RecordingHost
from recorded import BAD, BASE, GOOD, TRAINED, verdict
from textual.pilot import Pilot

from engine.judges.feedback import labels_path
from engine.judges.labeled import LabeledText, read_labeled
from engine.runs.journal_reader import read
from engine.runs.journal_writer import JournalWriter
from tui.app import RedraftApp
from tui.screens.dialogs import Choice
from tui.screens.text_modal import Sheet
from tui.services.judged_texts import judged_texts
from tui.services.log_store import LogStore

pytestmark = pytest.mark.usefixtures("own_home")


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause(0.08)


def kept() -> list[LabeledText]:
    return list(read_labeled([labels_path()])) if labels_path().exists() else []


def broken() -> dict[str, bool]:
    return {row.principle: row.label for row in kept()}


async def test_one_key_agrees_with_the_side_of_a_comparison(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("7", "left", "Y")
        await settle(pilot)
        assert broken() == {
            "harm_prevention": False,
            "truthfulness": False,
            "fairness": False,
            "autonomy_respect": True,
        }
        assert {row.text for row in kept()} == {BASE}
        assert any("redraft judge fit" in notice.message for notice in app._notifications)
        await pilot.press("right", "Y")
        await settle(pilot)
        assert {row.text for row in kept()} == {BASE, TRAINED}


async def test_disagreeing_asks_which_principle_is_right(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("7", "right", "D")
        await settle(pilot)
        assert isinstance(app.screen, Choice)
        await pilot.press("down", "down", "enter")
        await settle(pilot)
        assert broken() == {"fairness": True}
        assert kept()[0].category == "corrected"
        await pilot.press("D", "escape")
        assert broken() == {"fairness": True}


async def test_the_marked_verdict_of_the_log_is_labeled_with_its_text_and_prompt(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        number = next(e.seq for e in read(finished) if e.stage == "INITIAL-EVALUATION")
        app.run_screen.log_box.view.go_to(number)
        await pilot.press("D", "enter")
        await settle(pilot)
        assert not any(broken().values())
        assert len(kept()) == 4
        assert {(row.text, bool(row.prompt)) for row in kept()} == {(BAD, True)}


async def test_of_a_comparison_in_the_log_the_answer_is_asked_for(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        number = next(e.seq for e in read(finished) if e.stage.startswith("COMPARISON-TEST"))
        app.run_screen.log_box.view.go_to(number)
        await pilot.press("Y")
        await settle(pilot)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert {row.text for row in kept()} == {TRAINED}


async def test_a_verdict_on_a_typed_text_is_labeled_from_the_field_and_its_window(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    with JournalWriter(folder) as journal:
        (folder / "run.json").write_text('{"kind": "session", "config": {}}')
        journal.append("EVAL-INPUT", 2, "", item="eval-1", texts={"text": BAD, "prompt": "Which one?"})
        journal.append("EVAL-DECISION", 1, "", item="eval-1", data=verdict(2.0, autonomy_respect=0.94))
    app = RedraftApp(folder=folder, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("i", "f4")
        await settle(pilot)
        assert broken()["autonomy_respect"] is True
        assert {(row.text, row.prompt) for row in kept()} == {(BAD, "Which one?")}
        await pilot.press("f3")
        await settle(pilot)
        assert isinstance(app.screen, Sheet)
        await pilot.press("D")
        await settle(pilot)
        assert isinstance(app.screen, Choice)
        await pilot.press("enter")
        await settle(pilot)
        assert broken()["autonomy_respect"] is False


async def test_without_a_verdict_in_focus_nothing_is_kept(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("Y")
        app.run_screen.log_box.view.go_to(0)
        await pilot.press("D")
        await settle(pilot)
        assert len(app._notifications) == 2
        assert kept() == []


def test_each_verdict_finds_the_text_that_it_is_about(tmp_path: Path) -> None:
    store = LogStore()
    good = verdict(0.0)
    where = {"set": "heldout", "arm": "trained", "sample": 1}
    with JournalWriter(tmp_path) as journal:
        journal.append("TRAINING-EXAMPLE 1/1", 2, "", item="a", texts={"prompt": "Why?"})
        journal.append("INITIAL-GENERATION", 2, "", item="a", texts={"draft": BAD})
        journal.append("DRAFT-SAMPLE", 3, "", item="a", texts={"sample": "Sample."}, data={"candidate": 1})
        journal.append("INITIAL-GENERATION", 2, "", item="b", texts={"draft": "Other."})
        journal.append("REVISION-CANDIDATE", 3, "", item="a", texts={"revision": GOOD}, data={"candidate": 2})
        for stage, more in (
            ("INITIAL-EVALUATION", {}),
            ("CANDIDATE-EVALUATION", {"candidate": 1}),
            ("CANDIDATE-EVALUATION", {"candidate": 2}),
            ("COMPARISON-EVALUATION", where),
        ):
            journal.append(stage, 3, "", item="a", data={**good, **more})
        texts = {"prompt": "Why not?", "answer": "Answer."}
        journal.append("COMPARISON-ANSWER", 3, "", item="c", texts=texts, data=where)
        journal.append("COMPARISON-EVALUATION", 3, "", item="c", data={**good, **where})
    source = store.add_source(tmp_path / "journal.jsonl")
    offset = 0
    for number, line in enumerate((tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)):
        assert store.extend(source, [offset], [len(line)], [1]) == number
        offset += len(line)
    found = {number: judged_texts(store, number) for number in range(len(store))}
    texts_of = {number: (one[0].text, one[0].prompt) for number, one in found.items() if one}
    assert texts_of == {
        5: (BAD, "Why?"),
        6: ("Sample.", "Why?"),
        7: (GOOD, "Why?"),
        10: ("Answer.", "Why not?"),
    }
    store.close()
