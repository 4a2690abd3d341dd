"""A training row as lines: how near it is to a compared answer, and what it was made from. Knows nothing of Textual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.text import probability_text, sanitize, truncate
from tui.views.formatting import change, score_words, short_name
from tui.views.pieces import Pieces, clip
from tui.views.verdict import paragraph

if TYPE_CHECKING:
    from engine.export.training_pairs import NearPair, TrainingPair

_MEASURE = (
    "Near are rows with similar words: the mean of two cosines of TF-IDF weights, one of the questions, one of the "
    "trained and the chosen answer; 0 is no common word, 1 the same words. It says what is alike, not what the answer "
    "comes from."
)
_LONGEST = 4_000


def measure(width: int) -> list[Pieces]:
    """What nearness is."""
    return paragraph(_MEASURE, "dim", width)


def row(near: NearPair, width: int) -> Pieces:
    """A row of the list: nearness, principle, kind, prompt."""
    about = f"{short_name(near.pair.principle) or '–':<13} {_kind(near.pair):<13} "
    text = clip(_line(near.pair.prompt), max(4, width - 5 - len(about)))
    return [(f"{probability_text(near.nearness)}  ", "strong"), (about, "dim"), (text, "text")]


def lines(near: NearPair, width: int) -> list[Pieces]:
    """Everything on one row."""
    return [*_lines(near, width)]


def _lines(near: NearPair, width: int) -> Iterator[Pieces]:
    pair = near.pair
    yield from paragraph(_text(pair.prompt), "strong", width)
    question, answer = probability_text(near.question), probability_text(near.answer)
    alike = f"similar words: question {question} · answer {answer} · {_text(pair.item)}"
    yield from paragraph(alike, "dim", width)
    about: Pieces = [("Principle  ", "dim"), (short_name(pair.principle), "accent")] if pair.principle else []
    if pair.expected_rejected is not None and pair.expected_chosen is not None:
        moved = change(f"{pair.expected_rejected:.2f}", f"{pair.expected_chosen:.2f}")
        about = [*about, ("   expected score  " if about else "Expected score  ", "dim"), (moved, "text")]
    if about:
        yield []
        yield about
    is_draft = pair.draft == pair.rejected
    scores = _scores(pair.score_rejected, pair.expected_rejected)
    yield from _section(f"Draft, rejected{scores}" if is_draft else "Draft", pair.draft, width)
    yield from _section("Critique", pair.critique, width)
    if not is_draft:
        yield from _section(f"Rejected{scores}", pair.rejected, width)
    whose = "the written demonstration" if pair.is_demonstrated else ""
    scores = _scores(pair.score_chosen, pair.expected_chosen, whose)
    yield from _section(f"Chosen{scores}", pair.chosen, width)
    if not pair.is_demonstrated:
        yield from _section("Demonstration", pair.demonstration, width)


def _section(title: str, text: str, width: int) -> Iterator[Pieces]:
    if text:
        yield []
        yield [(title, "dim")]
        yield from paragraph(truncate(_text(text), _LONGEST), "text", width)


def _scores(score: float | None, expected: float | None, note: str = "") -> str:
    known = [note] if note else []
    known += [f"score {score_words(score)}"] if score is not None else []
    known += [f"expected {expected:.2f}"] if expected is not None else []
    return f" · {' · '.join(known)}" if known else ""


def _kind(pair: TrainingPair) -> str:
    return "demonstration" if pair.is_demonstrated else "pair"


def _line(text: str) -> str:
    return " ".join(_text(text).split())


def _text(text: str) -> str:
    return sanitize(text).strip()
