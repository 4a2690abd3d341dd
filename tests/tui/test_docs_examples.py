"""Every example in the documentation works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from engine.constitution.load import load
from engine.judges.rules.matching import failed_examples
from tui import keymap, themes
from tui.services import config_file

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)

EXAMPLES = [
    pytest.param(match[1], id=f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    for text in [path.read_text(encoding="utf-8")]
    for match in FENCE.finditer(text)
]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_toml_example_is_accepted(example: str, tmp_path: Path) -> None:
    table = tomllib.loads(example)
    if "principles" in table:
        path = tmp_path / "constitution.toml"
        path.write_text(example, encoding="utf-8")
        load(path, failed_examples)
    elif "colors" in table:
        themes.parse(example, "the documentation")
    else:
        (tmp_path / config_file.NAME).write_text(example, encoding="utf-8")
        found = config_file.load(tmp_path)
        assert found.problems == ()
        assert keymap.with_keys(found.keys, "the documentation").problems == ()
