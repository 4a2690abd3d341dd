"""Text from outside (models, files, servers) made safe to store and to show: it is data, never instructions."""

from __future__ import annotations

import unicodedata

PREVIEW_CHARS = 500
"""Characters of a text that verbosity 2 shows."""

_KEPT_CONTROLS = {"\n", "\t"}
_STRIPPED = dict.fromkeys(
    [c for c in [*range(0x20), *range(0x7F, 0xA0)] if chr(c) not in _KEPT_CONTROLS]
    # Bidirectional overrides and isolates can make a line read as something that it is not ("Trojan Source").
    + [0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    # Line and paragraph separators move the cursor of some terminals; the byte order mark is no text.
    + [0x2028, 0x2029, 0xFEFF]
)


def sanitize(text: str) -> str:
    """The text without control, escape and direction-changing characters, with lone surrogates replaced.

    Newlines and tabs stay; carriage returns become newlines. Idempotent.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.translate(_STRIPPED)
    return text.encode("utf-8", "replace").decode("utf-8")


def truncate(text: str, limit: int = PREVIEW_CHARS) -> str:
    """The first `limit` characters, with an ellipsis where something was left out; never splits a combining mark."""
    if len(text) <= limit:
        return text
    end = limit
    while end > 0 and (unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f" or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip() + " …"
