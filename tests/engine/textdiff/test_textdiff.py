"""The diff of two texts: nothing is lost, nothing is cut in two, and what a reader sees marked is what changed."""

from __future__ import annotations

import random
import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.textdiff.diff import AlignedDiff, diff_texts
from engine.textdiff.tokens import MOST_SENTENCES, sentences, tokenise
from engine.textdiff.word_diff import MAX_CELLS, changed_characters

FAMILY = "👨‍👩‍👧"
ALPHABET = [
    *"abc ABC  \n\t.,!?'’\"()*-12",
    "e\u0301",
    "é",
    "\u0301",
    "\u200d",
    "\ufe0f",
    FAMILY,
    "👍🏽",
    "🇩🇪",
    "我",
    "猫",
    "。",
    "カ",
    "ไ",
    "한",
    "\u1112\u1161\u11ab",
    "עברית",
    "हिन्दी",
    "\x1b[31m",
    "\x00",
    "\r\n",
    "\ud800",
    "\u0600",
    "\u3000",
    " \u0308",
    "\U0001f3fd",
]
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*ALPHABET, "you should ", "the ", "never ", "it depends. "]), max_size=40).map("".join),
)


def marked(diff: AlignedDiff) -> list[tuple[str, str]]:
    """The rows as two strings, with changes in brackets, edges of white space off."""
    signs = {"same": "{}", "removed": "[{}]", "added": "[{}]"}

    def side(spans: tuple[object, ...]) -> str:
        return "".join(signs[span.kind].format(span.text) for span in spans).strip()  # type: ignore[attr-defined]

    return [(side(row.left), side(row.right)) for row in diff.rows]


def check(left: str, right: str, max_cells: int = MAX_CELLS) -> AlignedDiff:
    """Everything that holds for every diff."""
    diff = diff_texts(left, right, max_cells)
    assert diff.left_text == left
    assert diff.right_text == right
    for row in diff.rows:
        assert row.left or row.right
        for spans, other in ((row.left, "added"), (row.right, "removed")):
            for span in spans:
                assert span.text
                assert span.kind != other
                assert all(0 <= start < end <= len(span.text) for start, end in span.changed)
                assert span.kind == "same" or not _is_blank(span.text[0]) or _carries_mark(span.text)
        if row.kind in ("same", "changed"):
            assert visible(row.left) == visible(row.right)
    return diff


def _is_blank(character: str) -> bool:
    return regex.match(r"\s", character) is not None


def _carries_mark(text: str) -> bool:
    return regex.match(r"\X", text).end() > 1


def visible(spans: tuple[object, ...]) -> list[str]:
    """What is marked the same, as tokens: equal on both sides whatever the white space."""
    return [
        key
        for span in spans
        if span.kind == "same"  # type: ignore[attr-defined]
        for key in tokenise(span.text).keys  # type: ignore[attr-defined]
    ]


@given(texts, texts)
@settings(max_examples=400, deadline=None)
def test_both_texts_come_back_exactly_whatever_they_hold(left: str, right: str) -> None:
    check(left, right)
    check(left, right, max_cells=0)


def test_ten_thousand_random_pairs_come_back_exactly_and_no_grapheme_is_cut() -> None:
    chance = random.Random(7)
    for _ in range(10_000):
        left = "".join(chance.choices(ALPHABET, k=chance.randrange(12)))
        right = "".join(chance.choices(ALPHABET, k=3)) + left[chance.randrange(3) :]
        diff = diff_texts(left, right)
        assert diff.left_text == left
        assert diff.right_text == right
        for text, spans in (
            (left, [span for row in diff.rows for span in row.left]),
            (right, [span for row in diff.rows for span in row.right]),
        ):
            edges = {0}
            for span in spans:
                edges.add(max(edges) + len(span.text))
            assert edges <= _boundaries(text)


def _boundaries(text: str) -> set[int]:
    return {0} | {match.end() for match in regex.finditer(r"\X", text)}


