"""A verdict as lines of text with roles: bars, the words that rules matched underlined, the reasons; and how good the
judge was measured to be. The pane, the window that shows it whole, and `redraft eval` are all made from these.

Works from `VerdictData`; `read` makes it of what a journal, a report or another version of Redraft holds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from engine.json_values import is_number
from engine.judges.accuracy import METRICS, EvalMetrics
from engine.text import probability_text, sanitize, truncate
from tui.views.formatting import Mark, agreement_text, mark_of, score_words, short_name
from tui.views.pieces import Pieces, clip
from tui.views.wrap import cells, wrap

if TYPE_CHECKING:
    from engine.events.verdicts import SpanData, VerdictData

SPANS = 4
"""Styles for matched words; a fifth principle has the first's again."""

Map = Mapping[str, Any]

_BAR = 24
_NAME, _NARROW_NAME = 13, 10
_NARROW = 30
"""Cells of a line below which names make room for the bar."""
_FULL, _REST = "━", "─"


def read(data: Map) -> VerdictData:
    """A verdict's data in a record; one that cannot be read is no verdict."""
    from engine.events.schema import DamagedEvent
    from engine.events.verdicts import VerdictData

    try:
        return VerdictData.from_data(data)
    except DamagedEvent:
        return VerdictData.from_data({})


def lines(verdict: VerdictData, text: str, words: Map, width: int) -> list[Pieces]:
    """The whole verdict below its `head`.

    Args:
        verdict: what was found.
        text: what was judged, as its spans count; "" where it is not kept.
        words: `reasoning` and `note`.
        width: cells of a line.
    """
    found: list[Pieces] = [*bars(verdict, width), []]
    if text:
        found += [*marked(verdict, text, width), []]
        places_found = places(verdict, text, width)
        found += [*places_found, []] if places_found else []
    return [*found, *_reasons(words, width), *method(verdict, width)]


def brief(verdict: VerdictData, text: str, words: Map, width: int) -> list[Pieces]:
    """The same without the text: for one verdict of many."""
    return [*bars(verdict, width), *places(verdict, text, width), *_reasons(words, width), *method(verdict, width)]


def _reasons(words: Map, width: int) -> list[Pieces]:
    reasoning, note = (_plain(words.get(name) or "") for name in ("reasoning", "note"))
    return [*paragraph(reasoning, "text", width), *paragraph(note, "warn", width)]


def head(verdict: VerdictData, width: int) -> list[Pieces]:
    """What was decided, and the score."""
    mark = mark_of(verdict.flagged)
    role = {"bad": "bad", "good": "good"}.get(mark.role, "warn")
    right = f"score {score_words(verdict.score)}" if verdict.score is not None else ""
    return [[(f"{mark.sign} {mark.word}".ljust(max(0, width - len(right))), role), (right, "dim")]]


def bars(verdict: VerdictData, width: int) -> list[Pieces]:
    """Each principle with its probability as a bar; its name looks as its words in the text do."""
    named = {span.principle for span in verdict.spans}
    # Without a verdict no principle counts as kept.
    other = mark_of(None if verdict.flagged is None else False)
    return [
        _bar(
            name,
            probability,
            Mark.BROKEN if name in verdict.broken else other,
            role_of(verdict, name) if name in named else "text",
            width,
        )
        for name, probability in verdict.principles.items()
    ]


def _bar(name: str, probability: float | None, mark: Mark, role: str, width: int) -> Pieces:
    color = "warn" if mark is Mark.NONE else mark.role
    column = _NAME if width >= _NARROW else _NARROW_NAME
    size = max(0, min(_BAR, width - column - 6))
    full = round(size * min(1.0, max(0.0, probability))) if probability is not None else 0
    short = clip(short_name(name), column - 1)
    return [
        (f"{mark.sign} ", color),
        (short, role),
        (" " * (column - cells(short)), "text"),
        (_FULL * full, color),
        (_REST * (size - full), "border"),
        ((probability_text(probability) if probability is not None else "–").rjust(4), "strong"),
    ]


