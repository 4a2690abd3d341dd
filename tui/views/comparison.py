"""Two texts that are compared, as lines: the question, each side with its verdict, and a row of a list of comparisons.

Pure text with roles, made from what the journal holds; knows nothing of Textual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.events.base import Record
from engine.runs.state import Compared
from engine.text import probability_text, sanitize, truncate
from tui.views import verdict as verdicts
from tui.views.formatting import Mark, change, mark_of, score_words, short_name
from tui.views.log_layout import Line, Piece
from tui.views.pieces import Pieces, clip, spread, width_of
from tui.views.side_by_side import Highlight, moved, normalize
from tui.views.wrap import wrap

if TYPE_CHECKING:
    from engine.events.verdicts import VerdictData

_LONGEST = 50_000
"""Characters of a text that are compared."""
_REASONS = 6
_QUESTION = "Question  "


@dataclass(frozen=True)
class Side:
    """One of the two texts.

    Args:
        name: "base", "trained", "rejected" or "chosen".
        text: as it is shown (`normalize`).
        verdict: on the text, with spans that count in `text`; None where it was not judged.
        reasoning: of the verdict; "" where it is not known.
        cut: whether the text ended at the token limit.
    """

    name: str
    text: str
    verdict: VerdictData | None
    reasoning: str = ""
    cut: bool = False

    @classmethod
    def of(cls, name: str, text: str, verdict: Mapping[str, Any], reasoning: str = "", cut: bool = False) -> Side:
        """From a text and a verdict's data as the journal has them."""
        text = truncate(text, _LONGEST)
        found = verdicts.read(verdict) if "flagged" in verdict else None
        placed = verdicts.moved(found, lambda start, end: moved(text, start, end)) if found is not None else None
        return cls(name, normalize(text), placed, reasoning, cut)

    @property
    def highlights(self) -> list[Highlight]:
        """The words that rules matched, with their styles."""
        return verdicts.highlights(self.verdict, len(self.text)) if self.verdict is not None else []


_MAIN = ("draft", "sample", "revision", "answer", "trained", "chosen", "text", "critique", "reasoning")


def main_text(record: Record) -> tuple[str, str]:
    """The label and the text of a record that is compared with another one's; ("", "") where it has none."""
    texts = record.texts
    label = next((name for name in _MAIN if texts.get(name)), next(iter(texts), ""))
    return label, str(texts.get(label, ""))


def title(side: Side, highest: float | None) -> str:
    """ "Base · 2.0 of 4.0 · ✗ autonomy · cut"."""
    found = side.verdict
    if found is None:
        return side.name.capitalize()
    parts = [side.name.capitalize(), score_words(found.score, highest), verdicts.label_words(found)]
    return " · ".join([*parts, *(["cut"] if side.cut else [])])


def below(side: Side, width: int) -> list[Line]:
    """What stands below a text: that it was cut, the matched words, the reasons."""
    found: list[Pieces] = [[("⋯ cut at the token limit", "warn")]] if side.cut else []
    if side.verdict is not None:
        found += verdicts.places(side.verdict, side.text, width)
    found += verdicts.paragraph(" ".join(sanitize(side.reasoning).split()), "dim", width)[:_REASONS]
    return _lines(found)


def principles(sides: Sequence[Side], widths: Sequence[int]) -> list[list[Line]]:
    """Each side's principles with their signs and probabilities, on one line where that can be.

    Where there is no room for all, first the signs of those that were kept are left out on both sides, then spaces;
    then they take as many lines as they need.
    """
    for every_sign, gap in ((True, "  "), (False, "  "), (False, " "), (True, "  ")):
        found = [_rows(_principles(side, every_sign), gap, width) for side, width in zip(sides, widths, strict=True)]
        if all(len(rows) <= 1 for rows in found):
            break
    return [_lines(rows) for rows in found]


def _principles(side: Side, every_sign: bool) -> Iterator[Pieces]:
    """Each principle as pieces; without `every_sign` only the broken ones have their sign and color."""
    verdict = side.verdict
    if verdict is None:
        return
    other = mark_of(None if verdict.flagged is None else False)
    for name, probability in verdict.principles.items():
        mark = Mark.BROKEN if name in verdict.broken else other
        number = probability_text(probability) if probability is not None else "–"
        is_signed = every_sign or mark is Mark.BROKEN
        role = "text" if not is_signed else "warn" if mark is Mark.NONE else mark.role
        yield [(f"{mark.sign} " * is_signed + f"{short_name(name)} ", role), (number, "dim")]


def _rows(parts: Iterable[Pieces], gap: str, width: int) -> list[Pieces]:
    """The parts one after the other with `gap` between, as many on a line as fit."""
    rows: list[list[tuple[str, str]]] = []
    for part in parts:
        if rows and width_of(rows[-1]) + len(gap) + width_of(part) <= width:
            rows[-1] += [(gap, "dim"), *part]
        else:
            rows.append([*part])
    return [*rows]


def _lines(rows: Iterable[Pieces]) -> list[Line]:
    return [tuple(Piece(text, role) for text, role in row) for row in rows]


def question(prompt: str, width: int, rows: int) -> list[Pieces]:
    """The question on at most `rows` lines; what is left out is said by an ellipsis."""
    text = " ".join(normalize(prompt).split())
    lines = wrap(text, max(8, width - len(_QUESTION))) if text else []
    found: list[Pieces] = []
    for number, (start, end) in enumerate(lines[:rows]):
        last = number == rows - 1 and len(lines) > rows
        shown = clip(text[start:end] + "…" * last, max(8, width - len(_QUESTION)))
        found.append([(_QUESTION if not number else " " * len(_QUESTION), "dim"), (shown, "strong")])
    return found


def row(compared: Compared, place: int, prompt: str, width: int) -> Pieces:
    """A comparison in a list: its place, both scores, the principle, and the prompt."""
    signs = [mark_of(verdict.get("flagged")) for verdict in (compared.base, compared.trained)]
    scores = change(*(score_words(verdict.get("score")) for verdict in (compared.base, compared.trained)))
    rise = compared.rise
    role, words = ("good", "better") if rise < 0 else ("bad", "worse") if rise > 0 else ("dim", "")
    left: list[tuple[str, str]] = [
        (f"{place:>5}  ", "dim"),
        (f"{signs[0].sign} → {signs[1].sign}  ", role),
        (f"{scores.rjust(9)} {words.ljust(7)}", role),
        (f" {short_name(compared.principle).ljust(13)}", "dim"),
        (clip(" ".join(normalize(prompt).split()), max(4, width - 41)), "text"),
    ]
    return spread(left, [], width)


def plain(sides: Sequence[Side], prompt: str) -> str:
    """The question and both texts, for the clipboard."""
    return "\n\n".join([f"prompt:\n{prompt}", *(f"{side.name}:\n{side.text}" for side in sides)])