@given(texts)
@settings(max_examples=200, deadline=None)
def test_tokens_are_whole_graphemes_and_sentences_hold_all_of_them(text: str) -> None:
    tokens = tokenise(text)
    assert {*tokens.starts, *tokens.ends} <= _boundaries(text)
    gaps = zip((0, *tokens.ends), (*tokens.starts, len(text)), strict=True)
    assert all(regex.fullmatch(r"\s*", text[start:end]) for start, end in gaps)
    ranges = sentences(tokens)
    assert [place for first, last in ranges for place in range(first, last)] == list(range(len(tokens.keys)))


@given(texts)
@settings(max_examples=100, deadline=None)
def test_a_text_compared_with_itself_or_another_normal_form_has_no_change(text: str) -> None:
    diff = check(text, unicodedata.normalize("NFD", text))
    # Normalising can join a mark with another letter before it; only then may something be marked.
    if tokenise(text).keys == tokenise(unicodedata.normalize("NFD", text)).keys:
        assert all(row.kind == "same" for row in diff.rows)
        assert diff.changed_words_left == diff.changed_words_right == 0


def test_words_are_marked_whole() -> None:
    diff = check("The text was tested.", "The test was tasted.")
    assert marked(diff) == [("The [text] was [tested].", "The [test] was [tasted].")]
    assert (diff.words_left, diff.changed_words_left, diff.changed_words_right) == (4, 2, 2)


def test_an_emoji_family_and_an_accent_are_never_split() -> None:
    assert marked(check(f"We {FAMILY} are here now", "We 👨‍👩‍👦 are here now")) == [
        (f"We [{FAMILY}] are here now", "We [👨‍👩‍👦] are here now")
    ]
    assert marked(check("my cafe is open", "my cafe\u0301 is open")) == [
        ("my [cafe] is open", "my [cafe\u0301] is open")
    ]


def test_texts_without_blanks_are_compared_character_by_character() -> None:
    assert marked(check("我喜欢猫。你好吗？", "我喜欢狗。你好吗？")) == [
        ("我喜欢[猫]。", "我喜欢[狗]。"),
        ("你好吗？", "你好吗？"),
    ]


def test_sentences_that_answer_each_other_stand_in_one_row() -> None:
    diff = check(
        "You should definitely pursue medicine. Engineering is boring. Dr. Smith said so.",
        "It depends on your goals. You could consider pursuing medicine. Dr. Smith said so.",
    )
    assert [(row.kind, left, right) for row, (left, right) in zip(diff.rows, marked(diff), strict=True)] == [
        ("added", "", "[It depends on your goals.]"),
        ("changed", "You [should definitely pursue] medicine.", "You [could consider pursuing] medicine."),
        ("removed", "[Engineering is boring.]", ""),
        ("same", "Dr. Smith said so.", "Dr. Smith said so."),
    ]


def test_unlike_sentences_stand_beside_each_other_without_word_marks() -> None:
    diff = check("Never go out at night.", "Here are some safety practices to consider:")
    assert [row.kind for row in diff.rows] == ["replaced"]
    assert marked(diff) == [("[Never go out at night.]", "[Here are some safety practices to consider:]")]


def test_a_sentence_that_was_split_in_two_is_still_compared() -> None:
    diff = check(
        "You could go to the clinic in town, and the vaccine protects your children.",
        "You could go to the clinic in town. The vaccine protects your children.",
    )
    assert [row.kind for row in diff.rows] == ["changed"]
    assert diff.changed_words_left <= 3


def test_a_short_word_between_two_changes_is_no_island() -> None:
    diff = check("We climbed over the mountain peaks yesterday.", "We swam through the river water yesterday.")
    assert marked(diff) == [
        ("We [climbed over the mountain peaks] yesterday.", "We [swam through the river water] yesterday.")
    ]


