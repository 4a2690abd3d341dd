"""Color themes: the shipped ones and the user's own, as TOML files of named colors.

A file that cannot be used is reported and left out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from textual.color import Color
from textual.theme import Theme

from engine.errors import InputError
from engine.text import sanitize, truncate

SHIPPED = tuple(
    f"redraft-{name}" for name in ("dark", "light", "contrast", "contrast-light", "colorblind", "colorblind-light")
)
"""The themes in the folder `themes`, in the order of the list to choose from."""
DEFAULT = SHIPPED[0]

COLORS = (
    "background",
    "panel",
    "border",
    "foreground",
    "soft",
    "dim",
    "accent",
    "good",
    "bad",
    "warn",
    "added",
    "removed",
    "hit",
    "span1",
    "span2",
    "span3",
    "span4",
)
"""What a theme names; style sheets know each as `$rd-<name>`."""

READABLE = tuple(
    [(text, "background") for text in ("foreground", "soft", "dim", "accent", "good", "bad", "warn")]
    + [(text, "panel") for text in ("foreground", "dim", "accent", "good", "bad", "warn")]
    + [(f"span{number}", "background") for number in (1, 2, 3, 4)]
    + [("foreground", behind) for behind in ("added", "removed", "hit")]
)
"""Pairs of colors, text and what is behind it, that the app draws: each needs a contrast of 4.5 or more."""


_BRIGHT = {"white": "#ffffff", "cyan": "#55ffff", "green": "#55ff55", "red": "#ff5555", "yellow": "#ffff55"}
_DARK_16 = {
    **dict.fromkeys(("background", "panel"), "#000000"),
    **dict.fromkeys(("foreground",), _BRIGHT["white"]),
    **dict.fromkeys(("border", "soft", "dim"), "#aaaaaa"),
    **dict.fromkeys(("accent", "span1"), _BRIGHT["cyan"]),
    **dict.fromkeys(("good", "span4"), _BRIGHT["green"]),
    **dict.fromkeys(("warn", "span2"), _BRIGHT["yellow"]),
    "bad": _BRIGHT["red"],
    "span3": "#ff55ff",
    "added": "#0000aa",
    "removed": "#aa0000",
    "hit": "#aa00aa",
}
# No green, yellow or gray of 16 is dark enough on white: what is good is black there, with its sign.
_LIGHT_16 = {
    **dict.fromkeys(("background", "panel"), _BRIGHT["white"]),
    **dict.fromkeys(("foreground", "border", "soft", "dim", "good", "span4"), "#000000"),
    **dict.fromkeys(("accent", "span1"), "#0000aa"),
    **dict.fromkeys(("bad", "span2"), "#aa0000"),
    **dict.fromkeys(("warn", "span3"), "#aa00aa"),
    "added": _BRIGHT["green"],
    "removed": _BRIGHT["red"],
    "hit": _BRIGHT["yellow"],
}
"""Colors on terminals with 16, as Rich names them; a theme's own would be taken for their nearest neighbors there, of
which many cannot be read on each other."""


@dataclass(frozen=True)
class Palette:
    """A theme as in its file: color name -> "#rrggbb"."""

    name: str
    title: str
    dark: bool
    colors: Mapping[str, str]

    def in_16_colors(self) -> Palette:
        """The theme on a terminal with 16 colors: of its own it keeps whether it is dark."""
        return replace(self, colors=_DARK_16 if self.dark else _LIGHT_16)

    def theme(self) -> Theme:
        """The theme as Textual takes it."""
        colors = self.colors
        variables = {f"rd-{name}": color for name, color in colors.items()}
        variables |= {
            "block-cursor-background": colors["accent"],
            "block-cursor-foreground": colors["background"],
            "block-cursor-text-style": "none",
            "border": colors["accent"],
            "border-blurred": colors["border"],
            "scrollbar": colors["border"],
            "scrollbar-hover": colors["dim"],
            "scrollbar-active": colors["accent"],
            "scrollbar-background": colors["background"],
            "scrollbar-background-hover": colors["background"],
            "scrollbar-background-active": colors["background"],
            "scrollbar-corner-color": colors["background"],
            "input-selection-background": colors["hit"],
            "input-cursor-background": colors["foreground"],
            "input-cursor-foreground": colors["background"],
            "text-muted": colors["dim"],
        }
        return Theme(
            name=self.name,
            primary=colors["accent"],
            secondary=colors["accent"],
            accent=colors["accent"],
            warning=colors["warn"],
            error=colors["bad"],
            success=colors["good"],
            foreground=colors["foreground"],
            background=colors["background"],
            surface=colors["background"],
            panel=colors["panel"],
            dark=self.dark,
            variables=variables,
        )


def load_all(folder: Path) -> tuple[dict[str, Palette], list[str]]:
    """The shipped themes and those of the user, by name, and what could not be used, one sentence
    each. A user's theme replaces one of the same name."""
    palettes: dict[str, Palette] = {}
    problems: list[str] = []
    for name in SHIPPED:
        file = f"{name}.toml"
        palette = parse(files("themes").joinpath(file).read_text(encoding="utf-8"), file)
        palettes[palette.name] = palette
    try:
        own = sorted(folder.glob("*.toml"))
    except OSError as error:
        own = []
        problems.append(f"{folder}: the folder of themes cannot be read ({error.strerror}).")
    for path in own:
        try:
            palette = parse(path.read_text(encoding="utf-8"), str(path))
        except InputError as error:
            problems.append(str(error))
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{path}: the theme cannot be read ({truncate(sanitize(str(error)), 200)}).")
        else:
            palettes[palette.name] = palette
    return palettes, problems


def files_in(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time of the last change and size of the user's theme files; () where there are none."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.glob("*.toml"))]
    except OSError:
        return ()
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)


def parse(text: str, where: str) -> Palette:
    """A theme from its file's text. Colors that are missing come from the built-in theme of the same brightness.

    Raises:
        InputError: naming file and field.
    """
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"this is not TOML: {truncate(sanitize(str(error)), 200)}.", where=where) from error
    name = record.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]{1,40}", name):
        raise InputError(
            "the theme needs a name of letters, digits and dashes.",
            where=f"{where}, field 'name'",
            next_step='Write name = "my-theme".',
        )
    colors = record.get("colors", {})
    if not isinstance(colors, dict):
        raise InputError("expected a table.", where=f"{where}, field 'colors'", next_step="Write [colors].")
    dark = bool(record.get("dark", True))
    full = dict(_builtin_colors(dark)) if set(COLORS) - set(colors) else {}
    for field, value in colors.items():
        place = f"{where}, field 'colors.{truncate(sanitize(str(field)), 40)}'"
        if field not in COLORS:
            raise InputError("unknown color.", where=place, next_step=f"Known are {', '.join(COLORS)}.")
        if not isinstance(value, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise InputError("expected a color.", where=place, next_step='Write it as "#1a2b3c".')
        full[field] = value
    title = record.get("title", name)
    return Palette(name, truncate(sanitize(str(title)), 40), dark, full)


def contrast(palette: Palette, text: str, behind: str) -> float:
    """The contrast ratio of two of a theme's colors, 1 to 21 (WCAG 2)."""
    one, other = (_luminance(Color.parse(palette.colors[name])) for name in (text, behind))
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def _luminance(color: Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _builtin_colors(dark: bool) -> Mapping[str, str]:
    name = "redraft-dark.toml" if dark else "redraft-light.toml"
    text = files("themes").joinpath(name).read_text(encoding="utf-8")
    colors: dict[str, str] = tomllib.loads(text)["colors"]
    return colors
