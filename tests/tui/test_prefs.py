from __future__ import annotations

from pathlib import Path

import pytest

from tui.services import preferences
from tui.services.preferences import Prefs


def test_choices_come_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "app.json"
    preferences.save(file, theme="redraft-light", verbosity=3, left=30, right=40, diff=12)
    assert preferences.load(file) == Prefs("redraft-light", 3, 30, 40, 12)


def test_two_apps_on_one_home_keep_each_other_s_choices(tmp_path: Path) -> None:
    file = tmp_path / "app.json"
    preferences.save(file, theme="redraft-light")
    preferences.save(file, verbosity=3)
    assert preferences.load(file) == Prefs(theme="redraft-light", verbosity=3)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"theme": 3}', '{"verbosity": "x"}', '{"left": true}', '{"new": 1}', "\x00"]
)
def test_a_damaged_file_costs_only_its_choices(tmp_path: Path, text: str) -> None:
    file = tmp_path / "app.json"
    file.write_text(text)
    assert preferences.load(file) == Prefs()


def test_a_verbosity_out_of_range_is_brought_back(tmp_path: Path) -> None:
    file = tmp_path / "app.json"
    file.write_text('{"verbosity": 99}')
    assert preferences.load(file).verbosity == 3


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    preferences.save(tmp_path / "in the way" / "app.json", verbosity=3)
