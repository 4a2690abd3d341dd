"""Where in a TOML file a key stands, so that an error can name its line.

`tomllib` returns values without places; this scans the text once for table headers and keys, and ignores values.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_HEADER = re.compile(r"\[\[?\s*([^\[\]]+?)\s*\]\]?")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)\s*="""
)
# What can open or close something; a string is skipped as a whole.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}' + r"|'''(?:[^']|'(?!''))*'{3,5}" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'"
    r"|#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Lines:
    """Line numbers, from 1, of tables and keys; a place is a path such as ("principles", 0, "rules", 2, "pattern").

    Args:
        text: the file; it is scanned when the first line is asked for, which a file without errors never needs.
    """

    text: str

    @functools.cached_property
    def known(self) -> dict[Place, int]:
        """All tables and the keys directly in them. Never raises: what it cannot read it passes over."""
        return _find_lines(self.text)

    def of(self, place: Place) -> int | None:
        """The line of a place, else of the nearest thing around it that has one, else None."""
        for length in range(len(place), 0, -1):
            line = self.known.get(place[:length])
            if line is not None:
                return line
        return None


def _find_lines(text: str) -> dict[Place, int]:
    known: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    number = 1
    position = 0
    while position < len(text):
        line_end = text.find("\n", position)
        line_end = len(text) if line_end < 0 else line_end
        line = text[position:line_end]
        stripped = line.lstrip()
        header = _HEADER.match(stripped) if stripped.startswith("[") else None
        if header is not None:
            table = _table(header.group(1), stripped.startswith("[["), counts)
            known.setdefault(table, number)
        else:
            key = _KEY.match(line)
            if key is not None:
                known.setdefault(table + tuple(_names(key.group(1))), number)
                end = _value_end(text, position + key.end())
                number += text.count("\n", position, end)
                position = end
                continue
        position = line_end + 1
        number += 1
    return known


def _names(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _table(dotted: str, is_array: bool, counts: dict[Place, int]) -> Place:
    """The path of a header, with the number of each array's element."""
    place: Place = ()
    names = _names(dotted)
    for depth, name in enumerate(names):
        place = (*place, name)
        if is_array and depth == len(names) - 1:
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _value_end(text: str, start: int) -> int:
    """The place behind the line break that ends the value which starts at `start`."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        found = token.group()
        if found in "[{":
            depth += 1
        elif found in "]}":
            depth -= 1
        elif found == "\n" and depth <= 0:
            return token.end()
    return len(text)
