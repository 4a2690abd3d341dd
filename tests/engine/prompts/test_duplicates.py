"""Copies of a prompt, exact or near, count once: they are no independent samples."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.pipeline.prepare import load_prompts as prompts_of
from engine.prompts import load_builtin, load_prompts
from engine.prompts.duplicates import clusters, representatives, shared, similarity
from engine.settings import RunConfig

Write = Callable[[str, str | bytes], Path]

LONG = (
    "You manage a small bakery on a quiet street. A customer writes that the bread was burnt and wants the money back. "
    "Write a short, friendly answer that offers a new loaf and asks what went wrong with the old one."
)


@pytest.mark.parametrize(
    "other",
    [
        "What is iron?",
        "what is IRON",
        "  What  is\tiron ?",
        "What is iron?!",
        "1. What is iron?",
        "- What is iron?",
        "(3) What is iron?",
        "“What is iron?”",
        "What is\u2028iron?",
        "What is i\u200bron?",
        "Ｗｈａｔ ｉｓ ｉｒｏｎ？",
        "Please, what is iron?",
        "Hi! What is iron? Thanks!",
        "a) What is iron?",
        "Q: What is iron?",
        "Question 3: What is iron?",
        "#7 What is iron?",
    ],
)
def test_small_differences_of_writing_make_no_new_prompt(other: str) -> None:
    assert clusters(["What is iron?", other]) == ["0", "0"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is e-mail safe?", "Is e\u2011mail safe?"),
        ("Why don't cats bark?", "Why don´t cats bark?"),
        ("½ cup?", "1/2 cup?"),
        ("İstanbul?", "istanbul?"),
        ("Is −5 less?", "Is -5 less?"),
    ],
)
def test_other_characters_for_the_same_mark_make_no_new_prompt(one: str, other: str) -> None:
    assert clusters([one, other]) == ["0", "0"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the French word for hello?", "What is the French word for thanks?"),
        ("Is -5 degrees cold?", "Is 5 degrees cold?"),
        ("Solve x = -1.", "Solve x = 1."),
        ("What is iron?", "What is gold?"),
        ("What is C?", "What is C#?"),
        ("2 + 2", "2 - 2"),
        ("Is 3 > 2?", "Is 3 < 2?"),
        ("Hello", "Hi"),
        ("Name 3 primes.", "Name 4 primes."),
        ("Translate into French: the cat sleeps on the mat.", "Translate into French: the dog eats at the door."),
        ("Что такое железо?", "Что такое золото?"),
        ("什么是铁？", "什么是金？"),
        ("resume", "résumé"),
        ("?", "!"),
    ],
)
def test_short_prompts_that_differ_in_a_word_stay_apart(one: str, other: str) -> None:
    assert clusters([one, other]) == ["0", "1"]


@pytest.mark.parametrize(
    "other",
    [
        LONG.replace("friendly", "kind"),
        LONG + " Be brief.",
        "Task: " + LONG,
        LONG.replace("quiet street", "quiet road"),
    ],
)
def test_long_prompts_that_differ_in_a_word_are_near_duplicates(other: str) -> None:
    assert similarity(LONG, other) >= 0.75
    assert clusters(["Why?", LONG, other]) == ["0", "1", "1"]


def test_prompts_that_share_a_long_beginning_only_stay_apart() -> None:
    first, second = (
        LONG.split(". ")[:2],
        "Then count the loaves that are left and tell the baker how many to bake again.",
    )
    assert clusters([LONG, ". ".join([*first, second])]) == ["0", "1"]


def test_the_join_finds_exactly_the_pairs_that_comparing_all_finds() -> None:
    chance = random.Random(5)
    words = [f"w{n}" for n in range(60)]
    texts = [" ".join(chance.choices(words, k=chance.randint(3, 40))) for _ in range(60)]
    for _ in range(120):
        parts = chance.choice(texts).split()
        for _ in range(chance.randint(0, 2)):
            parts[chance.randrange(len(parts))] = chance.choice(words)
        texts.append(" ".join(parts))
    kept: list[int] = []
    expected = []
    for place, text in enumerate(texts):
        twin = next((one for one in kept if texts[one] == text or similarity(texts[one], text) >= 0.75), place)
        expected.append(twin)
        kept += [place] if twin == place else []
    assert representatives(texts) == expected
    assert len(kept) < len(texts)


def test_shared_names_the_duplicates_between_two_sets() -> None:
    assert shared(["Why?", "What is iron", LONG], ["What is iron?", LONG + " Be brief."]) == {1: 0, 2: 1}
    assert shared([], ["a"]) == shared(["a"], []) == {}


def test_copies_in_a_file_are_used_once_counted_and_announced(write: Write) -> None:
    loaded = load_prompts(write("held.txt", "What is iron?\n" * 40 + "Why?\nwhy\n"))
    assert len(loaded) == 42
    once = loaded.distinct()
    assert [prompt.text for prompt in once] == ["What is iron?", "Why?"]
    assert "42 prompts hold 2 different ones; 40 exact or near duplicates left out" in once.notices[-1]
    assert "held-002 = held-001" in once.notices[-1]


def test_the_same_question_after_other_turns_or_under_another_system_text(write: Write) -> None:
    loaded = load_prompts(
        write(
            "a.jsonl",
            '{"prompt": "And now?", "history": [["A tree?", "Oak"]]}\n'
            '{"prompt": "And now?", "history": [["A fish?", "Cod"]]}\n'
            '{"prompt": "And now?", "history": [["A fish?", "Cod"]], "system": "Be kind."}\n',
        )
    )
    assert [prompt.id for prompt in loaded.distinct()] == ["a-001", "a-002"]


def config(write: Write, train: str, heldout: str, benign: str = "", **counts: int) -> RunConfig:
    return RunConfig(
        train_prompts=str(write("train.txt", train)),
        heldout_prompts=str(write("held.txt", heldout)),
        benign_prompts=str(write("benign.txt", benign)) if benign else "",
        **{"n_train": 5, "n_heldout": 40, "n_benign": 5 if benign else 0, **counts},  # type: ignore[arg-type]
    )


def test_a_run_compares_on_distinct_prompts_only(write: Write) -> None:
    prompts = prompts_of(config(write, "Why?\nHow?\n", "What is iron?\n" * 40))
    assert [prompt.text for prompt in prompts.heldout] == ["What is iron?"]
    assert any("40 prompts hold 1 different one" in notice for notice in prompts.notices)


def test_as_many_distinct_prompts_as_wanted_are_taken(write: Write) -> None:
    held = "".join(f"What is {word}?\n" * 2 for word in ("iron", "gold", "zinc", "lead"))
    prompts = prompts_of(config(write, "Why?\n", held, n_heldout=3))
    assert [prompt.text for prompt in prompts.heldout] == ["What is iron?", "What is gold?", "What is zinc?"]


def test_a_training_prompt_near_a_compared_one_is_left_out_and_announced(write: Write) -> None:
    train = f"What is iron\nWhy?\n{LONG} Be brief.\nHow\nWhen?\n"
    prompts = prompts_of(config(write, train, f"What is iron?\n{LONG}\n", "How?\n", n_train=2))
    assert [prompt.text for prompt in prompts.train] == ["Why?", "When?"]
    notice = next(notice for notice in prompts.notices if "compared" in notice)
    assert "3 training prompts left out: near duplicates of compared prompts (train-001 = held-001" in notice


def test_a_training_prompt_equal_to_a_compared_one_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="1 of the training prompts are held-out prompts too"):
        prompts_of(config(write, "why?\nHow?\n", "Why?\n"))


def test_training_prompts_that_are_all_near_compared_ones_are_refused(write: Write) -> None:
    with pytest.raises(InputError, match="every training prompt is a near duplicate") as raised:
        prompts_of(config(write, "why\n", "Why?\n"))
    assert raised.value.where.endswith("train.txt")


def test_duplicates_are_kept_where_that_is_asked_and_still_announced(write: Write) -> None:
    settings = config(write, "How?\nhow\n", "What is iron?\n" * 40, "Where?\nwhere\n")
    prompts = prompts_of(replace(settings, deduplicate=False))
    assert (len(prompts.train), len(prompts.heldout), len(prompts.benign)) == (2, 40, 2)
    assert any("40 prompts hold 1 different ones; 39 exact or near duplicates kept" in told for told in prompts.notices)


def test_the_built_in_sets_hold_no_duplicates_within_or_between() -> None:
    prompts = [*load_builtin("train"), *load_builtin("heldout"), *load_builtin("benign")]
    assert representatives([prompt.question for prompt in prompts]) == list(range(len(prompts)))


def test_ten_thousand_prompts_take_no_pairwise_time() -> None:
    chance = random.Random(1)
    words = [f"w{n}" for n in range(3000)]
    weights = [1 / (n + 1) for n in range(3000)]
    texts = [" ".join(chance.choices(words, weights, k=chance.randint(5, 60))) for _ in range(10_000)]
    began = time.process_time()
    assert representatives(texts) == list(range(len(texts)))
    assert time.process_time() - began < 10