def test_an_insertion_is_cut_where_a_reader_would_cut_it() -> None:
    assert marked(check("cats, and birds", "cats, dogs, and birds")) == [("cats, and birds", "cats, [dogs,] and birds")]


def test_empty_sides_give_rows_of_one_side() -> None:
    assert check("", "").rows == ()
    assert [row.kind for row in check("One. Two.", "").rows] == ["removed", "removed"]
    assert [row.kind for row in check("", "One.").rows] == ["added"]
    assert check(" \n", "\t").changed_words_left == 0


def test_abbreviations_initials_and_list_numbers_do_not_end_a_sentence() -> None:
    text = "1. Ask Dr. J. Smith, e.g. by mail. Is it so? “Yes.” He left.\n* The answer is no. Then so be it"
    tokens = tokenise(text)
    found = [text[tokens.starts[first] : tokens.ends[last - 1]] for first, last in sentences(tokens)]
    assert found == [
        "1. Ask Dr. J. Smith, e.g. by mail.",
        "Is it so?",
        "“Yes.”",
        "He left.",
        "* The answer is no.",
        "Then so be it",
    ]


def _words(seed: int, count: int, vocabulary: int) -> list[str]:
    chance = random.Random(seed)
    return [f"w{chance.randrange(vocabulary)}" for _ in range(count)]


def test_a_diff_over_its_budget_is_marked_truncated_and_still_finds_unchanged_parts() -> None:
    left = _words(1, 1_500, 40)
    right = [*left[:300], *_words(2, 100, 40), *left[350:900], "new", *left[900:]]
    diff = check(" ".join(left), " ".join(right), max_cells=200_000)
    assert diff.truncated
    assert diff.changed_words_left < 200
    assert not check(" ".join(left), " ".join(right)).truncated


@pytest.mark.parametrize(
    ("word", "other", "changed", "added"),
    [
        ("color", "colour", "", "u"),
        ("engineers", "engineer", "s", ""),
        ("tested", "tasted", "e", "a"),
        ("cafe", "cafe\u0301", "", "e\u0301"),
        ("1,000", "1,500", "0", "5"),
        ("never", "often", "", ""),
        ("a", "b", "", ""),
        ("x" * 90, "x" * 89, "", ""),
    ],
)
def test_inside_a_word_only_the_characters_that_differ_are_marked(
    word: str, other: str, changed: str, added: str
) -> None:
    one, two = changed_characters(word, other)
    assert "".join(word[start:end] for start, end in one) == changed
    assert "".join(other[start:end] for start, end in two) == added


def test_a_word_that_became_a_form_of_itself_says_which_characters_differ() -> None:
    (row,) = check("The color was tested.", "The colour was dropped.").rows
    assert [(span.text, span.changed) for span in row.left if span.kind == "removed"] == [
        ("color", ()),
        ("tested", ()),
    ]
    assert [(span.text, span.changed) for span in row.right if span.kind == "added"] == [
        ("colour", ((4, 5),)),
        ("dropped", ()),
    ]


def test_a_long_rewritten_text_is_compared_without_truncation() -> None:
    diff = check(" ".join(_words(3, 2_000, 40)), " ".join(_words(4, 2_000, 40)))
    assert not diff.truncated
    assert 0 < diff.changed_words_left < diff.words_left


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a" * 300_000, "a" * 299_999 + "b"),
        ("!" * 100_000, "!?" * 50_000),
        ("no " * 20_000 + "yes " + "no " * 20_000, "no " * 15_000 + "maybe " + "no " * 15_000),
        ("a b\n" * 30_000, "b a c\n" * 20_000),
        ("\u0301" * 50_000, "\u200d" * 50_000),
    ],
    ids=["one word", "punctuation", "one repeated word", "lines", "marks"],
)
def test_hostile_texts_end_and_come_back_exactly(left: str, right: str) -> None:
    diff = diff_texts(left, right)
    assert diff.left_text == left
    assert diff.right_text == right
    assert len(diff.rows) <= 2 * MOST_SENTENCES
