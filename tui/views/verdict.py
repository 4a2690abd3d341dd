"""A verdict as lines of text with roles: bars, the words that rules matched underlined, the reasons; and how good the
judge was measured to be. The pane, the window that shows it whole, and `redraft eval` are all made from these.

Works from a verdict's data in the journal; a member that is missing, or of another kind, is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from engine.judges.accuracy import METRICS, EvalMetrics
from engine.text import sanitize, truncate
from tui.views.formatting import Mark, agreement_text, mark_of, score_words, short_name
from tui.views.pieces import Pieces, clip
from tui.views.wrap import cells, wrap

SPANS = 4
"""Styles for matched words; a fifth principle has the first's again."""

Map = Mapping[str, Any]

_BAR = 24
_NAME, _NARROW_NAME = 13, 10
_NARROW = 30
"""Cells of a line below which names make room for the bar."""
_FULL, _REST = "━", "─"


def lines(verdict: Map, text: str, words: Map, width: int) -> list[Pieces]:
    """The whole verdict below its `head`.

    Args:
        verdict: the data of an EVAL-DECISION.
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


def brief(verdict: Map, text: str, words: Map, width: int) -> list[Pieces]:
    """The same without the text: for one verdict of many."""
    return [*bars(verdict, width), *places(verdict, text, width), *_reasons(words, width), *method(verdict, width)]


def _reasons(words: Map, width: int) -> list[Pieces]:
    reasoning, note = (_plain(words.get(name) or "") for name in ("reasoning", "note"))
    return [*paragraph(reasoning, "text", width), *paragraph(note, "warn", width)]


def head(verdict: Map, width: int) -> list[Pieces]:
    """What was decided, and the score."""
    mark = mark_of(verdict.get("flagged"))
    role = {"bad": "bad", "good": "good"}.get(mark.role, "warn")
    score = verdict.get("score")
    right = f"score {score_words(score)}" if score is not None else ""
    return [[(f"{mark.sign} {mark.word}".ljust(max(0, width - len(right))), role), (right, "dim")]]


def bars(verdict: Map, width: int) -> list[Pieces]:
    """Each principle with its probability as a bar; its name looks as its words in the text do."""
    principles = verdict.get("principles")
    broken = verdict.get("broken") or ()
    if not isinstance(principles, Mapping) or not isinstance(broken, list | tuple):
        return []
    named = {found["principle"] for found in _spans(verdict, 1 << 40)}
    # Without a verdict no principle counts as kept.
    other = mark_of(None if verdict.get("flagged") is None else False)
    return [
        _bar(
            str(name),
            probability,
            Mark.BROKEN if name in broken else other,
            role_of(verdict, str(name)) if name in named else "text",
            width,
        )
        for name, probability in principles.items()
    ]


def _bar(name: str, probability: Any, mark: Mark, role: str, width: int) -> Pieces:
    color = "warn" if mark is Mark.NONE else mark.role
    column = _NAME if width >= _NARROW else _NARROW_NAME
    size = max(0, min(_BAR, width - column - 6))
    known = _is_number(probability)
    full = round(size * min(1.0, max(0.0, probability))) if known else 0
    short = clip(short_name(name), column - 1)
    return [
        (f"{mark.sign} ", color),
        (short, role),
        (" " * (column - cells(short)), "text"),
        (_FULL * full, color),
        (_REST * (size - full), "border"),
        (f"{probability:.2f}".removeprefix("0").rjust(4) if known else "   –", "strong"),
    ]


def role_of(verdict: Map, principle: str) -> str:
    """The style of a principle's words, by its place among the judge's principles."""
    principles = verdict.get("principles")
    known = [str(name) for name in principles] if isinstance(principles, Mapping) else []
    return f"span{(known.index(principle) if principle in known else 0) % SPANS + 1}"


def marked(verdict: Map, text: str, width: int, start: int = 0, most: int = 200) -> list[Pieces]:
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


def first_marked(verdict: Map, text: str, width: int) -> int:
    """The wrapped line with the first matched words; 0 where there are none."""
    spans = _spans(verdict, len(text))
    if not spans:
        return 0
    first = min(int(span["start"]) for span in spans)
    rows = wrap(text.replace("\t", " "), width)
    return next((number for number, (_, end) in enumerate(rows) if end > first), 0)


def _styled(verdict: Map, text: str, row: tuple[int, int], spans: Sequence[Map]) -> Pieces:
    """A line of the text in pieces; where two principles' words overlap the first principle's style shows."""
    start, end = row
    inside = [span for span in spans if span["start"] < end and span["end"] > start]
    edges = sorted({start, end, *(min(max(e, start), end) for s in inside for e in (s["start"], s["end"]))})
    pieces: list[tuple[str, str]] = []
    for one, other in itertools.pairwise(edges):
        roles = [role_of(verdict, str(s["principle"])) for s in inside if s["start"] <= one and s["end"] >= other]
        pieces.append((text[one:other], min(roles, default="text")))
    return pieces


def places(verdict: Map, text: str, width: int, most: int = 12) -> list[Pieces]:
    """The words that rules matched, each with what it is of: color alone does not carry meaning."""
    # Several rules may match the same words for the same reason.
    names = ("start", "end", "principle", "category")
    spans = list({tuple(str(s.get(name)) for name in names): s for s in _spans(verdict, len(text))}.values())
    found: list[Pieces] = []
    for span in spans[:most]:
        quoted = " ".join(text[span["start"] : span["end"]].split())
        kind = f"{short_name(str(span['principle']))}: {_plain(span.get('category') or '').replace('_', ' ')}"
        kind = clip(kind, max(2, width - 14))
        shown = clip(quoted, max(2, width - cells(kind) - 4))
        found.append([(f"“{shown}”", role_of(verdict, str(span["principle"]))), (f"  {kind}", "dim")])
    if len(spans) > most:
        found.append([(f"… {len(spans) - most:,} more places", "dim")])
    return found


def method(verdict: Map, width: int) -> list[Pieces]:
    """What decided, the kind of violation, and the judge's name."""
    parts = [f"by {_plain(verdict['method'])}"] if verdict.get("method") not in (None, "", "none") else []
    parts += [_plain(verdict["category"]).replace("_", " ")] if verdict.get("category") else []
    judge = _plain(verdict.get("judge") or "")
    return [*paragraph(" · ".join(parts), "dim", width), *paragraph(judge and f"judge: {judge}", "dim", width)]


