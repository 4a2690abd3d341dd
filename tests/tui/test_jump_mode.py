"""Jump mode: a letter over each pane and field puts the focus there."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from test_app import settle, text_of, until
from textual.widgets import Input

from tui.app import RedraftApp
from tui.screens.jump import Jump, targets

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_letter_stands_over_each_pane_and_goes_there(finished: Path, size: tuple[int, int]) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=size) as pilot:
        await until(pilot, "Done")
        await settle(pilot)
        found = targets(app.screen)
        assert list(found.values()) == app.screen.focus_chain
        for letter, widget in found.items():
            await pilot.press("f10")
            await settle(pilot)
            assert isinstance(app.screen, Jump)
            places = [app.run_screen.find_widget(one).visible_region.offset for one in found.values()]
            lines = text_of(app).splitlines()
            assert [lines[y][x + 1] for x, y in places] == list(found)
            await pilot.press(letter)
            await settle(pilot)
            assert app.screen is app.run_screen
            assert app.focused is widget
            if size[0] < 100:
                break  # the other panes are not in sight


async def test_fields_of_a_form_have_letters_and_other_keys_close_them(tmp_path: Path) -> None:
    app = RedraftApp(runs=tmp_path, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("c", "tab")
        await settle(pilot)
        form, focused = app.screen, app.focused
        assert isinstance(focused, Input)
        await pilot.press("f10")
        await settle(pilot)
        assert isinstance(app.screen, Jump)
        await pilot.press("escape")
        await settle(pilot)
        assert app.screen is form
        assert app.focused is focused
        letter, field = next((key, one) for key, one in targets(form).items() if one is not focused)
        await pilot.press("f10", letter)
        await settle(pilot)
        assert app.focused is field


async def test_letters_go_when_the_window_changes_its_size(tmp_path: Path) -> None:
    app = RedraftApp(runs=tmp_path, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("J")
        await settle(pilot)
        assert isinstance(app.screen, Jump)
        await pilot.resize_terminal(100, 40)
        await settle(pilot)
        assert app.screen is app.run_screen
