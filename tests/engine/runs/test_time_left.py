"""The time left is near the truth from a fifth of a stage on, and absent before anything can be known."""

from __future__ import annotations

import random

import pytest

from engine.runs import time_left

LIMIT, ROWS = 160, 64


def _stage(
    lengths: list[int], seconds_of_step: float = 0.02, seconds_of_row: float = 0.003
) -> list[tuple[float, float | None]]:
    """(seconds worked, time left as estimated) after every step of a continuous batch of texts of these lengths."""
    waiting, active = list(lengths), []
    finished = ended = 0
    seconds = 0.0
    steps: list[tuple[float, float | None]] = []
    while waiting or active:
        while waiting and len(active) < ROWS:
            active.append([0, waiting.pop()])
        seconds += seconds_of_step + seconds_of_row * len(active)
        for row in active:
            row[0] += 1
        for row in [row for row in active if row[0] >= row[1]]:
            active.remove(row)
            finished += row[1]
            ended += row[1] < LIMIT
        tokens = [row[0] for row in active]
        steps.append((seconds, time_left.by_tokens(finished, ended, tokens, len(waiting), LIMIT, seconds)))
    return steps


@pytest.mark.parametrize(("texts", "mean"), [(20, 1000), (80, 1000), (80, 60), (200, 90), (400, 40)])
def test_by_tokens_is_within_30_percent_after_the_first_fifth(texts: int, mean: int) -> None:
    source = random.Random(f"{texts} {mean}")
    lengths = [min(LIMIT, 1 + int(source.expovariate(1 / mean))) for _ in range(texts)]
    steps = _stage(lengths)
    total = steps[-1][0]
    later = [(seconds, left) for seconds, left in steps if seconds >= total / 5]
    assert all(left is not None for _, left in later)
    assert all(abs(seconds + left - total) <= 0.3 * total for seconds, left in later if left is not None)


def test_by_tokens_says_nothing_in_the_first_steps() -> None:
    steps = _stage([LIMIT] * 20)
    assert steps[0][1] is None
    assert steps[10][1] is None
    assert time_left.by_tokens(0, 0, [], 20, LIMIT, 1.0) is None
    assert time_left.by_tokens(0, 0, [3], 20, LIMIT, 0.0) is None


def test_by_items_counts_the_part_of_a_batch_that_is_done() -> None:
    assert time_left.by_items("verdict", 0, 0, 20, 5.0) is None
    assert time_left.by_items("verdict", 1.9, 0, 20, 5.0, whole=False) is None
    assert time_left.by_items("verdict", 10.0, 0, 20, 5.0, whole=False) == 5.0
