"""Sampling draws from exactly the tokens that its settings leave, with the right probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.models.inference.requests import Sampling
from engine.models.inference.sampling import Sampler, top_k_blocks, uniform

SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.7),
    Sampling(temperature=1.3, top_k=5),
    Sampling(temperature=1.0, top_p=0.6),
    Sampling(temperature=0.8, top_k=40, top_p=0.9),
    Sampling(temperature=1.0, min_p=0.1),
    Sampling(temperature=1.5, top_k=300, top_p=0.95, min_p=0.01),
    Sampling(temperature=2.0, top_p=0.999),
    Sampling(temperature=0.5, top_k=1),
]


def reference(logits: Tensor, s: Sampling) -> Tensor:
    """transformers' probabilities under the same settings."""
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(s.temperature)]
    steps += [TopKLogitsWarper(s.top_k)] if s.top_k else []
    steps += [TopPLogitsWarper(s.top_p)] if s.top_p < 1 else []
    steps += [MinPLogitsWarper(s.min_p)] if s.min_p else []
    processed: Tensor = LogitsProcessorList(steps)(torch.zeros(1, 1, dtype=torch.long), logits.clone())
    return processed.softmax(-1)


@pytest.mark.parametrize("vocab", [150, 5000])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_draws_follow_transformers_probabilities(setting: Sampling, vocab: int) -> None:
    logits = 2.5 * torch.randn(1, vocab, generator=torch.Generator().manual_seed(vocab))
    expected = reference(logits, setting)[0]
    draws = 4000
    sampler = Sampler([setting] * draws, range(draws))
    found = torch.bincount(sampler(logits.expand(draws, -1), [0] * draws), minlength=vocab) / draws
    assert not found[expected == 0].any()
    # Half the summed difference of 4,000 draws from the truth is below this in all but one of a million cases.
    noise = (expected * (1 - expected) / draws).sqrt().sum() / 2
    assert (found - expected).abs().sum() / 2 < noise + 0.05


def test_greedy_takes_the_first_of_the_likeliest() -> None:
    logits = torch.randn(9, 1000, generator=torch.Generator().manual_seed(3))
    logits[2, [70, 500, 999]] = 9.0
    tokens = Sampler([Sampling()] * 9, [0] * 9)(logits.bfloat16(), [0] * 9)
    assert tokens.tolist() == logits.bfloat16().argmax(-1).tolist()
    assert tokens[2] == 70


@pytest.mark.parametrize("vocab", [64, 130, 5000])
@pytest.mark.parametrize("width", [1, 7, 60])
def test_the_likeliest_tokens_are_found_without_a_full_search(vocab: int, width: int) -> None:
    logits = torch.randn(5, vocab, generator=torch.Generator().manual_seed(width))
    values, tokens = top_k_blocks(logits, width)
    expected = logits.topk(width)
    assert torch.equal(values, expected.values)
    assert torch.equal(tokens, expected.indices)


def test_a_row_draws_the_same_whatever_shares_its_batch() -> None:
    logits = torch.randn(40, 900, generator=torch.Generator().manual_seed(4))
    settings = [SETTINGS[i % len(SETTINGS)] if i % 5 else Sampling() for i in range(40)]
    steps = [i % 7 for i in range(40)]
    together = Sampler(settings, range(40))(logits, steps).tolist()
    alone = [int(Sampler([s], [i])(logits[i : i + 1], [steps[i]])) for i, s in enumerate(settings)]
    assert together == alone


def test_random_numbers_depend_on_seed_and_step_and_look_uniform() -> None:
    numbers = [uniform(seed, step) for seed in range(200) for step in range(50)]
    assert all(0 <= u < 1 for u in numbers)
    assert len(set(numbers)) > 9900
    assert sum(numbers) / len(numbers) == pytest.approx(0.5, abs=0.02)
    assert uniform(3, 4) == uniform(3, 4) != uniform(4, 3)
    assert 0 <= uniform(-1, 0) < 1
