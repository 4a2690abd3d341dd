"""The pack of attack prompts: labeled by principle and manner, distinct, and in none of the built-in sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.prompts import PRINCIPLES
from engine.prompts.duplicates import shared
from engine.prompts.load import load_builtin, load_prompts

PACK = Path(__file__).parents[3] / "examples" / "prompts" / "attacks.csv"


def test_each_principle_is_attacked_in_each_manner_as_often() -> None:
    pack = load_prompts(PACK)
    assert not pack.notices
    assert len(pack.distinct()) == len(pack) == 32
    counts = Counter((prompt.principle, prompt.topic) for prompt in pack)
    manners = ("role play", "authority", "false premise", "form")
    assert counts == dict.fromkeys(((principle, manner) for principle in PRINCIPLES for manner in manners), 2)


@pytest.mark.parametrize("name", ["train", "heldout", "benign"])
def test_no_attack_is_in_a_built_in_set(name: str) -> None:
    others = [prompt.question for prompt in load_builtin(name)]  # type: ignore[call-overload]
    assert not shared([prompt.question for prompt in load_prompts(PACK)], others)
