"""The rule for "confirmed": every needed condition, and what is said where one is missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from engine.stats.confirmation import decide, decide_between
from engine.stats.evidence import Evidence
from engine.stats.paired import compare_flags, compare_scores, refusals_not_inferior
from engine.stats.text_health import compare_health

BASE = [1.0] * 40 + [0.0] * 60
TRAINED = [0.0] * 30 + [1.0] * 12 + [0.0] * 58
TEXTS = [f"Answer {number} speaks about subject {number} in words of its own." for number in range(30)]


def evidence(base: list[float] = BASE, trained: list[float] = TRAINED) -> Evidence:
    return Evidence(
        score=compare_scores(base, trained),
        violations=compare_flags([one > 0 for one in base], [one > 0 for one in trained]),
        unusable=compare_flags([False] * 100, [False] * 100),
        benign=(refusals_not_inferior([False] * 100, [False] * 100),),
        health=compare_health(TEXTS, TEXTS[::-1]),
        held_out=True,
        judge_apart=True,
        judge="panel B (AUC .91 on 200 labeled texts)",
    )


def test_an_improvement_that_meets_every_condition_is_confirmed_for_this_checkpoint() -> None:
    decision = decide(evidence())
    assert (decision.outcome, decision.scope, decision.unmet) == ("confirmed", "this checkpoint", ())
    (seeds,) = [condition for condition in decision.conditions if not condition.met]
    assert seeds.id == "seeds"
    assert "1 of 3" in seeds.detail


def test_three_seeds_widen_what_the_result_is_about() -> None:
    assert decide(replace(evidence(), seeds=3)).scope == "3 training seeds"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"held_out": False}, "held_out"),
        ({"score": compare_scores(BASE, BASE)}, "score"),
        ({"violations": None}, "violations"),
        ({"violations": compare_flags([True] * 5 + [False] * 9, [True] * 6 + [False] * 8)}, "violations"),
        ({"unusable": None}, "usable"),
        ({"unusable": compare_flags([False] * 40, [True] * 3 + [False] * 37)}, "usable"),
        ({"unusable": compare_flags([False] * 200, [True] * 8 + [False] * 192)}, "usable"),
        ({"benign": ()}, "benign"),
        ({"benign": (refusals_not_inferior([False] * 100, [True] * 9 + [False] * 91),)}, "benign"),
        ({"health": None}, "health"),
        ({"health": compare_health(TEXTS, ["The answer is no."] * 30)}, "health"),
        ({"judge_apart": False}, "judge"),
        ({"judge": ""}, "judge"),
    ],
)
def test_one_condition_that_is_not_met_is_enough_to_withhold_the_word(change: dict[str, object], missing: str) -> None:
    decision = decide(replace(evidence(), **change))  # type: ignore[arg-type]
    assert decision.outcome == "not confirmed"
    assert [condition.id for condition in decision.unmet] == [missing]
    assert all(condition.detail for condition in decision.conditions)


def test_a_change_for_the_worse_is_called_worse() -> None:
    assert decide(evidence(TRAINED, BASE)).outcome == "worse"
    assert decide(replace(evidence(TRAINED, BASE), held_out=False, benign=())).outcome == "worse"


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "B better"),
        ({"held_out": False}, "B better"),  # nobody knows what two models were trained on
        ({"score": compare_scores(BASE, BASE)}, "no difference shown"),
        ({"judge_apart": False}, "no difference shown"),
        ({"benign": ()}, "no difference shown"),
        ({"health": compare_health(TEXTS, ["The answer is no."] * 30)}, "no difference shown"),
        ({"score": compare_scores(TRAINED, BASE)}, "B worse"),
    ],
)
def test_of_two_models_nothing_is_ever_called_confirmed(change: dict[str, object], outcome: str) -> None:
    decision = decide_between(replace(evidence(), **change), [])  # type: ignore[arg-type]
    assert (decision.outcome, decision.scope) == (outcome, "these two models")
    assert decision.conditions[0].id == "held_out"
    assert not any("train" in condition.remedy.lower() for condition in decision.conditions)


def test_what_a_run_trained_on_is_said_of_two_models() -> None:
    first, *_ = decide_between(evidence(), ["demo-1", "demo-2"]).conditions
    assert first.met
    assert "demo-1 and demo-2, by hash" in first.detail


def test_the_rule_is_silent_about_nothing() -> None:
    decision = decide(Evidence(score=compare_scores([], [])))
    assert decision.outcome == "not confirmed"
    assert len(decision.unmet) == 7


def test_collapse_is_seen_in_repetition_sameness_length_and_emptiness() -> None:
    loops = ["The answer is no. " * 12] * 30
    alarms = " ".join(compare_health(TEXTS, loops).alarms)
    assert "repeat" in alarms
    assert "alike" in alarms
    assert "length" in alarms
    assert "missing" in " ".join(compare_health(TEXTS, [""] * 4 + TEXTS[4:]).alarms)
    assert compare_health(TEXTS, TEXTS).alarms == ()
    assert compare_health([], []).alarms == ()


def test_health_counts_refusals_and_words() -> None:
    health = compare_health(["I can't help with that.", "One two three."], TEXTS[:2]).base
    assert (health.n, health.refusals, health.words) == (2, 1, 4.5)


def test_the_comparison_needs_neither_torch_nor_numpy_nor_the_screen() -> None:
    code = (
        "import sys, engine.textdiff.changes, engine.stats.confirmation, engine.textdiff.diff;"
        "print([m for m in ('torch', 'transformers', 'numpy', 'textual', 'rich', 'tui') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
