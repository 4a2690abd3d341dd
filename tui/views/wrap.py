"""Wraps text at words to a width in terminal cells; returns offsets into the text, so that styles keep their place."""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes

Span = tuple[int, int]

# Texts of these characters alone have one cell a character; they wrap by counting, twenty times as fast.
_ONE_CELL = (
    " -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0373\u0400-\u0482\u2010-\u2027\u2190-\u2193\u2212"
    "\u2500-\u25fc\u2713\u2717\u2800-\u28ff"
)
SINGLE = re.compile(f"[\n{_ONE_CELL}]*")
"""Matches texts in which each character is a grapheme of one cell."""

TAB = 4
"""Cells between tab stops."""


def cells(text: str) -> int:
    """Terminal cells that the text takes on one line."""
    return len(text) if text.isascii() else cell_len(text)


def untab(text: str) -> str:
    """The text with tabs as spaces, as every wrapped text has to be: a tab's width depends on where it stands."""
    return text.expandtabs(TAB) if "\t" in text else text


_JOINED = re.compile(r"(?<=\d) (?=%|(?:s|GB|MB|tokens/s)\b)| (?=· )")


def unbroken(text: str) -> str:
    """A text of the same length that does not break between a number and its unit, or before a "·"."""
    return _JOINED.sub("\u00a0", text)


def wrap(text: str, width: int) -> list[Span]:
    """Start and end (exclusive) in `text` of each line of at most `width` cells; at least one line.

    Newlines end lines. Spaces at a break and at the end of a line belong to no line; those that begin a paragraph
    stay. A word longer than a line is broken between graphemes. A grapheme wider than `width` has its own line.
    """
    width = max(1, width)
    lines: list[Span] = []
    break_up = _by_count if SINGLE.fullmatch(text) else _by_cells
    start = 0
    while True:
        end = text.find("\n", start)
        stop = len(text) if end < 0 else end
        while stop > start and text[stop - 1] == " ":
            stop -= 1
        if stop - start == 0:
            lines.append((start, start))
        else:
            break_up(text, start, stop, width, lines)
        if end < 0:
            return lines
        start = end + 1


def _by_count(text: str, start: int, stop: int, width: int, lines: list[Span]) -> None:
    indent = start
    while text[indent] == " ":
        indent += 1
    while stop - start > width:
        cut = text.rfind(" ", start, start + width + 1)
        if cut <= indent:
            cut = start + width
            lines.append((start, cut))
        else:
            end = cut
            while text[end - 1] == " ":
                end -= 1
            lines.append((start, end))
        start = indent = cut
        while text[start] == " ":
            start += 1
            indent = start
    lines.append((start, stop))


def _by_cells(text: str, start: int, stop: int, width: int, lines: list[Span]) -> None:
    spans, _ = split_graphemes(text[start:stop])
    first, used = start, 0  # the line's begin, and its cells so far
    cut = resume = -1  # where the line may end (after a word, or next to a wide character) and the next begin
    before = 0  # cells of the line up to `resume`
    words = False  # whether the line holds more than its indent
    for begin, end, size in spans:
        position = start + begin
        space = text[position : start + end] == " "
        if words and space:
            if resume != position:
                cut = position
            resume, before = position + 1, used + 1
            used += 1
            continue
        if space and first > start and position == first:
            first = position + 1  # spaces at a break belong to no line
            continue
        if words and size == 2:
            cut, resume, before = (cut, resume, before) if resume == position else (position, position, used)
        if used + size > width and cut > first:
            lines.append((first, cut))
            first, used, cut, resume = resume, used - before, -1, -1
            words = first < position
        if used + size > width and position > first:
            lines.append((first, position))
            first, used, cut, resume, words = position, 0, -1, -1, False
            if space:
                first = position + 1
                continue
        used += size
        words = words or not space
        if size == 2:
            cut, resume, before = start + end, start + end, used
    lines.append((first, stop))
