"""Lines as pieces of text with roles: what widgets and windows draw, before anything is known of colors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tui.views.wrap import cells, unbroken, wrap

Pieces = Sequence[tuple[str, str]]
"""Text and role, left to right."""


def width_of(pieces: Iterable[tuple[str, str]]) -> int:
    """Cells that the pieces take."""
    return sum(cells(text) for text, _ in pieces)


def clip(text: str, width: int) -> str:
    """The text in at most `width` cells, with an ellipsis where it was cut."""
    if cells(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    # Wrapping a text without spaces breaks it exactly at the width.
    start, end = wrap(text.replace(" ", "\u00a0").replace("\n", "\u00a0"), width - 1)[0]
    return text[start:end].rstrip() + "…"


def clause(text: str, width: int) -> str:
    """The text up to the last comma, colon or semicolon before which it fits in `width` cells; clipped where there is
    none."""
    if cells(text) <= width:
        return text
    ends = [found.start() for found in re.finditer("[,;:] ", text) if cells(text[: found.start()]) <= width]
    return text[: ends[-1]] if ends else clip(text, width)


def spread(left: Pieces, right: Pieces, width: int) -> list[tuple[str, str]]:
    """The pieces at both ends of a line; those on the left are clipped where there is no room."""
    room = width - width_of(right)
    line: list[tuple[str, str]] = []
    for text, role in left:
        text = clip(text, room)
        line.append((text, role))
        room -= cells(text)
        if room <= 0:
            break
    line.append((" " * max(0, room), "text"))
    return [*line, *right]


def wrapped(pieces: Pieces, width: int, indent: int = 0) -> list[list[tuple[str, str]]]:
    """The pieces on lines of at most `width` cells, broken between words, further lines `indent` cells in; a word that
    is wider than a line is cut into several."""
    text = "".join(text for text, _ in pieces).replace("\n", " ")
    roles = [role for text, role in pieces for _ in text]
    lines: list[list[tuple[str, str]]] = []
    start = 0
    while start < len(text):
        inner = indent if lines else 0
        first, end = wrap(unbroken(text[start:]), max(1, width - inner))[0]
        line: list[tuple[str, str]] = [(" " * inner, "text")] if inner else []
        for at in range(start + first, start + end):
            if line and line[-1][1] == roles[at] and (len(line) > 1 or not inner):
                line[-1] = (line[-1][0] + text[at], roles[at])
            else:
                line.append((text[at], roles[at]))
        lines.append(line)
        start += end
        while start < len(text) and text[start] == " ":
            start += 1
    return lines or [[]]
