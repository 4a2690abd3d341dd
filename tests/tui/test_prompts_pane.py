"""The prompts pane: read whole, filtered, with what became of each, held-out ones included."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from test_app import settle, text_of

from engine.settings import preset
from tui.app import RedraftApp

pytestmark = pytest.mark.usefixtures("own_home")


async def test_the_marked_prompt_is_shown_whole_and_held_out_ones_by_their_change(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        prompts = app.run_screen.prompts
        await pilot.press("5")
        await settle(pilot)
        whole = prompts.text_of(prompts.item(0))
        assert " ".join(whole.split())[:40] in " ".join(str(prompts.query_one("#prompt-whole").render()).split())
        await pilot.press("full_stop", "full_stop")
        await settle(pilot)
        assert prompts.which == "held out"
        assert prompts.rows.count == preset("demo").n_heldout
        picture = text_of(app)
        assert "↓ " in picture
        assert "held out" in picture


async def test_prompts_are_filtered_by_words_as_they_are_typed(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        prompts = app.run_screen.prompts
        total = prompts.rows.count
        word = max(prompts.text_of(prompts.item(3)).split(), key=len)
        await pilot.press("5", "slash", *word)
        await settle(pilot)
        assert 0 < prompts.rows.count < total
        assert all(word.casefold() in prompts.text_of(prompts.item(n)).casefold() for n in range(prompts.rows.count))
        await pilot.press("enter")
        assert app.focused is prompts.rows
        await pilot.press("slash", "escape")
        await settle(pilot)
        assert prompts.rows.count == total


async def test_kept_and_dropped_prompts_can_be_listed_alone(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        prompts = app.run_screen.prompts
        prompts.limit(which="kept")
        assert prompts.rows.count == 16
        prompts.limit(which="dropped")
        assert prompts.rows.count == 4
