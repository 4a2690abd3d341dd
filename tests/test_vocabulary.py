"""scripts/check_vocabulary.py finds replaced words where users read them, and leaves code alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import check_vocabulary

    yield check_vocabulary.main
    del sys.modules["check_vocabulary"]


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("a.md", "One.\nThe number format of a graphics card.\n", ["a.md:2", "number format", "graphics card"]),
        ("a.md", "The run goes\non.\n", ["a.md:1", "goes on"]),
        ("a.md", "Normalised colours, labelled.\n", ["Normalised", "colours", "labelled"]),
        ("a.py", 'raise InputError(f"{x} is no number.", next_step="Mend it.")\n', ["is no number", "Mend"]),
        ("a.py", 'x = setting(1, "Chosen by nobody")\n', ["nobody"]),
        ("a.py", 'raise ModelError("Unknown." if x else "It gives way.")\n', ["gives way"]),
    ],
)  # fmt: skip
def test_words_that_were_replaced_are_found(main, tmp_path, capsys, name, text, problems) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / name).write_text(text)
    assert main([str(tmp_path / name)]) == 1
    printed = capsys.readouterr().out
    for problem in problems:
        assert problem in printed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "`colour`\n```\ncolour, goes on\n```\n[page](colour.md) There is no run. A color, a promise.\n"),
        ("a.py", 'x = "nobody"  # whom\nraise InputError("There is no such file.")\n'),
    ],
)  # fmt: skip
def test_code_links_and_other_strings_are_left_alone(main, tmp_path, capsys, name, text) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / name).write_text(text)
    assert main([str(tmp_path / name)]) == 0, capsys.readouterr().out


def test_the_project_keeps_its_vocabulary(main, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main([]) == 0, capsys.readouterr().out
