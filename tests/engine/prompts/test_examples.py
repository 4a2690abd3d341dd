"""The labelled examples: enough of each kind, clean twins that look alike, and nothing that gives the label away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from engine.prompts import PRINCIPLES, Example, load_builtin, load_examples

EXAMPLES = load_examples()
PER_PRINCIPLE = [[example for example in EXAMPLES if example.principle == principle] for principle in PRINCIPLES]


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """The chance that one of `higher` exceeds one of `lower`; ties count half."""
    wins = sum((a > b) + 0.5 * (a == b) for a in higher for b in lower)
    return wins / (len(higher) * len(lower))


def values(examples: Iterable[Example], label: bool, measure: Callable[[str], float]) -> list[float]:
    return [measure(example.text) for example in examples if example.label is label]


def word_count(text: str) -> int:
    return len(text.split())


def test_examples_belong_to_known_principles_and_difficulties() -> None:
    assert {example.principle for example in EXAMPLES} == set(PRINCIPLES)
    assert {example.difficulty for example in EXAMPLES} == {"obvious", "subtle"}
    assert len({example.id for example in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("examples", PER_PRINCIPLE, ids=PRINCIPLES)
def test_each_principle_has_as_many_clean_as_violating_half_of_them_subtle(examples: list[Example]) -> None:
    counts = Counter((example.label, example.difficulty) for example in examples)
    assert counts[True, "obvious"] >= 60
    assert counts[True, "subtle"] >= 60
    assert abs(counts[True, "obvious"] - counts[True, "subtle"]) <= 4
    for difficulty in ("obvious", "subtle"):
        assert counts[True, difficulty] == counts[False, difficulty]


@pytest.mark.parametrize("examples", PER_PRINCIPLE, ids=PRINCIPLES)
def test_topics_are_many_and_balanced_so_that_folds_can_be_cut_by_topic(examples: list[Example]) -> None:
    labels: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for example in examples:
        labels[example.topic][example.label] += 1
    assert len(labels) >= 12
    for counts in labels.values():
        assert counts[True] == counts[False] >= 4


def test_each_clean_example_has_a_violating_twin_like_it() -> None:
    by_id = {example.id: example for example in EXAMPLES}
    for example in EXAMPLES:
        if example.label:
            assert example.twin == ""
        else:
            twin = by_id[example.twin]
            assert twin.label
            assert (twin.principle, twin.difficulty, twin.topic) == (
                example.principle,
                example.difficulty,
                example.topic,
            )
            assert twin.prompt == example.prompt


@pytest.mark.parametrize("examples", PER_PRINCIPLE, ids=PRINCIPLES)
@pytest.mark.parametrize("measure", [len, word_count], ids=["characters", "words"])
@pytest.mark.parametrize(
    "difficulties", [{"obvious"}, {"subtle"}, {"obvious", "subtle"}], ids=lambda wanted: "+".join(sorted(wanted))
)
def test_the_length_of_a_text_does_not_tell_its_label(
    examples: list[Example], measure: Callable[[str], float], difficulties: set[str]
) -> None:
    part = [example for example in examples if example.difficulty in difficulties]
    assert 0.45 <= auc(values(part, True, measure), values(part, False, measure)) <= 0.55


@pytest.mark.parametrize("mark", [*".,?!:;\"'", "1.", "\n", "-"])
def test_no_punctuation_mark_tells_the_label(mark: str) -> None:
    violating, clean = (values(EXAMPLES, label, lambda text: text.count(mark)) for label in (True, False))
    assert 0.4 <= auc(violating, clean) <= 0.6


@pytest.mark.parametrize("examples", PER_PRINCIPLE, ids=PRINCIPLES)
def test_no_single_word_tells_the_label(examples: list[Example]) -> None:
    """A template would show as a word in most texts of one label and hardly any of the other."""
    seen = {label: Counter[str]() for label in (True, False)}
    for example in examples:
        seen[example.label].update(set(example.text.lower().split()))
    per_label = len(examples) / 2
    for word in seen[True] | seen[False]:
        assert abs(seen[True][word] - seen[False][word]) <= 0.3 * per_label, word


def test_texts_have_a_handful_of_sentences() -> None:
    lengths = [word_count(example.text) for example in EXAMPLES]
    assert min(lengths) >= 5
    assert max(lengths) <= 90


def test_no_two_examples_say_the_same(likenesses: Any) -> None:
    twins = {frozenset((example.id, example.twin)) for example in EXAMPLES if example.twin}
    for pair in likenesses((example.id, example.text) for example in EXAMPLES):
        if frozenset(pair.ids) not in twins:
            assert pair.jaccard <= 0.3, pair
            assert pair.trigrams <= 0.3, pair


def test_twins_differ_in_words_too(likenesses: Any) -> None:
    texts = {example.id: example.text for example in EXAMPLES}
    for example in EXAMPLES:
        if example.twin:
            (pair,) = likenesses([(example.id, example.text), (example.twin, texts[example.twin])])
            assert pair.jaccard <= 0.8, pair


def test_no_example_answers_a_held_out_prompt(likenesses: Any) -> None:
    """Judges are fitted on the examples, and held-out prompts must not reach a judge's threshold."""
    prompts = sorted({example.prompt for example in EXAMPLES} - {""})
    held_out = [prompt.text for prompt in load_builtin("heldout")]
    for asked in prompts:
        for text in held_out:
            (pair,) = likenesses([(asked, asked), (text, text)])
            assert pair.jaccard <= 0.3, pair
            assert pair.trigrams <= 0.3, pair
