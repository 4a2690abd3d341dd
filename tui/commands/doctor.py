"""`redraft doctor`: the facts of a bug report, as text to paste or as JSON."""

from __future__ import annotations

import locale
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tui.commands import options
from tui.terminal import output


def doctor(as_json: options.Json = False) -> None:
    """Show versions, devices, memory, disk, cache, terminal and recent runs, to paste into a bug report.

    It contains no prompt, answer or secret, and no name of this machine or its user.
    """
    from engine.doctor import examine

    found = {**examine(), "terminal": terminal()}
    if as_json:
        output.emit(found)
        return
    for line in lines(found):
        output.result(line)


def terminal() -> dict[str, Any]:
    """Facts about the terminal."""
    size = shutil.get_terminal_size()
    environment = os.environ
    return {
        "stdin": output.is_terminal(sys.stdin),
        "stdout": output.is_terminal(sys.stdout),
        "size": [size.columns, size.lines],
        "term": environment.get("TERM", ""),
        "colorterm": environment.get("COLORTERM", ""),
        "program": environment.get("TERM_PROGRAM", ""),
        "ssh": "SSH_CONNECTION" in environment,
        "tmux": "TMUX" in environment,
        "screen": "STY" in environment,
        "no_color": "NO_COLOR" in environment,
        "colors": _colors(environment),
        "unicode": "utf" in locale.getpreferredencoding(False).lower(),
        "encoding": locale.getpreferredencoding(False),
    }


def _colors(environment: Mapping[str, str]) -> str:
    """How many colors the environment promises; the app may find more by querying the terminal."""
    term = environment.get("TERM", "")
    if environment.get("NO_COLOR") or term in {"", "dumb", "unknown", "emacs"}:
        return "none"
    if environment.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return "16 million"
    return "256" if "256" in term else "16"


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The facts as lines, section by section."""
    for section, members in found.items():
        yield section
        for name, value in members.items():
            yield from _member(name, value, "  ")


def _member(name: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        flat = ", ".join(f"{key} {_shown(key, member)}" for key, member in value.items() if _said(member))
        yield f"{indent}{name}: {flat or 'none'}"
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield f"{indent}{name}:"
        for row in value:
            yield indent + "  " + ", ".join(f"{key} {_shown(key, cell)}" for key, cell in row.items() if _said(cell))
    else:
        yield f"{indent}{name}: {_shown(name, value)}"


def _said(value: Any) -> bool:
    return value is not None and value != ""


_BYTES = frozenset({"memory", "memory_free", "free", "journal"})


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and (name in _BYTES or value >= 1_000_000):
        return f"{value / 1e9:.2f} GB" if value >= 1e8 else f"{value / 1e6:.2f} MB"
    if name == "age" and isinstance(value, int):
        from tui.views.formatting import duration

        return f"{duration(float(value))} ago"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {member}" for key, member in value.items())
    if isinstance(value, list):
        return " x ".join(str(member) for member in value) or "none"
    return str(value) or "unknown"
