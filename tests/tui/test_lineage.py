"""From a compared answer to the training rows that are nearest to it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from driving import RecordingHost
from recorded import CRITIQUE, GOOD
from test_app import settle, text_of, until
from textual.pilot import Pilot

from engine.export import training_pairs
from engine.export.training_pairs import NearPair, TrainingPair
from engine.runs.journal_writer import JournalWriter
from tui.app import RedraftApp
from tui.screens.answers import Answers
from tui.screens.lineage import LineageScreen
from tui.views.lineage import lines
from tui.views.verdict import plain

pytestmark = pytest.mark.usefixtures("own_home")


async def opened(pilot: Pilot[None], *keys: str) -> LineageScreen:
    await until(pilot, "Done")
    await pilot.press(*keys)
    await until(pilot, "Nearest training rows ·")
    window = pilot.app.screen
    assert isinstance(window, LineageScreen)
    return window


async def test_the_rows_nearest_to_an_answer_are_found_beside_the_apps_thread(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    read = training_pairs.read_history
    monkeypatch.setattr(
        training_pairs, "read_history", lambda folder: (threads.append(threading.current_thread()), read(folder))[1]
    )
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 50)) as pilot:
        window = await opened(pilot, "7", "L")
        shown = " ".join(text_of(app).split())
        assert "10 of 16" in shown
        assert all(one.pair.kept for one in window.rows)
        assert [one.nearness for one in window.rows] == sorted((one.nearness for one in window.rows), reverse=True)
        assert "autonomy" in shown
        assert CRITIQUE[:40] in shown
        assert "Draft, rejected · expected 3.00" in shown
        assert "expected score 3.00 → 0.00" in shown
        item = window.rows[1].pair.item
        await pilot.press("down", "enter")
        await settle(pilot)
        assert app.screen is app.run_screen
        assert app.run_screen.log_box.view.filter.item == item
    assert threads
    assert threading.main_thread() not in threads


async def test_from_the_list_of_answers_to_the_rows_and_back(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(80, 24)) as pilot:
        window = await opened(pilot, "W", "L")
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, Answers)
        window = await opened(pilot, "L")
        await pilot.press("enter")
        await settle(pilot)
        assert app.screen is app.run_screen
        assert app.run_screen.log_box.view.filter.item == window.rows[0].pair.item


async def test_a_run_without_pairs_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "demo-1"
    with JournalWriter(folder) as journal:
        journal.append("RUN-START", 1, "demo", data={"config": {}})
        texts = {"prompt": "Which job?", "base": "This one.", "trained": "Either."}
        data = {"set": "heldout", "base": {"score": 1.0}, "trained": {"score": 0.0}}
        journal.append("COMPARISON-TEST 1/1", 2, "", item="a", texts=texts, data=data)
    app = RedraftApp(folder=folder, host=RecordingHost())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("7", "L")
        await until(pilot, "No pair that this run was trained on")


def test_a_demonstration_is_named_as_such_and_texts_are_data() -> None:
    pair = TrainingPair(
        "t", "Which\x1b[31m job?", draft="This.", rejected="That.", chosen=GOOD, demonstration=GOOD,
        is_demonstrated=True, kept=True, score_chosen=0.0, expected_chosen=0.09,
    )  # fmt: skip
    shown = "\n".join(plain(lines(NearPair(pair, 0.5, 0.25), 60)))
    assert "\x1b" not in shown
    assert "Chosen · the written demonstration · score 0.0 · expected 0.09" in shown
    assert "Rejected\nThat." in shown
