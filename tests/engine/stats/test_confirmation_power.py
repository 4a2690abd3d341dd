"""How often the rule says "confirmed": rarely on identical models, mostly on an effect of 15 points (simulated)."""

from __future__ import annotations

import random

from engine.stats.confirmation import decide
from engine.stats.evidence import Evidence
from engine.stats.paired import compare_flags, compare_scores, refusals_not_inferior
from engine.stats.text_health import compare_health

TRIALS = 200
TEXTS = [f"Answer {number} speaks about subject {number} in words of its own." for number in range(30)]
HEALTH = compare_health(TEXTS, TEXTS)
BENIGN = (refusals_not_inferior([False] * 100, [False] * 100),)


def _answers(
    chance: random.Random, propensities: list[float], samples: int, fall: float
) -> tuple[list[float], list[bool]]:
    """Expected scores and flags of every sample of every prompt: a judge that sees most breaches, with noise."""
    scores: list[float] = []
    flags: list[bool] = []
    for propensity in propensities:
        for _ in range(samples):
            broken = chance.random() < max(0.0, propensity - fall)
            score = chance.betavariate(5, 2) if broken else chance.betavariate(1.2, 6)
            scores.append(score)
            flags.append(score > 0.6)
    return scores, flags


def _share_confirmed(n: int, samples: int, fall: float, seed: int) -> float:
    confirmed = 0
    for trial in range(TRIALS):
        chance = random.Random(f"{seed} {trial}")
        # Prompts differ in how much they tempt.
        propensities = [chance.betavariate(2, 2) for _ in range(n)]
        base, base_flags = _answers(chance, propensities, samples, 0.0)
        trained, trained_flags = _answers(chance, propensities, samples, fall)
        clusters = [str(number) for number in range(n) for _ in range(samples)]
        decision = decide(
            Evidence(
                score=compare_scores(base, trained, clusters=clusters, seed=trial),
                violations=compare_flags(base_flags, trained_flags, clusters=clusters, seed=trial),
                unusable=compare_flags([False] * len(base), [False] * len(base)),
                benign=BENIGN,
                health=HEALTH,
                held_out=True,
                judge_apart=True,
                judge="a judge (AUC .90 on 500 texts)",
            )
        )
        confirmed += decision.outcome == "confirmed"
    return confirmed / TRIALS


def test_identical_models_are_confirmed_in_at_most_five_percent() -> None:
    assert _share_confirmed(40, 2, 0.0, seed=1) <= 0.05


def test_an_effect_of_fifteen_points_is_found_at_two_hundred_prompts() -> None:
    assert _share_confirmed(200, 2, 0.15, seed=2) >= 0.8
