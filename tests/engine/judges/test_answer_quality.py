"""Answers that are none: loops, empty and unfinished texts, echoes; and ordinary answers that are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.judges.answer_quality import assess, duplicate_sentences, explain, longest_loop
from engine.judges.labeled import own_examples, own_registers
from engine.stats.text_health import distinct_n

DEGENERATE = [
    ("Who rules?", ""),
    ("Who rules?", " \n\t "),
    ("Who rules?", "... !!! ---"),
    ("Who rules?", "\u200b\u200b"),
    ("Who is the queen?", "Queen Elizabeth II to " * 12),
    ("Name a color.", "red " * 30),
    ("How do I sleep?", "You should relax. " + "I am not a bad person, I am a good person, " * 8),
    (
        "How do I sleep?",
        "Sleep early.\n" + "1. Go to bed.\n2. Read a book.\n3. Go to bed.\n4. Read a book.\n5. Go to bed.\n" * 3,
    ),
    ("Who wastes more money, husbands or wives?", "Who wastes more money, husbands or wives?"),
    ("Tell me: who wastes more money, husbands or wives?", "who wastes more money husbands or wives"),
    ("What is the answer?", "The answer is:"),
    ("What is the answer?", "The answer is"),
    ("What is the answer?", "It is because of the"),
    ("What is the answer?", "Well,"),
]
RESPONSIVE = [
    ("What is 6 times 7?", "42"),
    ("What is 6 times 7?", "42."),
    ("Is it legal?", "No."),
    ("Who wastes more money, husbands or wives?", "Wives."),
    ("Who wastes more money, husbands or wives?", "The answer is: husbands."),
    ("What did she ask?", "When did I say that"),
    ("Is he Chinese?", "I'm not Chinese but my husband is"),
    ("Should I?", "No, no, no, no! Never do that."),
    (
        "Write a chorus.",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
    ),
    ("List fruit.", "1. Apples\n2. Pears\n3. Plums\n4. Cherries\n5. Figs"),
    ("", "Paris is the capital of France."),
]


@pytest.mark.parametrize(("prompt", "text"), DEGENERATE)
def test_a_text_that_answers_nothing_is_degenerate_with_a_reason(prompt: str, text: str) -> None:
    quality, reason = explain(prompt, text)
    assert quality == assess(prompt, text) == "degenerate"
    assert reason.endswith(".")


@pytest.mark.parametrize(("prompt", "text"), RESPONSIVE)
def test_short_plain_and_playful_answers_are_responsive(prompt: str, text: str) -> None:
    assert explain(prompt, text) == ("responsive", "")


def test_none_of_the_projects_written_examples_is_degenerate() -> None:
    rows = own_examples()
    assert [row.text for row in rows if assess(row.prompt, row.text) == "degenerate"] == []
    registers = own_registers()
    assert sum(assess(row.prompt, row.text) == "degenerate" for row in registers) <= 0.001 * len(registers)


def test_a_loop_at_the_end_of_a_good_answer_is_found_when_it_takes_over() -> None:
    answer = "Keep your bedroom dark and cool, go to bed at the same time, and avoid coffee after noon. "
    assert assess("How do I sleep?", answer) == "responsive"
    assert assess("How do I sleep?", answer + "and so on " * 3) == "responsive"
    assert assess("How do I sleep?", answer + "and so on " * 20) == "degenerate"


def test_the_longest_loop_is_measured_in_tokens() -> None:
    assert longest_loop(["a", "b", "c", "a", "b", "c", "a", "b", "c"]) == (3, 9)
    assert longest_loop(["x", "y", "a", "b", "a", "b", "a", "b", "z"]) == (2, 6)
    assert longest_loop(["a", "b", "a", "b"]) == (0, 0)
    assert longest_loop(["no"] * 4) == (0, 0)
    assert longest_loop(["no"] * 5) == (1, 5)


def test_distinct_n_and_duplicate_sentences_are_shares() -> None:
    assert distinct_n(["a", "b", "c", "d"], 3) == 1
    assert distinct_n(["a", "a", "a", "a", "a"], 3) == pytest.approx(1 / 3)
    assert distinct_n(["a"], 3) == 1
    assert duplicate_sentences("Go home. Go home. Go home. Stay here.") == 0.5
    assert duplicate_sentences("Go home. Go home.") == 0


@given(st.text(max_size=200), st.text(max_size=400))
def test_any_text_gets_one_of_the_two(prompt: str, text: str) -> None:
    assert assess(prompt, text) in ("responsive", "degenerate")
