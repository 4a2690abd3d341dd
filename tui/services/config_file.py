"""`config.toml` in the settings folder: how the app looks, its keys, and the settings of the next run, in one file.

What it names holds at each start; everything else is as it was chosen last, or a default. Only the app reads it:
`redraft run` does what its options say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import RedraftError
from engine.files import expanded
from engine.settings import FILES, RunConfig, from_json, preset, to_json
from engine.text import sanitize, truncate

NAME = "config.toml"

LOOK: Mapping[str, tuple[type, str]] = {
    "theme": (str, 'the name of a theme, such as "redraft-light"'),
    "verbosity": (int, "0 to 3"),
    "notify": (bool, "true or false"),
    "letters": (bool, "true or false"),
    "left": (int, "cells"),
    "right": (int, "cells"),
    "diff": (int, "lines"),
}
"""Names outside of any table -> their type, and what is expected. They are those of `Prefs`."""


@dataclass(frozen=True)
class ConfigFile:
    """What the file says.

    Args:
        look: of `Prefs`.
        keys: as `tui.keymap.with_keys` takes them.
        run: settings of the next run; None where it says nothing on them, or nothing that can be used.
        problems: what cannot be used, a sentence each.
    """

    path: Path
    look: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, object] = field(default_factory=dict)
    run: RunConfig | None = None
    problems: tuple[str, ...] = ()


def load(folder: Path) -> ConfigFile:
    """The file of this folder; nothing where there is none. Never raises."""
    path = folder / NAME
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ConfigFile(path)
    except (OSError, ValueError, RecursionError) as error:
        return ConfigFile(path, problems=(f"{path}: cannot be read ({_shown(error, 200)}).",))
    problems: list[str] = []
    keys = _table(found.pop("keys", {}), "keys", path, problems)
    wanted = _table(found.pop("run", {}), "run", path, problems)
    look = {name: value for name, value in found.items() if _is_look(name, value, path, problems)}
    return ConfigFile(path, look, keys, _run(wanted, path, problems), tuple(problems))


def _table(value: object, name: str, path: Path, problems: list[str]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    problems.append(f"{path}: {name} is no table; write [{name}] and its lines below.")
    return {}


def _is_look(name: str, value: object, path: Path, problems: list[str]) -> bool:
    kind, expected = LOOK.get(name, (None, ""))
    if kind is None:
        known = ", ".join([*LOOK, "[keys]", "[run]"])
        problems.append(f"{path}: there is no setting {_shown(name, 60)!r}; there are {known}.")
        return False
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        problems.append(f"{path}: {name} is not what it should be; write {expected}.")
        return False
    return True


def _run(wanted: dict[str, Any], path: Path, problems: list[str]) -> RunConfig | None:
    """The settings of a preset with these in them."""
    if not wanted:
        return None
    try:
        start = to_json(preset(str(wanted.get("preset", "demo"))))
        paths = {name: str(expanded(value)) for name in FILES if isinstance(value := wanted.get(name), str) and value}
        # A profile names models; those of the preset would go before it.
        if "profile" in wanted:
            start = {name: value for name, value in start.items() if name not in ("generator", "critic", "judge")}
        return from_json(_merged(start, {**wanted, **paths}))
    except RedraftError as error:
        problems.append(f"{path}: [run] cannot be used. {error}")
        return None


def _merged(start: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`start` with what is wanted, table by table."""
    made = dict(start)
    for name, value in wanted.items():
        inner = made.get(name)
        made[name] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return made


def _shown(value: object, length: int) -> str:
    return truncate(sanitize(str(value)), length)