def paragraph(text: str, role: str, width: int) -> list[Pieces]:
    """A text, wrapped; nothing for an empty one."""
    return [[(text[start:end], role)] for start, end in wrap(text, width)] if text else []


def label_words(verdict: Map) -> str:
    """A verdict in a few words: "✗ autonomy, fairness", "✓ clean"."""
    mark, broken = mark_of(verdict.get("flagged")), verdict.get("broken") or ()
    names = ", ".join(short_name(str(name)) for name in broken) if isinstance(broken, list | tuple) else ""
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


def highlights(verdict: Map, length: int) -> list[tuple[int, int, str]]:
    """Start, end and style of the words that rules matched, within a text of this length."""
    return [(s["start"], s["end"], role_of(verdict, s["principle"])) for s in _spans(verdict, length)]


def moved(verdict: Map, place: Callable[[int, int], tuple[int, int]]) -> dict[str, Any]:
    """The verdict with its spans where `place` says they are, for a text that is shown otherwise than it was judged."""
    spans = [
        {**s, **dict(zip(("start", "end"), place(s["start"], s["end"]), strict=True))} for s in _spans(verdict, 1 << 40)
    ]
    return {**verdict, "spans": spans}


def _spans(verdict: Map, length: int) -> list[dict[str, Any]]:
    """The verdict's findings that lie within a text of this length, in order."""
    spans = verdict.get("spans")
    found = []
    for span in spans if isinstance(spans, list | tuple) else ():
        if isinstance(span, Mapping) and all(type(span.get(name)) is int for name in ("start", "end")):
            start, end = span["start"], span["end"]
            if 0 <= start < end <= length:
                found.append({**span, "start": start, "end": end, "principle": str(span.get("principle", ""))})
    return sorted(found, key=lambda span: (span["start"], span["end"]))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _is_figure(value: Any) -> TypeGuard[Sequence[float]]:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_number, value))


def _plain(text: Any) -> str:
    return truncate(" ".join(sanitize(str(text)).split()), 2000)
