"""Help begins with the pane in focus; lines hang at every width; the palette says why a command has no effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from hypothesis import given
from hypothesis import strategies as st
from test_app import settle, text_of

from engine.runs.report import Report
from tui.app import RedraftApp
from tui.keymap import DIFF, INPUT, LOG, LOSS, PROMPTS, Keymap
from tui.screens.help import Help
from tui.services import command_palette
from tui.views import report
from tui.views.pieces import width_of, wrapped

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize(("keys", "place"), [(["4"], LOG), (["5"], PROMPTS), (["6"], LOSS), (["7"], DIFF)])
async def test_help_begins_with_the_pane_in_focus(finished: Path, keys: list[str], place: str) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press(*keys)
        assert app.run_screen.place == place
        app.run_screen.action_evaluate_text()
        await settle(pilot)
        assert app.run_screen.place == INPUT


@pytest.mark.parametrize("width", [34, 51, 70, 89])
@pytest.mark.parametrize("place", [LOG, PROMPTS, LOSS])
def test_no_line_of_the_help_is_wider_than_the_window_or_falls_back_to_the_left(width: int, place: str) -> None:
    lines = [str(line) for line in Help(Keymap(), place)._lines(width)]
    assert all(len(line) <= width for line in lines)
    entries = lines[lines.index("Words and signs") + 1 :]
    assert all(line.startswith("  ") for line in entries)
    assert any(line.startswith(" " * 19) for line in entries)


@pytest.mark.parametrize("width", [40, 51, 70])
def test_no_line_of_the_report_is_wider_than_the_window_or_falls_back_to_the_left(finished: Path, width: int) -> None:
    import json

    found = Report.of(json.loads((finished / "report.json").read_text()))
    rows = report.lines(found, width)
    assert all(width_of(row) <= width for row in rows)
    body = ["".join(text for text, _ in row) for row in rows][4:]
    assert not any(row.lstrip().startswith("%") for row in body)


@given(st.lists(st.tuples(st.text("ab %\u4e00\n", max_size=30), st.sampled_from(["x", "y"])), max_size=5))
def test_wrapping_pieces_loses_no_word(pieces: list[tuple[str, str]]) -> None:
    for width in (5, 12, 40):
        lines = wrapped(pieces, width, 2)
        assert all(width_of(line) <= width for line in lines)
        words = "".join("".join(text for text, _ in pieces).split())
        assert "".join("".join(text for text, _ in line) for line in lines).replace(" ", "").replace("\n", "") == words


async def test_the_palette_says_why_a_command_has_no_effect() -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        about = {command.title.split("  ")[0]: command.help for command in command_palette.commands(app.keymap, app)}
        assert about["Stop"].startswith("Not now: no run is in progress.")
        assert about["Report"].startswith("Not now: the comparison has not run.")
        assert not about["Run"].startswith("Not now")
        await pilot.press("question_mark")
        await settle(pilot)
        assert "This pane" in text_of(app)
