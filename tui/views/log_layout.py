"""Lays an event out as lines of pieces with roles. Knows neither colours nor Textual: the pane gives roles a style.

In wide panes the time and the texts' labels have a gutter of their own, so that texts begin in one column; in narrow
ones labels stand above their texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.events.base import KEY, Record
from engine.events.verbosity import Entry, Part
from engine.text import probability_text
from tui.views.formatting import Mark, mark_of, score_words, short_name
from tui.views.pieces import clip
from tui.views.wrap import cells, unbroken, untab, wrap

GUTTER = 9
"""Cells of the gutter that holds times and labels: "13:02:11 "."""

WIDE = 44
"""Cells from which on a pane has the gutter."""

_BESIDE = 14
"""Cells that have to be left of a line for a summary to begin on it."""

_HEADINGS = ("TRAINING-EXAMPLE", "COMPARISON-TEST", "STAGE-", "RUN-", "TRAIN-START", "EVAL-INPUT")
_CUT_MARK = re.compile(r"(?:^[-+ ] )?(?:\[-?|\{\+?)? …\Z", re.MULTILINE)
"""The start of a change at which a long diff was cut."""
_DIFF_MARKS = re.compile(r"\[-(?P<gone>.*?)(?:-\]|\Z)|\{\+(?P<new>.*?)(?:\+\}|\Z)", re.DOTALL)


class Piece(NamedTuple):
    """A stretch of one line. `role` is one of: time, fold, stage, heading, summary, label, text, raw, good, bad,
    unsure, gone, new, error, note."""

    text: str
    role: str


Line = tuple[Piece, ...]


def lay_out(event: Record, entry: Entry, width: int, folded: bool, colors: bool = False) -> list[Line]:
    """The lines of an event as it is shown; at least one, none wider than `width` cells (down to about 20).

    Args:
        event: gives the verdict's figures (`data`), which have no text.
        entry: what `engine.events.verbosity.entry` shows of it.
        width: cells.
        folded: only the headline.
        colors: words of a diff have their style alone, as in the comparison; without colors they keep "[-" and "{+".
    """
    gutter = GUTTER if width >= WIDE else 0
    foldable = bool(entry.parts) or _verdict(event) is not None
    lines = _headline(event, entry, width, gutter, folded, foldable)
    if folded or not foldable:
        return lines
    verdict = _verdict(event)
    if verdict is not None and entry.parts + (() if event.level > KEY else (Part("", ""),)):
        lines += _verdict_lines(verdict, width, gutter)
    alone = len(entry.parts) == 1 and entry.parts[0].kind == "text"
    for part in entry.parts:
        lines += _part_lines(part, event.data, width, gutter, alone, colors)
    return lines


def _headline(event: Record, entry: Entry, width: int, gutter: int, folded: bool, foldable: bool) -> list[Line]:
    fold = ("▸ " if folded else "▾ ") if foldable else "  "
    head = [Piece(entry.time + " ", "time")] if gutter else []
    head.append(Piece(fold, "fold"))
    role = "heading" if entry.stage.startswith(_HEADINGS) else "stage"
    if entry.stage in ("ERROR", "HEALTH-ALARM"):
        role = "error"
    verdict = _verdict(event)
    room = width - gutter - 2
    start, end = wrap(entry.stage, max(4, room - 2 * (verdict is not None)))[0]
    head.append(Piece(entry.stage[start:end], role))
    if verdict is not None:
        mark = mark_of(verdict.get("flagged"))
        head.append(Piece(f" {mark.sign}", mark.role))
    used = sum(cells(piece.text) for piece in head)
    lines: list[Line] = []
    summary = untab(entry.summary)
    if entry.one_line:
        return [(*head, Piece(f"  {clip(summary, max(1, width - used - 2))}", "summary"))]
    if summary and width - used - 2 >= _BESIDE:
        start, end = wrap(unbroken(summary), width - used - 2)[0]
        head.append(Piece(f"  {summary[start:end]}", "summary"))
        summary = summary[end:].lstrip()
    lines.append(tuple(head))
    if summary:
        indent = Piece(" " * (gutter + 2), "text")
        lines += [(indent, Piece(summary[start:end], "summary")) for start, end in wrap(unbroken(summary), room)]
    return lines


def _verdict(event: Record) -> Mapping[str, Any] | None:
    return event.data if "flagged" in event.data else None


def _verdict_lines(verdict: Mapping[str, Any], width: int, gutter: int) -> list[Line]:
    """The principles with sign, short name and probability, as many on a line as fit."""
    principles = verdict.get("principles")
    if not isinstance(principles, Mapping) or not principles:
        return []
    broken = verdict.get("broken")
    broken = broken if isinstance(broken, list | tuple) else ()
    indent = Piece(" " * (gutter + 2), "text")
    lines: list[list[Piece]] = [[indent]]
    used = gutter + 2
    for name, probability in principles.items():
        mark = Mark.BROKEN if name in broken else Mark.CLEAN
        number = probability_text(probability) if isinstance(probability, int | float) else "–"
        words = [Piece(f"{mark.sign} {short_name(str(name))} ", mark.role), Piece(number, "label")]
        size = sum(cells(word.text) for word in words)
        if used + 2 + size > width and len(lines[-1]) > 1:
            lines.append([indent])
            used = gutter + 2
        if len(lines[-1]) > 1:
            words.insert(0, Piece("  ", "label"))
            used += 2
        lines[-1] += words
        used += size
    return [tuple(line) for line in lines]


def _part_lines(part: Part, data: Mapping[str, Any], width: int, gutter: int, alone: bool, colors: bool) -> list[Line]:
    role = "raw" if part.kind == "raw" else "text"
    indent = " " * (gutter + 2)
    label = "" if alone else part.label
    verdict = data.get(part.label)
    mark = None
    if isinstance(verdict, Mapping) and "flagged" in verdict:
        mark = mark_of(verdict["flagged"])
    lines: list[Line] = []
    first = Piece(indent, "text")
    if label and mark is None and gutter and cells(label) <= gutter:
        first = Piece(label.rjust(gutter) + "  ", "label")
    elif label:
        heading = [Piece(indent, "text"), Piece(label, "label")]
        if mark is not None and isinstance(verdict, Mapping):
            heading.append(Piece(f" {mark.sign} {score_words(verdict.get('score'))}", mark.role))
        lines.append(tuple(heading))
    text = untab(part.text)
    marks = [(0, len(text), role)]
    if part.label == "diff":
        text = _CUT_MARK.sub("…", text)
        text, marks = _unmarked(text, role) if colors else (text, _marked(text, role))
    for start, end in wrap(text, max(8, width - len(indent))):
        lines.append((first, *_pieces(text, start, end, marks)))
        first = Piece(indent, "text")
    return lines


def _marked(text: str, role: str) -> list[tuple[int, int, str]]:
    """The stretches of a word diff's text with their roles."""
    marks: list[tuple[int, int, str]] = []
    position = 0
    for match in _DIFF_MARKS.finditer(text):
        marks.append((position, match.start(), role))
        marks.append((match.start(), match.end(), "gone" if match["gone"] is not None else "new"))
        position = match.end()
    marks.append((position, len(text), role))
    return marks


def _unmarked(text: str, role: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The diff's text without its signs, and the stretches of it with their roles."""
    shown = ""
    marks: list[tuple[int, int, str]] = []
    for start, end, name in _marked(text, role):
        words = text[start:end]
        if name != role:
            words = words[2:].removesuffix("-]" if name == "gone" else "+}")
            if marks and marks[-1][2] not in (role, name) and not shown[-1:].isspace():
                # The signs kept what is gone and what is new apart.
                marks.append((len(shown), len(shown) + 1, role))
                shown += " "
        if words:
            marks.append((len(shown), len(shown) + len(words), name))
        shown += words
    return shown, marks


def _pieces(text: str, start: int, end: int, marks: list[tuple[int, int, str]]) -> list[Piece]:
    return [
        Piece(text[max(start, first) : min(end, last)], role)
        for first, last, role in marks
        if max(start, first) < min(end, last)
    ]
