"""Text from outside (models, files, servers) made safe to store and to show: it is data, never instructions."""

from __future__ import annotations

import re
import unicodedata

PREVIEW_CHARS = 500
"""Characters of a text that verbosity 2 shows."""

LINE_SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""Line ends other than newline and carriage return: vertical tab, form feed, the file, group and record separators,
NEL, and Unicode's line and paragraph separators. They move the cursor of some terminals."""

_SPACE_CONTROLS = "\x1f"

_REPLACED: dict[int, str | None] = {
    **dict.fromkeys([c for c in [*range(0x20), *range(0x7F, 0xA0)] if chr(c) not in "\n\t"]),
    # Bidirectional overrides and isolates can make a line read as something that it is not ("Trojan Source").
    **dict.fromkeys([0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
    0xFEFF: None,  # the byte order mark is not text
    # Deleting a separator would join the words around it: "must\u2028obey" is not "mustobey".
    **dict.fromkeys(map(ord, LINE_SEPARATORS), "\n"),
    **dict.fromkeys(map(ord, _SPACE_CONTROLS), " "),
}
_DELETED = "".join(chr(code) for code, plain in _REPLACED.items() if plain is None)
_DELETED_IN_WORD = re.compile(f"(?<=\\w)[{re.escape(_DELETED)}]+(?=\\w)")
_ZERO_WIDTH = "\u00ad\u034f\u115f\u1160\u180e\u200b-\u200d\u2060-\u2064\u3164\ufeff\uffa0"
_EMPTY_LETTERS = "\u115f\u1160\u2800\u3164\uffa0\u034f"
_ZERO_WIDTH_IN_WORD = re.compile(f"(?<=\\w)[{_ZERO_WIDTH}{re.escape(_DELETED)}]+(?=\\w)")


def sanitize(text: str) -> str:
    """The text without control, escape and direction-changing characters, with lone surrogates replaced.

    Newlines and tabs stay; every other line separator (`LINE_SEPARATORS`, carriage returns) becomes a newline. What is
    deleted between two letters becomes a zero-width space: it may have separated two words ("must\\x1bobey") or been
    put into one ("m\\x00ust"), and the rules of a judge read a zero-width space both ways. Idempotent.
    """
    if text.isascii() and text.isprintable():  # most texts of large files
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    cleaned = text.translate(_REPLACED)
    if len(cleaned) < len(text):
        cleaned = _DELETED_IN_WORD.sub("\u200b", text).translate(_REPLACED)
    text = cleaned
    return text.encode("utf-8", "replace").decode("utf-8")


def split_zero_width(text: str) -> str:
    """The text with spaces for the zero-width characters between two letters or digits; as long as the text.

    Zero-width spaces, joiners, soft hyphens and fillers separate words in some texts ("must\u200bobey") and dress up
    one word in others ("m\u200bust"): a search has to try both readings.
    """
    return _ZERO_WIDTH_IN_WORD.sub(lambda found: " " * len(found.group()), text)


def is_blank(text: str) -> bool:
    """Whether nothing of the text can be seen: only white space, control and format characters, and letters that fonts
    leave empty (fillers of Hangul, the braille blank)."""
    seen = text.strip()
    if seen[:1].isascii() and seen[:1].isalnum():  # most texts
        return False
    return all(c.isspace() or c in _EMPTY_LETTERS or unicodedata.category(c) in ("Cc", "Cf") for c in seen)


def truncate(text: str, limit: int = PREVIEW_CHARS) -> str:
    """The first `limit` characters, with an ellipsis where something was left out; never splits a combining mark."""
    if len(text) <= limit:
        return text
    end = limit
    while end > 0 and (unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f" or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip() + " …"


def percent(value: float) -> str:
    """A share of 1 as "42 %", as every number with its unit is written."""
    return f"{100 * value:.0f} %"


def probability_text(value: float) -> str:
    """A probability, or another share of 1, as ".94"; only 1 itself is "1.0": what is nearly certain is not certain."""
    return "1.0" if value >= 1 else f"{min(value, 0.99):.2f}".removeprefix("0")
