"""What would meet an unmet condition: the numbers it names really do, when the measured figures stay as they are."""

from __future__ import annotations

import random
from dataclasses import replace

from engine.stats.confirmation import decide
from engine.stats.evidence import Evidence
from engine.stats.exact import tango_upper
from engine.stats.paired import compare_flags, compare_scores, refusals_not_inferior, scores_not_inferior
from engine.stats.remedies import prompts_for_change, prompts_for_margin


def _scores(n: int, change: float, seed: int = 0) -> tuple[list[float], list[float]]:
    chance = random.Random(seed)
    base = [max(0.0, chance.gauss(0.5, 0.2)) for _ in range(n)]
    return base, [one + change + chance.gauss(0, 0.25) for one in base]


def _remedy(evidence: Evidence, condition: str) -> str:
    (found,) = [one for one in decide(evidence).conditions if one.id == condition]
    assert not found.met
    return found.remedy


def test_more_held_out_prompts_show_the_same_change() -> None:
    small = compare_scores(*_scores(30, -0.06))
    assert not small.significant
    wanted = prompts_for_change(small)
    assert wanted is not None
    assert wanted > 30
    assert "more held-out prompts" in _remedy(Evidence(small), "score")
    shown = [compare_scores(*_scores(wanted, small.difference, seed)).significant for seed in range(4)]
    assert sum(shown) >= 2


def test_a_rise_of_the_score_is_not_met_by_more_prompts() -> None:
    risen = compare_scores(*_scores(30, 0.02))
    assert prompts_for_change(risen) is None
    assert "another teacher" in _remedy(Evidence(risen), "score")


def test_the_number_of_benign_prompts_brings_the_bound_under_the_margin() -> None:
    few = refusals_not_inferior([False] * 30, [False] * 30)
    wanted = prompts_for_margin(few)
    assert wanted is not None
    assert tango_upper(0, 0, wanted) < few.margin <= tango_upper(0, 0, wanted - 1)
    score = compare_scores(*_scores(30, -0.3))
    assert _remedy(Evidence(score, benign=[few]), "benign") == (
        "Needs about 30 more benign prompts, if nothing else changes."
    )
    base, trained = _scores(20, 0.0, seed=4)
    scores = scores_not_inferior(base, trained)
    wanted = prompts_for_margin(scores)
    if scores.difference < scores.margin:
        assert wanted is not None
        assert wanted > 20
    assert _remedy(Evidence(score), "benign") == "Needs about 60 benign prompts: --n-benign 60."


def test_benign_prompts_that_really_became_worse_are_not_met_by_more() -> None:
    worse = refusals_not_inferior([False] * 40, [number < 8 for number in range(40)])
    assert prompts_for_margin(worse) is None
    score = compare_scores(*_scores(30, -0.3))
    assert "refusals on benign prompts became worse" in _remedy(Evidence(score, benign=[worse]), "benign")


def test_counts_of_violations_and_unusable_answers_are_named() -> None:
    score = compare_scores(*_scores(30, -0.3))
    flags = compare_flags([False] * 40, [number < 6 for number in range(40)])
    evidence = Evidence(score, violations=flags, unusable=flags)
    assert _remedy(evidence, "violations") == "Needs 6 fewer violations of the trained model."
    assert _remedy(evidence, "usable").startswith("Needs 4 fewer unusable answers")


def test_seeds_and_met_conditions() -> None:
    evidence = Evidence(compare_scores(*_scores(60, -0.3)), held_out=True)
    assert _remedy(evidence, "seeds") == "Needs 2 more training seeds: --seeds 3."
    assert all(not one.remedy for one in decide(replace(evidence, seeds=3)).conditions if one.met)


def test_two_benign_prompts_that_did_not_change_are_not_said_to_be_worse() -> None:
    few = refusals_not_inferior([False] * 2, [False] * 2)
    score = compare_scores(*_scores(30, -0.3))
    assert _remedy(Evidence(score, benign=[few]), "benign") == (
        "Needs about 50 more benign prompts, if nothing else changes."
    )
