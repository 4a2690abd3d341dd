"""A text as words that can be compared and sentences that can be aligned, with exact offsets into the text.

Knows nothing of diffs. Every token starts and ends at a boundary of grapheme clusters (UAX 29), so nothing that is
built from tokens can cut an emoji or an accented letter in two.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import regex  # type: ignore[import-untyped]

# Scripts that are written without blanks between words: each of their clusters is a token of its own.
_SOLO = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"(?=(?![{_SOLO}])\w)\X"
_TOKEN = regex.compile(
    # A word, with the apostrophes inside it ("don't") and the marks inside a number ("1,000.5").
    rf"(?:{_LETTER})++(?:(?:['’](?=\p{{L}})|(?<=\d)[.,](?=\d))(?:{_LETTER})++)*+"
    # A blank that carries a combining mark is visible, so it is a token; every other blank is a gap.
    r"|\p{Zs}(?=[\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=ZWJ}])\X"
    r"|(?=\S)\X"
)
_ASCII_TOKEN = regex.compile(r"\w++(?:(?:'(?=[A-Za-z])|(?<=\d)[.,](?=\d))\w++)*+|[^\w\s]", regex.ASCII)

MOST_SENTENCES = 5_000
"""Sentences that a text is cut into at most, so that a text of a million line breaks stays affordable."""

_ENDERS = frozenset(".!?…")
_WIDE_ENDERS = frozenset("。！？｡")
_CLOSERS = frozenset("\"'”’)]»*_」』）")
_ABBREVIATIONS = frozenset(("mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "approx", "dept", "fig", "vol"))


@dataclass(frozen=True)
class Tokens:
    """The tokens of `text` in order: words, and single other characters. White space between them is not a token.

    Args:
        text: as given, untouched.
        keys: what tokens are compared by: their text in Unicode normal form C.
        starts, ends: offsets of each token in `text`, in code points.
        words: the keys that are words, not punctuation or symbols.
    """

    text: str
    keys: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    words: frozenset[str]

    def count_words(self, first: int = 0, last: int | None = None) -> int:
        """How many of the tokens from `first` to before `last` are words."""
        return sum(map(self.words.__contains__, self.keys[first:last]))


def tokenise(text: str) -> Tokens:
    """Cut a text into tokens. Linear in the text; any string is allowed, lone surrogates and control bytes too."""
    pattern = _ASCII_TOKEN if text.isascii() else _TOKEN
    spans = [match.span() for match in pattern.finditer(text)]
    keys = [text[start:end] for start, end in spans]
    if not text.isascii():
        keys = [key if key.isascii() else unicodedata.normalize("NFC", key) for key in keys]
    return Tokens(
        text,
        tuple(keys),
        tuple(start for start, _ in spans),
        tuple(end for _, end in spans),
        frozenset(filter(is_word, set(keys))),
    )


def is_word(key: str) -> bool:
    """Whether a token counts as a word: it holds a letter or a digit."""
    return key.isalnum() or any(character.isalnum() for character in key)


def sentences(tokens: Tokens) -> list[tuple[int, int]]:
    """The ranges of token indices (first, one past the last) that make up sentences; together they are all tokens.

    A line break ends a sentence, so list items and headings stand by themselves. A full stop does not after an
    abbreviation, an initial, the number of a list item, or before a small letter. From sentence `MOST_SENTENCES` on,
    the rest of the text is one.
    """
    found: list[tuple[int, int]] = []
    first = 0
    position = 0
    count = len(tokens.keys)
    while position < count and len(found) < MOST_SENTENCES - 1:
        position = _sentence_end(tokens, first, position)
        if position > first and (position == count or _ends_here(tokens, position)):
            found.append((first, position))
            first = position
    if first < count:
        found.append((first, count))
    return found


def _sentence_end(tokens: Tokens, first: int, position: int) -> int:
    """One past the next token that may end a sentence, its closing quotes and brackets included."""
    keys, starts, ends, text = tokens.keys, tokens.starts, tokens.ends, tokens.text
    count = len(keys)
    while position < count:
        key = keys[position]
        position += 1
        if position < count and "\n" in text[ends[position - 1] : starts[position]]:
            return position
        if key in _WIDE_ENDERS or (key in _ENDERS and not _is_abbreviation(tokens, first, position - 1)):
            while (
                position < count
                and starts[position] == ends[position - 1]
                and (keys[position] in _CLOSERS or keys[position] in _ENDERS or keys[position] in _WIDE_ENDERS)
            ):
                position += 1
            return position
    return count


def _ends_here(tokens: Tokens, position: int) -> bool:
    """Whether a sentence may end just before the token at `position`."""
    gap = tokens.text[tokens.ends[position - 1] : tokens.starts[position]]
    if "\n" in gap:
        return True
    behind = position - 1
    while behind > 0 and tokens.keys[behind] in _CLOSERS:
        behind -= 1
    if tokens.keys[behind] in _WIDE_ENDERS:
        return True
    if not gap:
        return False
    return not (tokens.keys[behind] in (".", "…") and tokens.keys[position][0].islower())


def _is_abbreviation(tokens: Tokens, first: int, position: int) -> bool:
    """Whether the full stop at `position` belongs to the token before it: "Dr.", "e.g.", "J.", "2." of a list."""
    if tokens.keys[position] != "." or position == first or tokens.starts[position] != tokens.ends[position - 1]:
        return False
    before = tokens.keys[position - 1]
    if before.isdigit():
        return position - 1 == first
    return (len(before) == 1 and before.isalpha() and before != "I") or before.casefold() in _ABBREVIATIONS
