"""Texts from outside are made safe to show."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from engine.text import sanitize, truncate


def test_escape_sequences_lose_their_escape() -> None:
    assert sanitize("\x1b[31mred\x1b]52;c;aGk=\x07") == "[31mred]52;c;aGk="


def test_direction_overrides_are_stripped_and_newlines_and_tabs_stay() -> None:
    assert sanitize("a\u202eb\r\nc\td\re\u2066f") == "ab\nc\td\nef"


@given(st.text())
def test_sanitize_leaves_no_control_character_and_is_idempotent(text: str) -> None:
    once = sanitize(text)
    assert sanitize(once) == once
    assert all(unicodedata.category(c) not in ("Cc", "Cs") or c in "\n\t" for c in once)


@given(st.text(), st.integers(1, 50))
def test_truncate_returns_a_beginning_of_the_text(text: str, limit: int) -> None:
    short = truncate(text, limit)
    assert len(short) <= limit + 2
    assert text.startswith(short.removesuffix(" …")) or short == text
