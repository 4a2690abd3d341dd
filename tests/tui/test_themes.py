from __future__ import annotations

import math
from pathlib import Path

import pytest
from driving import RecordingHost
from rich.color import Color as RichColor
from rich.color import ColorSystem
from test_app import until
from textual.color import Color

from engine import paths
from engine.errors import InputError
from tui import themes
from tui.app import RedraftApp
from tui.themes import READABLE, Palette, contrast, load_all, parse
from tui.widgets.status import KeyLine

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


XTERM = "000000cd000000cd00cdcd000000eecd00cd00cdcde5e5e57f7f7fff000000ff00ffff005c5cffff00ff00ffffffffff"
CONSOLE = "000000aa000000aa00aa55000000aaaa00aa00aaaaaaaaaa555555ff555555ff55ffff555555ffff55ff55ffffffffff"
"""What xterm and the Linux console draw the 16 colors with, six digits each."""


@pytest.mark.parametrize("terminal", [XTERM, CONSOLE], ids=["xterm", "console"])
@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_sixteen_colours_leave_every_text_readable(name: str, terminal: str) -> None:
    palette = BUILTIN[name].in_16_colors()
    numbers = {
        name: RichColor.parse(color).downgrade(ColorSystem.STANDARD).number for name, color in palette.colors.items()
    }
    drawn = Palette(
        name, "", palette.dark, {name: f"#{terminal[6 * (number or 0) :][:6]}" for name, number in numbers.items()}
    )
    assert {pair: contrast(drawn, *pair) for pair in READABLE if contrast(drawn, *pair) < 4.5} == {}
    assert set(palette.colors) == set(themes.COLORS)


KINDS = {
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""Linear RGB as people without one kind of cones see it (Machado, Oliveira, Fernandes 2009)."""


def seen(color: str, kind: str) -> tuple[float, float, float]:
    """A color in CIELAB, as it is seen."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in Color.parse(color).normalized]
    red, green, blue = (max(0.0, min(1.0, sum(a * c for a, c in zip(row, linear, strict=True)))) for row in KINDS[kind])
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    f, g, h = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * g - 16, 500 * (f - g), 200 * (g - h)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in sorted(BUILTIN) if "colorblind" in name])
@pytest.mark.parametrize("pair", [("good", "bad"), ("added", "removed"), ("good", "warn"), ("bad", "warn")])
def test_color_blind_people_tell_good_from_bad(name: str, kind: str, pair: tuple[str, str]) -> None:
    one, other = (seen(BUILTIN[name].colors[color], kind) for color in pair)
    assert math.dist(one, other) >= (12 if pair[0] == "added" else 20)


def test_there_are_six_themes_two_of_them_for_the_color_blind() -> None:
    assert len(BUILTIN) >= 6
    assert {BUILTIN[name].dark for name in BUILTIN if "colorblind" in name} == {True, False}


@pytest.mark.usefixtures("own_home")
async def test_a_theme_file_that_changes_is_taken_at_once() -> None:
    folder = paths.config_dir() / "themes"
    folder.mkdir(parents=True)
    mine = folder / "mine.toml"
    mine.write_text('name = "mine"\n[colors]\naccent = "#112233"\n')
    app = RedraftApp(host=RecordingHost())
    app.preferences.remember(theme="mine")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        assert app.theme == "mine"
        key = app.query_one(KeyLine)
        assert key.role_style("key").color == RichColor.parse("#112233")
        mine.write_text('name = "mine"\n[colors]\naccent = "#445566"\n')
        app._reload_themes()
        await pilot.pause()
        assert app.theme == "mine"
        assert key.role_style("key").color == RichColor.parse("#445566")
        mine.write_text("name = ")
        app._reload_themes()
        await until(pilot, "TOML")
        assert app.theme == themes.DEFAULT
        mine.unlink()
        app._reload_themes()
        assert "mine" not in app.available_themes


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
