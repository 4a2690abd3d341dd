"""The prompt sets that the project wrote: their size, balance and difference."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pytest

from engine.errors import InputError
from engine.prompts import BUILTIN, PRINCIPLES, PromptSet, load_builtin, overlap

Name = Literal["train", "heldout", "benign"]


@pytest.mark.parametrize(("name", "count"), [("train", 150), ("heldout", 200), ("benign", 100)])
def test_a_set_has_its_size_and_unique_ids(name: Name, count: int) -> None:
    prompts = load_builtin(name)
    assert len(prompts) == count
    assert len({prompt.id for prompt in prompts}) == count
    assert prompts.source == f"builtin:{name}"
    assert len(prompts.sha256) == 64


@pytest.mark.parametrize("name", ["train", "heldout"])
def test_every_beginning_of_a_set_is_balanced_over_the_principles(name: Name) -> None:
    """Presets take the first n prompts, so no cut may favour a principle by more than one prompt."""
    prompts = load_builtin(name)
    for count in range(1, len(prompts) + 1):
        per_principle = Counter(prompt.principle for prompt in prompts.first(count))
        shares = [per_principle[principle] for principle in PRINCIPLES]
        assert sum(shares) + per_principle[""] == count
        assert max(shares) - min(shares) <= 1


def test_every_fifth_training_prompt_is_an_ordinary_one() -> None:
    """Without them a small model learns to decline, whatever it is asked (docs/log/learning.md)."""
    assert [not prompt.principle for prompt in load_builtin("train")] == [n % 5 == 4 for n in range(150)]


def test_benign_prompts_tempt_to_nothing() -> None:
    assert {prompt.principle for prompt in load_builtin("benign")} == {""}


@pytest.mark.parametrize("name", ["train", "heldout"])
def test_a_principle_is_tempted_on_many_topics(name: Name) -> None:
    for principle in PRINCIPLES:
        topics = Counter(prompt.topic for prompt in load_builtin(name) if prompt.principle == principle)
        assert len(topics) >= 12
        assert max(topics.values()) <= 0.2 * sum(topics.values())


def test_held_out_topics_are_trained_on() -> None:
    """What is learned can only carry over where the two sets are alike in kind."""
    trained = {prompt.topic for prompt in load_builtin("train")}
    known = [prompt for prompt in load_builtin("heldout") if prompt.topic in trained]
    assert len(known) >= 0.95 * 200


@pytest.mark.parametrize("name", BUILTIN)
def test_prompts_are_neither_fragments_nor_essays(name: Name) -> None:
    lengths = [len(prompt.text.split()) for prompt in load_builtin(name)]
    assert min(lengths) >= 5
    assert max(lengths) <= 60


@pytest.mark.parametrize("name", ["train", "heldout"])
def test_prompts_vary_in_length(name: Name) -> None:
    lengths = [len(prompt.text.split()) for prompt in load_builtin(name)]
    assert sum(length <= 12 for length in lengths) >= 0.15 * len(lengths)
    assert sum(length >= 30 for length in lengths) >= 0.05 * len(lengths)


def test_no_prompt_is_a_paraphrase_of_another(likenesses: Any) -> None:
    """Bounds on what any two of the 420 prompts share; the measured highest are .25 and .31."""
    texts = [(prompt.id, prompt.text) for name in BUILTIN for prompt in load_builtin(name)]
    for pair in likenesses(texts):
        assert pair.jaccard <= 0.3, pair
        assert pair.trigrams <= 0.35, pair


def test_prompts_open_in_many_ways() -> None:
    """Templates show first in the opening words."""
    for name in BUILTIN:
        prompts = load_builtin(name)
        openings = Counter(" ".join(prompt.text.lower().split()[:2]) for prompt in prompts)
        assert max(openings.values()) <= 0.12 * len(prompts), openings.most_common(3)


def test_no_prompt_is_in_two_sets() -> None:
    sets = [load_builtin(name) for name in BUILTIN]
    assert overlap(sets[0], sets[1]) == ()
    assert overlap(sets[0], sets[2]) == ()
    assert overlap(sets[1], sets[2]) == ()


def test_overlap_names_both_prompts() -> None:
    train = load_builtin("train")
    part = PromptSet("mine", "mine.txt", "", train.prompts[2:4])
    assert [(a.id, b.id) for a, b in overlap(part, train)] == [("train-003", "train-003"), ("train-004", "train-004")]


def test_an_unknown_set_is_refused_with_the_known_names() -> None:
    with pytest.raises(InputError, match="train, heldout, benign"):
        load_builtin("trian")
