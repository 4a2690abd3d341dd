"""What the app remembers between starts: theme, verbosity and the sizes of panes.

Losing this file costs nothing, so nothing here raises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import StorageError
from engine.files import write_atomically


@dataclass(frozen=True)
class Prefs:
    """Choices; sizes in cells, 0 for the app's own. `notify`: ring the bell, set the window's title and notify the
    desktop when a run ends. `letters`: draw charts with letters instead of braille dots."""

    theme: str = ""
    verbosity: int = 2
    left: int = 0
    right: int = 0
    diff: int = 0
    notify: bool = True
    letters: bool = False


_MAX_SIZE = 1_000
"""Cells; a larger number in the file is damage."""


class Preferences:
    """The choices of this app and the file that keeps them.

    Args:
        path: the file.
        fixed: choices of the user's own settings file, which go before those that the app remembers.
    """

    def __init__(self, path: Path, fixed: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self.current = _in_range(dataclasses.replace(load(path), **(fixed or {})))

    def remember(self, **changes: Any) -> None:
        """Change these choices, now and for the next start."""
        self.current = dataclasses.replace(self.current, **changes)
        save(self._path, **changes)


def load(path: Path) -> Prefs:
    """The saved choices; the default for everything that is missing or of another type."""
    record = _read(path)
    known = dataclasses.asdict(Prefs())
    good = {name: value for name, value in record.items() if name in known and type(value) is type(known[name])}
    return _in_range(dataclasses.replace(Prefs(), **good))


def _in_range(prefs: Prefs) -> Prefs:
    sizes = {name: min(_MAX_SIZE, max(0, getattr(prefs, name))) for name in ("left", "right", "diff")}
    return dataclasses.replace(prefs, verbosity=min(3, max(0, prefs.verbosity)), **sizes)


def save(path: Path, **changes: Any) -> None:
    """Save these choices; all others stay as another app may have written them meanwhile.

    Where the file cannot be written, the next start begins with what it held before.
    """
    with contextlib.suppress(StorageError):
        write_atomically(path, json.dumps(_read(path) | changes).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
