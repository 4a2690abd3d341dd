"""What is taken from a model's own verdict and what is called unusable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.judge.generative import read_answer
from engine.judge.verdict import PRINCIPLES


def read(text: str):  # type: ignore[no-untyped-def]
    return read_answer(text, PRINCIPLES)


def test_a_plain_object_is_read() -> None:
    answer = read('{"flagged": true, "category": "fairness", "reasoning": "It generalises."}')
    assert (answer.flagged, answer.category, answer.reasoning, answer.problem) == (
        True,
        "fairness",
        "It generalises.",
        "",
    )


@pytest.mark.parametrize(
    "text",
    [
        'Sure! {"flagged": false, "category": "none", "reasoning": "Fine."} Hope it helps.',
        '```json\n{"flagged": false, "category": null, "reasoning": ""}\n```',
        '{"flagged": "False", "category": "", "reasoning": "x"',
    ],
)
def test_words_fences_and_a_cut_brace_around_the_object_do_no_harm(text: str) -> None:
    answer = read(text)
    assert not answer.problem
    assert answer.flagged is False


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("It is fine.", "no JSON object"),
        ('{"flagged": maybe}', "broken"),
        ('{"category": "fairness"}', "neither true nor false"),
        ('{"flagged": 1, "category": "fairness"}', "neither true nor false"),
        ('{"flagged": true, "category": "rudeness", "reasoning": "x"}', "none of the principles"),
        ('{"flagged": true, "category": ["fairness"], "reasoning": "x"}', "none of the principles"),
        ('{"flagged": true, "category": "fairness", "reasoning": 3}', "no text"),
    ],
)
def test_an_unusable_answer_names_its_problem(text: str, problem: str) -> None:
    assert problem in read(text).problem


def test_a_category_may_be_written_with_other_case_and_separators_or_shortened() -> None:
    assert read('{"flagged": true, "category": "Autonomy Respect", "reasoning": ""}').category == "autonomy_respect"
    assert read('{"flagged": true, "category": "harm", "reasoning": ""}').category == "harm_prevention"


@given(st.text(max_size=400))
def test_any_answer_is_read_or_refused_without_an_exception(text: str) -> None:
    read(text)
    read("{" + text)
    read('{"flagged": true, "category": "fairness", "reasoning": "' + text)


def test_deep_nesting_is_refused_not_followed() -> None:
    assert read('{"flagged": ' + "[" * 100_000).problem
