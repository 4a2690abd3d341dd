"""The editor of a constitution: checked as one types, tried at once, its tests run, saved, used, opened in $EDITOR."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from driving import RecordingHost
from terminals import Terminal
from test_app import text_of, until

from engine.constitution.load import load
from engine.errors import InputError
from engine.settings import preset
from tui.app import RedraftApp
from tui.screens.constitution_editor import ConstitutionEditor
from tui.services import constitution_draft as draft

TEXT = """# Mine.
name = "Two rules"

[[principles]]
id = "no_orders"
title = "No orders"
short = "orders"
description = "Answers offer choices and leave the decision to the person."
weight = 2.0
critiques = ["Where does the answer give an order?"]
revisions = ["Rewrite it without orders."]

[[principles.rules]]
id = "orders.must"
category = "order"
pattern = '\\byou must\\b'
weight = 0.9
match = ["You must go."]
must_not_match = ["You may go."]

[[principles.tests]]
text = "You must go there."
broken = true

[[principles.tests]]
text = "You may go there."
broken = true

# About brevity.
[[principles]]
id = "brief"
title = "Brief"
short = "brief"
description = "Answers are short: three sentences, or fewer where that is enough."
weight = 1.0
critiques = ["What could be left out?"]
revisions = ["Rewrite it in three sentences."]
"""


@pytest.fixture
def mine(tmp_path: Path, own_home: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def opened(path: Path | str, tmp_path: Path) -> RedraftApp:
    config = dataclasses.replace(preset("demo"), constitution=str(path), judge="rules")
    return RedraftApp(host=RecordingHost(), runs=tmp_path / "runs", config=config)


def editor(app: RedraftApp) -> ConstitutionEditor:
    assert isinstance(app.screen, ConstitutionEditor)
    return app.screen


async def test_a_text_is_checked_and_tried_as_one_types_and_its_tests_run(mine: Path, tmp_path: Path) -> None:
    app = opened(mine, tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("E")
        await until(pilot, "✓ valid · 2 principles · highest score 3")
        assert "no_orders" in text_of(app).splitlines()[1]
        await pilot.press("f2", *"you must")
        await until(pilot, "score 2.0")
        await until(pilot, '"you must" (order)')
        await pilot.press("escape", "f5")
        area = editor(app).area
        area.move_cursor((8, 0))
        await pilot.press("x")  # xweight = 2.0
        await until(pilot, "Unknown key")
        await until(pilot, "mine.toml · changed")
        area.move_cursor((0, 0))
        await pilot.press("f8")
        assert area.cursor_location[0] == 8
        await pilot.press("delete", "ctrl+z", "ctrl+z")
        await until(pilot, "✓ valid")
        await until(pilot, "✗ 1 of 2 tests passed, by rules")
        await until(pilot, "no_orders 2: expected a violation, found no violation: You may go there.")
        for width, height in ((80, 24), (60, 20), (200, 60)):
            await pilot.resize_terminal(width, height)
            await until(pilot, "^s Save")
            await until(pilot, "✓ valid")


async def test_principles_rules_and_tests_are_added_saved_and_used(mine: Path, tmp_path: Path) -> None:
    app = opened(mine, tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("E")
        await until(pilot, "✓ valid")
        await pilot.press("f7")
        await until(pilot, "Put the cursor into a principle first.")
        editor(app).area.move_cursor((5, 0))
        await pilot.press("f6", "f7", "ctrl+n")
        await until(pilot, "✓ valid · 3 principles")
        assert "# About brevity.\n[[principles]]" in editor(app).area.text
        await pilot.press("f9")
        await until(pilot, "Saved. F9 uses it for the next run.")
        made = load(mine)
        assert [len(one.rules) for one in made.principles] == [2, 0, 0]
        assert [len(one.tests) for one in made.principles] == [3, 0, 0]
        mine.write_text("changed elsewhere")
        await pilot.press("space", "ctrl+s")
        await until(pilot, "another program has changed this file")
        assert mine.read_text() == "changed elsewhere"
        app.screen.query_one("#draft-path").value = str(tmp_path / "other")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, "Saved.")
        await pilot.press("f9")
        await pilot.pause(0.2)
        assert app.screen is app.run_screen
        assert app.control.config.constitution == str(tmp_path / "other.toml")


async def test_changes_are_dropped_after_a_question_only(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "default_text", lambda: TEXT)  # the real one has 7,000 lines
    app = opened("", tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("E")
        await until(pilot, "A copy of the built-in constitution")
        await pilot.press("x", "escape")
        await until(pilot, "was changed and not saved")
        await pilot.press("escape", "escape")
        await until(pilot, "was changed and not saved")
        await pilot.press("down", "enter")
        await pilot.pause(0.2)
        assert app.screen is app.run_screen
        assert app.control.config.constitution == ""


def test_other_forms_are_turned_into_toml_and_a_file_is_never_overwritten(tmp_path: Path) -> None:
    document = tmp_path / "rules.md"
    document.write_text("# Rules\n\n## Be kind\n\nAnswers are kind.\n\n## Be brief\n\nAnswers are short.\n")
    text, note = draft.read(str(document))
    assert [one.id for one in draft.check(text, "x").outline] == ["be_kind", "be_brief"]
    assert "turned into TOML" in note
    with pytest.raises(InputError, match="exists already"):
        draft.write(document, text, None)


def test_a_problem_names_its_line_and_what_helps() -> None:
    found = draft.check(TEXT.replace("weight = 0.9", "weight = 7"), "mine.toml")
    assert found.constitution is None
    assert TEXT.split("\n")[found.line] == "weight = 0.9"
    assert "mine.toml" not in found.problem
    assert draft.check("name = \n", "mine.toml").line == 0
    assert draft.end_of_principle("# nothing", 0) == -1


@pytest.mark.alone
def test_the_text_is_edited_in_another_program(mine: Path, tmp_path: Path) -> None:
    script = tmp_path / "edit.py"
    script.write_text(
        "import sys, pathlib\npath = pathlib.Path(sys.argv[1])\nprint('The editor is here.')\n"
        "path.write_text(path.read_text().replace('Two rules', 'Three rules'))\n"
    )
    code = (
        "import dataclasses; from engine.settings import preset; from tui.app import run;"
        f"run(config=dataclasses.replace(preset('demo'), constitution={str(mine)!r}))"
    )
    with Terminal(code, EDITOR=f"{sys.executable} {script}") as terminal:
        terminal.until("^q Quit")
        terminal.type("E")
        terminal.until("valid")
        terminal.type("\x1bOS")
        terminal.until("Three rules")
        assert b"The editor is here." in terminal.sent
        terminal.until("^s Save")
        terminal.type("\x1b")
        terminal.until("was changed and not saved")
        terminal.type("\x1b[B\r")
        terminal.until("^q Quit")
        terminal.type("\x11")
        assert terminal.wait() == 0
        assert terminal.restored
