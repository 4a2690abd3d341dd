from __future__ import annotations

from pathlib import Path

import pytest

from tui import keymap
from tui.keymap import APP, DIFF, INPUT, KEYS, LOG, PLACES, PROMPTS, RUN, Keymap, load, with_keys

pytestmark = pytest.mark.usefixtures("own_home")

DOCS = Path(__file__).parents[2] / "docs" / "keys.md"


def test_the_documentation_is_made_from_the_table() -> None:
    assert DOCS.read_text(encoding="utf-8") == keymap.as_markdown(), "run `python -m tui.keymap`"


def test_every_key_has_a_label_a_sentence_and_a_place() -> None:
    for key in KEYS:
        assert key.keys
        assert key.label
        assert key.help.endswith(".")
        assert key.place in PLACES


def test_no_key_means_two_things_in_one_place() -> None:
    for key in KEYS:
        for other in KEYS:
            if other is not key and keymap._meet(key.place, other.place) and {key.place, other.place} != {RUN, LOG}:
                assert not set(key.keys) & set(other.keys) or key.place != other.place, (key, other)


def test_ids_are_unique() -> None:
    ids = [keymap.binding_id(key) for key in KEYS]
    assert len(ids) == len(set(ids))


def test_every_action_exists_where_its_key_is_bound() -> None:
    from tui.app import RedraftApp
    from tui.screens.answers import Answers
    from tui.screens.constitution_editor import ConstitutionEditor
    from tui.screens.dialogs import Choice
    from tui.screens.report import ReportScreen
    from tui.screens.review import ReviewScreen
    from tui.screens.run import RunScreen
    from tui.screens.runs import Runs
    from tui.screens.setup import Setup
    from tui.screens.text_modal import Sheet
    from tui.screens.try_models import TryScreen
    from tui.widgets.diff import DiffPane
    from tui.widgets.evaluate import EvaluateField
    from tui.widgets.log.pane import LogView
    from tui.widgets.loss import LossPane
    from tui.widgets.prompts import PromptRows

    owners = {
        APP: RedraftApp,
        RUN: RunScreen,
        LOG: LogView,
        DIFF: DiffPane,
        PROMPTS: PromptRows,
        keymap.LOSS: LossPane,
        INPUT: EvaluateField,
        keymap.REPORT: ReportScreen,
        keymap.SHEET: Sheet,
        keymap.REVIEW: ReviewScreen,
        keymap.TRY: TryScreen,
        keymap.RUNS: Runs,
        keymap.SETUP: Setup,
        keymap.EDITOR: ConstitutionEditor,
        keymap.LIST: Choice,
        keymap.ANSWERS: Answers,
    }
    for key in KEYS:
        assert hasattr(owners[key.place], f"action_{key.action.partition('(')[0]}"), key


def test_nothing_that_destroys_is_bound_to_escape() -> None:
    assert {key.action for key in KEYS if "escape" in key.keys} == {"leave", "close", "back", "hide_cross"}


def test_a_person_s_keys_replace_the_table_s(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('pause = "f9"\nrun = ["^r", "f5"]\n[log]\nfold = "f8"\n')
    mine = load(file)
    keys = {keymap.binding_id(key): key.keys for key in mine.keys}
    assert keys["run.pause"] == ("f9",)
    assert keys["run.run"] == ("ctrl+r", "f5")
    assert keys["log.fold"] == ("f8",)
    assert not mine.problems
    assert mine.shown("pause") == "F9"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pause = [", "cannot be read"),
        ("nonsense = 'a'", "no action 'nonsense'"),
        ("pause = 3", "is no key"),
        ("pause = []", "is no key"),
        ("pause = 's'", "already means stop"),
        ("pause = ''", "is no key"),
    ],
)
def test_what_cannot_be_used_is_reported_and_left_out(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    mine = load(file)
    assert any(words in problem for problem in mine.problems), mine.problems
    assert mine.keys == KEYS


def test_a_file_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_bytes(b"\xff\xfe")
    assert load(file).problems


def test_without_a_file_nothing_changes(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml").keys == KEYS
    assert not load(tmp_path / "none.toml").problems


def test_overrides_name_only_what_differs() -> None:
    assert keymap.overrides(Keymap()) == {}
    assert keymap.overrides(with_keys({"pause": "f9"}, "x")) == {"run.pause": "f9"}


async def test_a_person_s_key_works_in_the_app_and_stands_in_footer_and_help() -> None:
    from driving import RecordingHost

    from engine import paths
    from engine.worker import StartRun
    from tui.app import RedraftApp

    paths.config_dir().mkdir(parents=True)
    (paths.config_dir() / "keys.toml").write_text('run = "f5"\nnothing = "x"\n')
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause(0.3)
        await pilot.press("ctrl+r")
        assert host.commands == []
        await pilot.press("f5")
        assert isinstance(host.commands[0], StartRun)
        picture = "\n".join("".join(s.text for s in line) for line in app.screen._compositor.render_strips())
        assert "F5 Run" in picture
        assert "lists them." in picture
