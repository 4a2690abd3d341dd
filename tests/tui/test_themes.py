from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem

from engine.errors import InputError
from tui import themes
from tui.themes import READABLE, Palette, contrast, load_all, parse

BUILTIN, _ = load_all(Path("/nowhere"))


def mapped(palette: Palette, system: ColorSystem) -> Palette:
    """The theme as a terminal with fewer colours shows it."""
    colors = {
        name: RichColor.parse(color).downgrade(system).get_truecolor().hex for name, color in palette.colors.items()
    }
    return Palette(palette.name, palette.title, palette.dark, colors)


def test_there_is_a_dark_a_light_and_a_high_contrast_theme() -> None:
    assert {"redraft-dark", "redraft-light", "redraft-contrast"} <= set(BUILTIN)
    assert BUILTIN["redraft-dark"].dark
    assert not BUILTIN["redraft-light"].dark


@pytest.mark.parametrize("name", sorted(BUILTIN))
@pytest.mark.parametrize("pair", READABLE, ids=" on ".join)
def test_every_text_can_be_read(name: str, pair: tuple[str, str]) -> None:
    assert contrast(BUILTIN[name], *pair) >= 4.5
    assert contrast(mapped(BUILTIN[name], ColorSystem.EIGHT_BIT), *pair) >= 4.5


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_sixteen_colours_leave_every_text_readable(name: str) -> None:
    assert all(contrast(mapped(BUILTIN[name], ColorSystem.STANDARD), *pair) >= 3 for pair in READABLE)


@pytest.mark.parametrize("name", [name for name in sorted(BUILTIN) if "contrast" in name])
def test_high_contrast_means_seven_to_one(name: str) -> None:
    assert all(contrast(BUILTIN[name], *pair) >= 7 for pair in READABLE)


def test_a_person_s_theme_is_loaded_and_completed(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\ndark = false\n[colors]\naccent = "#112233"\n')
    palettes, problems = load_all(tmp_path)
    assert not problems
    assert palettes["mine"].colors["accent"] == "#112233"
    assert palettes["mine"].colors["dim"] == BUILTIN["redraft-light"].colors["dim"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not TOML"),
        ("", "field 'name'"),
        ('name = "a b"', "field 'name'"),
        ('name = "a"\ncolors = 3', "field 'colors'"),
        ('name = "a"\n[colors]\nshiny = "#000000"', "field 'colors.shiny'"),
        ('name = "a"\n[colors]\naccent = "red"', "field 'colors.accent'"),
        ('name = "a"\n[colors]\naccent = 3', "field 'colors.accent'"),
    ],
)
def test_a_bad_theme_is_named_with_file_and_field(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=r"bad\.toml"):
        parse(text, "bad.toml")
    (tmp_path / "bad.toml").write_text(text)
    palettes, problems = load_all(tmp_path)
    assert set(palettes) == set(BUILTIN)
    assert len(problems) == 1
    assert words in problems[0]


def test_the_style_sheet_uses_only_colours_that_themes_have() -> None:
    import re
    from importlib.resources import files

    sheet = files("themes").joinpath("app.tcss").read_text(encoding="utf-8")
    assert set(re.findall(r"\$rd-([\w-]+)", sheet)) <= set(themes.COLORS)
    assert not re.search(r"\$(?!rd-)\w+", sheet.partition("*/")[2])
