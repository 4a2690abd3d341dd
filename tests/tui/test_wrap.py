from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tui.views.wrap import _by_cells, cells, untab, wrap


def lines(text: str, width: int) -> list[str]:
    return [text[start:end] for start, end in wrap(text, width)]


def test_breaks_at_words_and_drops_the_spaces_at_breaks() -> None:
    assert lines("hello big   world, and more   ", 12) == ["hello big", "world, and", "more"]


def test_keeps_paragraphs_empty_lines_and_indents() -> None:
    assert lines("one\n\n  two three", 8) == ["one", "", "  two", "three"]


def test_breaks_a_word_that_is_longer_than_a_line() -> None:
    assert lines("a verylongword b", 6) == ["a", "verylo", "ngword", "b"]


def test_counts_cells_not_characters() -> None:
    assert lines("日本語の文章", 5) == ["日本", "語の", "文章"]
    assert lines("mixed 日本", 8) == ["mixed 日", "本"]


def test_never_splits_a_grapheme() -> None:
    family = "👨‍👩‍👧‍👦"
    assert lines(family * 3, 2) == [family] * 3
    assert lines("e\u0301" * 4, 2) == ["e\u0301" * 2] * 2


def test_gives_one_empty_line_for_nothing() -> None:
    assert lines("", 10) == [""]
    assert lines("   ", 2) == [""]


def test_survives_a_width_of_one_or_less() -> None:
    assert lines("ab", 0) == ["a", "b"]
    assert lines("日本", 1) == ["日", "本"]


def test_expands_tabs_before_wrapping() -> None:
    assert untab("a\tb") == "a   b"


_TEXTS = st.text(alphabet=st.sampled_from(list("ab  日é👍🏽\n—\u0301\u200d")), max_size=60)


@given(_TEXTS, st.integers(1, 12))
def test_loses_no_character_and_keeps_within_the_width(text: str, width: int) -> None:
    spans = wrap(text, width)
    kept = "".join(text[start:end] for start, end in spans)
    assert kept.replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert all(cells(text[start:end]) <= max(width, 2) for start, end in spans)


@given(st.text(alphabet="ab  ", max_size=60), st.integers(1, 12))
def test_both_ways_of_measuring_agree_where_each_character_is_one_cell(text: str, width: int) -> None:
    stop = len(text.rstrip(" "))
    slow: list[tuple[int, int]] = []
    if stop:
        _by_cells(text, 0, stop, width, slow)
        assert slow == wrap(text, width)
