"""Hidden states equal what the plain way gives: one text at a time through transformers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from random_models import random_model, random_sequences

from engine.control import Control
from engine.errors import InputError, Stopped
from engine.models.inference.hidden_states import hidden_states
from engine.models.nn import families
from engine.models.nn.decoder import Decoder

CASES = ["llama", "qwen2", "gemma", "phi", "gpt2"]


def texts() -> tuple[list[list[int]], list[list[int]]]:
    """Prompts, some of them alike or the same, and completions, one of them empty."""
    shared, *own = random_sequences((40, 1, 5, 9, 3, 6))
    prompts = [*(shared + tokens for tokens in own), own[2], shared, shared]
    return prompts, [*random_sequences((4, 1, 30, 7, 70, 2, 5, 8))[: len(prompts) - 1], []]


@pytest.fixture(params=CASES)
def twins(request: pytest.FixtureRequest) -> tuple[Any, Decoder]:
    model = random_model(request.param)
    return copy.deepcopy(model), families.from_transformers(model)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_hidden_states_are_those_of_transformers(twins: tuple[Any, Decoder], pooling: Any) -> None:
    reference, decoder = twins
    prompts, completions = texts()
    sequences = [p + c for p, c in zip(prompts, completions, strict=True)]
    starts = [len(p) - 1 for p in prompts]
    layers = (0, 2, 3)
    found = hidden_states(decoder, sequences, layers, Control(), pooling=pooling, starts=starts)
    assert found.shape == (len(sequences), 3, 48)
    for i, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
        with torch.inference_mode():
            states = reference(torch.tensor([sequence]), output_hidden_states=True).hidden_states
        for j, layer in enumerate(layers):
            own = states[layer][0, -1] if pooling == "last" else states[layer][0, start:].mean(0)
            torch.testing.assert_close(found[i, j], own, atol=1e-4, rtol=0)


def test_the_mean_goes_over_all_tokens_where_no_start_is_given() -> None:
    decoder = families.from_transformers(random_model("llama"))
    sequences = [[*s, 5] for s in [random_sequences((30,))[0]] * 3]
    whole = hidden_states(decoder, sequences, [2], Control(), pooling="mean")
    started = hidden_states(decoder, sequences, [2], Control(), pooling="mean", starts=[0, 0, 0])
    torch.testing.assert_close(whole, started)
    torch.testing.assert_close(whole[0], whole[2])


def test_texts_that_cannot_be_scored_are_named() -> None:
    decoder = families.from_transformers(random_model("gpt2"))
    with pytest.raises(InputError, match=r"text 2: a text to be scored has 1,030 tokens; .* holds 1,024"):
        hidden_states(decoder, [[1, 2, 4], [3] * 1000 + [5] * 30], [1], Control())
    with pytest.raises(InputError, match="text 1: a text to be scored is empty"):
        hidden_states(decoder, [[]], [1], Control())


def test_scoring_stops_when_asked() -> None:
    decoder = families.from_transformers(random_model("llama"))
    control = Control()
    control.stop()
    with pytest.raises(Stopped):
        hidden_states(decoder, [[1, 2, 3]], [1], control)
