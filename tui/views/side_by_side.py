"""A diff of two answers as lines: side by side with aligned rows, or each by itself. Knows nothing of Textual."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from engine.text import sanitize
from engine.textdiff.diff import AlignedDiff, Span
from tui.views.log_layout import Line, Piece
from tui.views.wrap import untab, wrap

_ROLES = {"same": "text", "removed": "gone", "added": "new"}
"""Kind of a span -> role; "gone-part" and "new-part" are the characters that differ inside a word."""


def beside(diff: AlignedDiff, left: int, right: int) -> tuple[list[Line], list[Line]]:
    """The lines of both answers in columns of `left` and `right` cells; as many on each side, so that sentences that
    belong together begin on the same line."""
    ours: list[Line] = []
    theirs: list[Line] = []
    for row in diff.rows:
        one, other = _lines(row.left, left), _lines(row.right, right)
        height = max(len(one), len(other))
        ours += one + [()] * (height - len(one))
        theirs += other + [()] * (height - len(other))
    return ours, theirs


def stacked(diff: AlignedDiff, width: int) -> tuple[list[Line], list[Line]]:
    """The lines of each answer by itself, `width` cells wide."""
    ours = [line for row in diff.rows for line in _lines(row.left, width)]
    theirs = [line for row in diff.rows for line in _lines(row.right, width)]
    return ours, theirs


def _lines(spans: Sequence[Span], width: int) -> list[Line]:
    text, marks = "", []
    for span in spans:
        piece = untab(sanitize(span.text))
        marks += _marks(span, len(text), len(piece))
        text += piece
    start = len(text) - len(text.lstrip("\n "))
    stop = len(text.rstrip())
    if start >= stop:
        return []
    lines: list[Line] = []
    for first, last in wrap(text[start:stop], width):
        first, last = first + start, last + start
        lines.append(
            tuple(
                Piece(text[max(first, begin) : min(last, end)], role)
                for begin, end, role in marks
                if max(first, begin) < min(last, end)
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
