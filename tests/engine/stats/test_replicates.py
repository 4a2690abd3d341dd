"""The spread of training seeds in the interval of a comparison."""

from __future__ import annotations

import random

import pytest

from engine.stats.paired import compare_scores, scores_not_inferior
from engine.stats.replicates import spread


def _trial(chance: random.Random, seeds: int, prompts: int, of_seeds: float) -> tuple[list[float], ...]:
    """Scores with a true change of -.1: base, trained, and the prompt and seed of each."""
    shifts = [chance.gauss(0, of_seeds) for _ in range(seeds)]
    rows = []
    for prompt in range(prompts):
        base, change = chance.gauss(0.5, 0.2), chance.gauss(-0.1, 0.2)
        rows += [(base, base + change + shifts[seed] + chance.gauss(0, 0.1), prompt, seed) for seed in range(seeds)]
    return tuple(map(list, zip(*rows, strict=True)))


def _compared(trial: tuple[list[float], ...], *, seeds_count: bool) -> tuple[float, float]:
    base, trained, prompts, seeds = trial
    replicates = [int(seed) for seed in seeds] if seeds_count else None
    found = compare_scores(base, trained, clusters=[str(one) for one in prompts], replicates=replicates).interval
    assert found is not None
    return found


def test_the_interval_covers_the_method_only_with_the_seeds_spread_in_it() -> None:
    chance = random.Random(0)
    trials = [_trial(chance, 3, 40, 0.08) for _ in range(30)]
    covered = {
        count: sum(low <= -0.1 <= high for low, high in (_compared(trial, seeds_count=count) for trial in trials))
        for count in (True, False)
    }
    assert covered[True] >= 0.9 * 30
    assert covered[False] <= 0.8 * 30


def test_seeds_that_agree_widen_the_interval_hardly() -> None:
    trial = _trial(random.Random(1), 3, 60, 0.0)
    (low, high), (narrow_low, narrow_high) = (_compared(trial, seeds_count=count) for count in (True, False))
    assert low <= narrow_low <= narrow_high <= high
    assert high - low < 1.25 * (narrow_high - narrow_low)


def test_one_seed_changes_nothing() -> None:
    base, trained, prompts, _ = _trial(random.Random(2), 1, 30, 0.1)
    clusters = [str(prompt) for prompt in prompts]
    assert compare_scores(base, trained, clusters=clusters, replicates=[1] * 30) == compare_scores(
        base, trained, clusters=clusters
    )


def test_degrees_of_freedom_lie_between_those_of_seeds_and_prompts() -> None:
    differences = [0.1 * (n % 5) for n in range(50)]
    assert spread(differences, [0.2]).freedom == 49
    assert spread(differences, [0.2, 0.2, 0.2]).freedom == pytest.approx(49)
    assert 2 < spread(differences, [0.1, 0.2, 0.3]).freedom < 4


def test_seeds_that_differ_make_benign_scores_less_sure() -> None:
    same = [0.1 * (n % 3) for n in range(20)]
    base, prompts, seeds = same * 3, [str(n) for n in range(20)] * 3, [seed for seed in range(3) for _ in same]
    close = scores_not_inferior(base, base, clusters=prompts, replicates=seeds)
    apart = [score + 0.1 * (seed - 1) for score, seed in zip(base, seeds, strict=True)]
    far = scores_not_inferior(base, apart, clusters=prompts, replicates=seeds)
    assert far.difference == pytest.approx(close.difference)
    assert far.bound > close.bound