def role_of(verdict: VerdictData, principle: str) -> str:
    """The style of a principle's words, by its place among the judge's principles."""
    known = [*verdict.principles]
    return f"span{(known.index(principle) if principle in known else 0) % SPANS + 1}"


def marked(verdict: VerdictData, text: str, width: int, start: int = 0, most: int = 200) -> list[Pieces]:
    """The text, wrapped, with the words that rules matched in the styles of their principles.

    Args:
        start: the first of the wrapped lines that is given.
        most: lines at most; what is left out is said.
    """
    text = text.replace("\t", " ")  # of one length, so that spans stay where they are
    rows = wrap(text, width)
    spans = _spans(verdict, len(text))
    found = [_styled(verdict, text, row, spans) for row in rows[start : start + most]]
    left = len(rows) - start - most
    return [*found, [(f"… {left:,} more lines", "dim")]] if left > 0 else found


def first_marked(verdict: VerdictData, text: str, width: int) -> int:
    """The wrapped line with the first matched words; 0 where there are none."""
    spans = _spans(verdict, len(text))
    if not spans:
        return 0
    first = min(span.start for span in spans)
    rows = wrap(text.replace("\t", " "), width)
    return next((number for number, (_, end) in enumerate(rows) if end > first), 0)


def _styled(verdict: VerdictData, text: str, row: tuple[int, int], spans: Sequence[SpanData]) -> Pieces:
    """A line of the text in pieces; where two principles' words overlap the first principle's style shows."""
    start, end = row
    inside = [span for span in spans if span.start < end and span.end > start]
    edges = sorted({start, end, *(min(max(e, start), end) for s in inside for e in (s.start, s.end))})
    pieces: list[tuple[str, str]] = []
    for one, other in itertools.pairwise(edges):
        roles = [role_of(verdict, s.principle) for s in inside if s.start <= one and s.end >= other]
        pieces.append((text[one:other], min(roles, default="text")))
    return pieces


def places(verdict: VerdictData, text: str, width: int, most: int = 12) -> list[Pieces]:
    """The words that rules matched, each with what it is of: color alone does not carry meaning."""
    # Several rules may match the same words for the same reason.
    spans = list({(s.start, s.end, s.principle, s.category): s for s in _spans(verdict, len(text))}.values())
    found: list[Pieces] = []
    for span in spans[:most]:
        quoted = " ".join(text[span.start : span.end].split())
        kind = f"{short_name(span.principle)}: {_plain(span.category).replace('_', ' ')}"
        kind = clip(kind, max(2, width - 14))
        shown = clip(quoted, max(2, width - cells(kind) - 4))
        found.append([(f"“{shown}”", role_of(verdict, span.principle)), (f"  {kind}", "dim")])
    if len(spans) > most:
        found.append([(f"… {len(spans) - most:,} more places", "dim")])
    return found


def method(verdict: VerdictData, width: int) -> list[Pieces]:
    """What decided, the kind of violation, and the judge's name."""
    parts = [f"by {_plain(verdict.method)}"] if verdict.method not in ("", "none") else []
    parts += [_plain(verdict.category).replace("_", " ")] if verdict.category else []
    judge = _plain(verdict.judge)
    return [*paragraph(" · ".join(parts), "dim", width), *paragraph(judge and f"judge: {judge}", "dim", width)]


def paragraph(text: str, role: str, width: int) -> list[Pieces]:
    """A text, wrapped; nothing for an empty one."""
    return [[(text[start:end], role)] for start, end in wrap(text, width)] if text else []


def label_words(verdict: VerdictData) -> str:
    """A verdict in a few words: "✗ autonomy, fairness", "✓ clean"."""
    mark = mark_of(verdict.flagged)
    names = ", ".join(map(short_name, verdict.broken))
    return f"{mark.sign} {names or mark.word}"


