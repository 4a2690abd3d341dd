"""Normalizes text for matching: lowercase, plain quotes and spaces, no invisible characters.

Only for matching: spans are mapped back to the original text. Knows nothing of rules.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field

from engine.text import LINE_SEPARATORS

# Ranges whose compatibility forms are used to disguise words: full width, mathematical letters, circled letters.
_COMPATIBLE = (
    *range(0xA0, 0x250),
    *range(0x2000, 0x2070),
    *range(0x20A0, 0x2190),
    *range(0x2460, 0x2500),
    *range(0x3000, 0x3004),
    *range(0xFB00, 0xFB07),
    *range(0xFF00, 0xFFF0),
    *range(0x1D400, 0x1D800),
)
_PLAIN = {
    "\u2018": "'", "\u2019": "'", "\u201b": "'", "\u02bc": "'", "\u2032": "'", "\u00b4": "'", "`": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u00ab": '"', "\u00bb": '"', "\u2033": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2015": "-", "\u2212": "-",
    "\u2022": "-", "\u2023": "-", "\u25e6": "-", "\u2043": "-", "\u25aa": "-", "\u25cf": "-",
    "\t": " ", "\u00a0": " ", "\u2800": " ", "\u3000": " ", "\u1680": " ", "\x1f": " ",
    "\r": "\n", **dict.fromkeys(LINE_SEPARATORS, "\n"),
    "\u0130": "I",
}  # fmt: skip

# Invisible characters: controls, soft hyphen, zero-width and direction marks, variation selectors, tags.
_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
# "s t u p i d", and digits that stand for letters inside a word ("st4b").
_SPACED = r"(?<![A-Za-z0-9'])[A-Za-z](?: [A-Za-z]){2,}(?![A-Za-z0-9'])"
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEET = re.compile(r"(?<=[a-z])[013457@$](?=[a-z])")
_LETTERS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"}
_EMPHASIS = r"\*+|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9_])|(?m:^#+ )"


@functools.cache
def _tables() -> tuple[dict[int, str], dict[str, str], re.Pattern[str]]:
    """One-to-one replacements, replacements that change the length, and what finds the latter."""
    single: dict[int, str] = {ord(c): plain for c, plain in _PLAIN.items()}
    longer: dict[str, str] = {}
    for code in _COMPATIBLE:
        char = chr(code)
        if code in single:
            continue
        plain = unicodedata.normalize("NFKC", char)
        if plain == char or unicodedata.category(char) == "Cf":
            continue
        if len(plain) == 1:
            single[code] = plain
        else:
            longer[char] = plain
    finder = re.compile(
        f"[{_INVISIBLE}]+|[^{_MARKS}{_INVISIBLE}][{_MARKS}]+|[{_MARKS}]+|[{re.escape(''.join(longer))}]"
        f"|(?<=[ \n]) +| +(?=\n)|{_EMPHASIS}|{_SPACED}"
    )
    return single, longer, finder


_PLAIN_ASCII = re.compile(r"[\x00-\x08\x0b-\x1f\x7f*_`#\t]| [ \n]|\n |" + _SPACED)


@dataclass(frozen=True)
class NormalizedText:
    """A normalized text and the mapping back to the original.

    Args:
        text: what patterns are matched against.
        original: the text as given.
        at, source, until: pieces in order: the piece's start in `text`, its start in `original`, and, if the piece
            replaces something, the end of what it replaces (-1 if characters map one to one).
    """

    text: str
    original: str
    at: list[int] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    until: list[int] = field(default_factory=list)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that `text[start:end]` stands for; combining marks stay with their letter."""
        if not self.at or end <= start:
            return start, end
        first = bisect_right(self.at, start) - 1
        begin = self.source[first] + (start - self.at[first] if self.until[first] < 0 else 0)
        last = bisect_right(self.at, end - 1) - 1
        stop = self.until[last] if self.until[last] >= 0 else self.source[last] + end - self.at[last]
        limit = min(len(self.original), stop + 64)
        while stop < limit and unicodedata.combining(self.original[stop]):
            stop += 1
        return begin, stop


def normalize(text: str) -> NormalizedText:
    """Normalize a text. Linear in its length; accepts any string, including lone surrogates."""
    if text.isascii() and not _PLAIN_ASCII.search(text):
        return NormalizedText(_undisguise(text.lower()), text)
    single, longer, finder = _tables()
    plain = _SURROGATE.sub("\ufffd", text.translate(single))
    pieces: list[str] = []
    at: list[int] = []
    source: list[int] = []
    until: list[int] = []
    length = done = 0
    for match in finder.finditer(plain):
        start, end = match.span()
        if start > done:
            _append(pieces, plain[done:start], at, source, until, length, done, -1)
            length += start - done
        new = _replacement(match.group(), longer)
        if new:
            _append(pieces, new, at, source, until, length, start, end)
            length += len(new)
        done = end
    if done < len(plain):
        _append(pieces, plain[done:], at, source, until, length, done, -1)
    normalized = "".join(pieces).replace("\u0130", "I").lower()
    return NormalizedText(_undisguise(normalized), text, at, source, until)


def _append(
    pieces: list[str], piece: str, at: list[int], source: list[int], until: list[int], place: int, start: int, end: int
) -> None:
    pieces.append(piece)
    at.append(place)
    source.append(start)
    until.append(end)


def _replacement(found: str, longer: dict[str, str]) -> str:
    if found in longer:
        return longer[found]
    if len(found) > 4 and found[1] == " ":
        return found.replace(" ", "")
    if len(found) > 1 and unicodedata.combining(found[1]) and not unicodedata.combining(found[0]):
        composed = unicodedata.normalize("NFC", found[:3])
        return composed[0]
    return ""


_WRAPPED = re.compile(r"(?<=[a-z,;])\n(?=[a-z])")


def _undisguise(text: str) -> str:
    """Join wrapped lines and replace digits inside words by letters; keeps the length."""
    if "\n" in text:
        text = _WRAPPED.sub(" ", text)
    return _LEET.sub(lambda match: _LETTERS[match.group()], text)
