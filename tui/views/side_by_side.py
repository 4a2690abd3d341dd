"""A diff of two texts as lines: side by side with aligned rows, or each by itself. Knows nothing of Textual.

Roles of a piece are words joined by blanks: one for the diff ("text", "gone", "new", "gone-part", "new-part"), and the
style of a principle ("span1", ...) where a rule matched the words.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.text import sanitize
from tui.views.formatting import count
from tui.views.log_layout import Line, Piece
from tui.views.wrap import untab, wrap

if TYPE_CHECKING:
    from engine.textdiff.diff import AlignedDiff, DiffRow, Span

_ROLES = {"same": "text", "removed": "gone", "added": "new"}
"""Kind of a span -> role; "gone-part" and "new-part" are the characters that differ inside a word."""

Highlight = tuple[int, int, str]
"""Characters of one text, start and end (excluded), and the role that they have in addition."""


class Mode(enum.Enum):
    """What a diff marks and shows; the value is how it is called."""

    WORDS = "words"
    SENTENCES = "sentences"
    CHANGED = "changed only"


def beside(
    diff: AlignedDiff,
    left: int,
    right: int,
    mode: Mode = Mode.WORDS,
    highlights: tuple[Sequence[Highlight], Sequence[Highlight]] = ((), ()),
) -> tuple[list[Line], list[Line]]:
    """The lines of both texts in columns of `left` and `right` cells; as many on each side, so that sentences that
    belong together begin on the same line.

    Args:
        diff: of the two texts.
        left, right: cells of a line on each side.
        mode: words or whole sentences are marked; or only changed sentences are shown.
        highlights: places in each text to style in addition to the diff; of texts as `normalize` returns them.
    """
    ours: list[Line] = []
    theirs: list[Line] = []
    for one, other in _rows(diff, left, right, mode, highlights):
        height = max(len(one), len(other))
        ours += one + [()] * (height - len(one))
        theirs += other + [()] * (height - len(other))
    return ours, theirs


def stacked(
    diff: AlignedDiff,
    width: int,
    mode: Mode = Mode.WORDS,
    highlights: tuple[Sequence[Highlight], Sequence[Highlight]] = ((), ()),
) -> tuple[list[Line], list[Line]]:
    """The lines of each text by itself, `width` cells wide; the other arguments as for `beside`."""
    ours: list[Line] = []
    theirs: list[Line] = []
    for one, other in _rows(diff, width, width, mode, highlights):
        ours += one
        theirs += other
    return ours, theirs


def normalize(text: str) -> str:
    """The text as it is shown: nothing that a terminal obeys, tabs as blanks. Diff this, so that offsets agree."""
    return untab(sanitize(text))


def moved(text: str, start: int, end: int) -> tuple[int, int]:
    """Where characters of a text are after `normalize`."""
    return len(normalize(text[:start])), len(normalize(text[:end]))


def changed_at(line: Line) -> str:
    """The sign of a line's change: "-" for words that are gone, "+" for new ones, "" for none."""
    for piece in line:
        if piece.role.startswith("gone"):
            return "-"
        if piece.role.startswith("new"):
            return "+"
    return ""


def minimap(signs: Sequence[str], height: int, first: int) -> list[tuple[str, bool]]:
    """Where the changes of all lines lie, squeezed into `height` cells from top to bottom.

    Args:
        signs: of every line, as `changed_at` returns them.
        height: cells, also the lines of the window.
        first: the window's first line.

    Returns:
        For each cell its sign ("│" for none, " " where there is no line), and whether the window shows what it is of.
    """
    total = len(signs)
    if total <= height:
        return [(signs[y] or " ", True) if y < total else (" ", False) for y in range(height)]
    cells: list[tuple[str, bool]] = []
    for y in range(height):
        start, stop = y * total // height, max(y * total // height + 1, (y + 1) * total // height)
        found = {sign for sign in signs[start:stop] if sign}
        shown = start < first + height and stop > first
        cells.append(("±" if len(found) > 1 else found.pop() if found else "│", shown))
    return cells


def _rows(
    diff: AlignedDiff,
    left: int,
    right: int,
    mode: Mode,
    highlights: tuple[Sequence[Highlight], Sequence[Highlight]],
) -> Iterator[tuple[list[Line], list[Line]]]:
    ours, theirs = (sorted(found) for found in highlights)
    at, other_at = 0, 0
    for same, group in itertools.groupby(diff.rows, key=lambda row: row.kind == "same"):
        rows = list(group)
        if same and mode is Mode.CHANGED:
            note: list[Line] = [(Piece(f"⋯ {count(len(rows), 'sentence')} the same", "dim"),)]
            yield note, note
        for row in rows:
            if not (same and mode is Mode.CHANGED):
                whole = ("gone", "new") if mode is Mode.SENTENCES and not same else ("", "")
                one = _lines(row.left, left, at, ours, whole[0])
                yield one, _lines(row.right, right, other_at, theirs, whole[1])
            at += _length(row, "left")
            other_at += _length(row, "right")


def _length(row: DiffRow, side: str) -> int:
    return sum(len(span.text) for span in getattr(row, side))


def _lines(spans: Sequence[Span], width: int, start: int, highlights: Sequence[Highlight], whole: str) -> list[Line]:
    """The lines of one side of a row, whose text begins at character `start` of the whole text; all of it has the role
    `whole` where there is one."""
    text, marks = "", []
    for span in spans:
        piece = untab(sanitize(span.text))
        if whole:
            marks.append((len(text), len(text) + len(piece), whole))
        else:
            marks += _marks(span, len(text), len(piece))
        text += piece
    first, stop = len(text) - len(text.lstrip("\n ")), len(text.rstrip())
    if first >= stop:
        return []
    marks = _styled(marks, [(one - start, other - start, role) for one, other, role in highlights])
    lines: list[Line] = []
    for begin, end in wrap(text[first:stop], width):
        begin, end = begin + first, end + first
        lines.append(
            tuple(
                Piece(text[max(begin, one) : min(end, other)], role)
                for one, other, role in marks
                if max(begin, one) < min(end, other)
            )
        )
    return lines


def _marks(span: Span, start: int, length: int) -> list[tuple[int, int, str]]:
    """(start, end, role) of a span that is shown from `start` on, its differing characters apart from the rest."""
    role = _ROLES[span.kind]
    edges = [(0, 0), *(span.changed if length == len(span.text) else ()), (length, length)]
    marks = []
    for (_, before), (begin, end) in itertools.pairwise(edges):
        marks += [(before, begin, role), (begin, end, f"{role}-part")]
    return [(start + one, start + other, name) for one, other, name in marks if one < other]


def _styled(marks: list[tuple[int, int, str]], highlights: Sequence[Highlight]) -> list[tuple[int, int, str]]:
    """The marks, cut where highlights begin and end, with their roles added; of two on the same words the first."""
    if not marks:
        return []
    end = marks[-1][1]
    inside = [(max(0, one), min(end, other), role) for one, other, role in highlights if other > 0 and one < end]
    if not inside:
        return marks
    found: list[tuple[int, int, str]] = []
    for first, last, role in marks:
        cuts = {edge for one, other, _ in inside for edge in (one, other) if first < edge < last}
        for one, other in itertools.pairwise(sorted({first, last, *cuts})):
            extra = next((name for begin, stop, name in inside if begin <= one and stop >= other), "")
            found.append((one, other, f"{role} {extra}".rstrip()))
    return found
