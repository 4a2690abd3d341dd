"""What a command writes where: results on stdout, everything else on stderr; JSON as UTF-8 whatever the locale.

Knows nothing of the engine but how to make text safe to show.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from engine.text import sanitize

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


_ESCAPED = {
    code: f"\\u{code:04x}"
    for code in [*range(0x7F, 0xA0), 0x200E, 0x200F, 0x061C, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
}
"""What a terminal may obey, as JSON's own escapes: it is the same to a program, and nothing to a terminal. JSON itself
escapes the other control characters."""


def prepare() -> None:
    """Make the standard streams usable: closed ones are silent, and no character that they cannot hold raises."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: `redraft ... >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def result(text: str = "") -> None:
    """A line of the command's result, uncolored: it contains no control sequences."""
    sys.stdout.write(sanitize(text) + "\n")


def emit(value: Any) -> None:
    """A JSON document, or one object of several, on a line of its own."""
    from engine.events.codec import dumps

    line = dumps(value).translate(_ESCAPED).encode("utf-8", "replace") + b"\n"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(line.decode("utf-8"))
        sys.stdout.flush()


def notice(text: str) -> None:
    """A line for the person, never for a program. Lost where stderr cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(sanitize(text) + "\n")
        sys.stderr.flush()


def coloured(stream: TextIO) -> bool:
    """Whether color is wanted there: a terminal that knows it, and no NO_COLOR (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether `TERM` names no terminal that moves its cursor: Emacs shells, CI consoles with a pty, an environment that
    was emptied ("unknown" and "emacs" are terminfo's names of such)."""
    return os.environ.get("TERM", "") in {"dumb", "unknown", "emacs", ""}


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal; False for closed ones."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def has_terminal() -> bool:
    """Whether the app can be opened: stdin and stdout have to be a terminal that can move its cursor."""
    return not is_dumb() and sys.stdin is not None and is_terminal(sys.stdin) and is_terminal(sys.stdout)


def paint(text: str, *styles: str) -> str:
    """The text in a color or weight; only for streams that are `coloured`."""
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m" if text and styles else text


def table(rows: Sequence[Mapping[str, str]], right: frozenset[str] = frozenset()) -> list[str]:
    """Lines of a table with a header, columns as wide as their widest cell; `right` names columns of numbers."""
    if not rows:
        return []
    columns = list(rows[0])
    cells = [{name: sanitize(row[name]).replace("\n", " ") for name in columns} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in columns}
    lines = []
    for row in [{name: name for name in columns}, *cells]:
        padded = [row[n].rjust(widths[n]) if n in right else row[n].ljust(widths[n]) for n in columns]
        lines.append("  ".join(padded).rstrip())
    return lines