def correction_words(correction: str) -> str:
    """What a correction (`engine.judges.feedback.corrections`) says, as a sentence."""
    if correction == "clean":
        return "No principle is broken."
    kind, _, principle = correction.rpartition(" ")
    return f"{short_name(principle)} is {'not ' if kind else ''}broken."


def rated(name: str, rating: Map, width: int) -> Iterator[Pieces]:
    """A judge and how good it was measured to be, in a sentence.

    Args:
        name: what it judges, such as "comparison".
        rating: as JUDGES has it: name, accuracy, measures.
    """
    yield [(name, "accent")]
    yield from paragraph(_plain(rating.get("name") or "–"), "strong", width)
    accuracy = _plain(rating.get("accuracy") or "")
    yield from paragraph(
        accuracy or "Never measured. `redraft judge bench` measures a judge on labelled texts.",
        "text" if accuracy else "warn",
        width,
    )


def figures(name: str, rating: Map) -> Iterator[Pieces]:
    """A judge's figures on each set of texts; arguments as in `rated`."""
    measures = rating.get("measures")
    for which, data in measures.items() if isinstance(measures, Mapping) else ():
        try:
            found = EvalMetrics.from_data(data)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        yield []
        yield [
            (f"{name} on {_plain(which)}: ", "accent"),
            (f"{found.texts:,} texts, {found.violations:,} of them violations", "dim"),
        ]
        for key, words in METRICS.items():
            if found[key].known:
                yield [(f"  {words.ljust(29)}", "text"), (str(found[key]), "strong")]


def agreement(found: Any, width: int) -> list[Pieces]:
    """How far the judge of the comparison and the one that chose the pairs agree."""
    sentence = agreement_words(found)
    return [[("agreement", "accent")], *paragraph(sentence, "text", width)] if sentence else []


def agreement_words(found: Any) -> str:
    """The judges' agreement as a sentence; "" where it was not measured."""
    if not isinstance(found, Mapping):
        return ""
    same, kappa, texts = found.get("same"), found.get("kappa"), found.get("texts")
    if not _is_figure(same) or not _is_number(texts):
        return ""
    return agreement_text(int(texts), same, kappa if _is_figure(kappa) else None)


def plain(rows: Sequence[Pieces]) -> Iterator[str]:
    """The lines as text; matched words are underlined by a line of their own."""
    for row in rows:
        text = "".join(piece for piece, _ in row)
        yield text.rstrip()
        if any(role.startswith("span") for _, role in row) and not text.startswith(("“", "✗", "✓")):
            under = "".join(("~" if role.startswith("span") else " ") * cells(piece) for piece, role in row)
            yield under.rstrip()


def highlights(verdict: VerdictData, length: int) -> list[tuple[int, int, str]]:
    """Start, end and style of the words that rules matched, within a text of this length."""
    return [(span.start, span.end, role_of(verdict, span.principle)) for span in _spans(verdict, length)]


def moved(verdict: VerdictData, place: Callable[[int, int], tuple[int, int]]) -> VerdictData:
    """The verdict with its spans where `place` says they are, for a text that is shown otherwise than it was judged."""
    found = [(span, *place(span.start, span.end)) for span in verdict.spans]
    spans = tuple(dataclasses.replace(span, start=start, end=end) for span, start, end in found)
    return dataclasses.replace(verdict, spans=spans)


def _spans(verdict: VerdictData, length: int) -> list[SpanData]:
    """The verdict's findings that lie within a text of this length, in order."""
    inside = (span for span in verdict.spans if 0 <= span.start < span.end <= length)
    return sorted(inside, key=lambda span: (span.start, span.end))


def _is_number(value: Any) -> TypeGuard[float]:
    return is_number(value) and abs(value) < 1e12


def _is_figure(value: Any) -> TypeGuard[Sequence[float]]:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_number, value))


def _plain(text: Any) -> str:
    return truncate(" ".join(sanitize(str(text)).split()), 2000)
