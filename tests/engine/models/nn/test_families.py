"""Every supported family computes what transformers computes, and unsupported ones are named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from random_models import CASES, SIZES, random_model, random_sequences
from transformers import AutoConfig

from engine.control import Control
from engine.errors import ModelError
from engine.models.inference.prefix_cache import compute_prefix
from engine.models.nn import families
from engine.models.nn.attention import CausalPacked
from engine.models.nn.decoder import Decoder, pack

LENGTHS = (7, 12, 12, 40, 1, 100)


@pytest.fixture(params=CASES)
def twins(request: pytest.FixtureRequest) -> tuple[Any, Decoder]:
    """transformers' model and the decoder with the same weights."""
    model = random_model(request.param)
    reference = copy.deepcopy(model)
    return reference, families.from_transformers(model)


@torch.inference_mode()
def test_logits_and_hidden_states_are_those_of_transformers(twins: tuple[Any, Decoder]) -> None:
    reference, decoder = twins
    sequences = random_sequences(LENGTHS)
    tokens, positions = pack(sequences)
    layers = range(decoder.config.num_layers + 1)
    found = decoder.forward(tokens, positions, decoder.causal([len(s) for s in sequences]), layers=layers)
    logits = decoder.logits(found.last)
    start = 0
    for sequence in sequences:
        expected = reference(torch.tensor([sequence]), output_hidden_states=True)
        here = slice(start, start + len(sequence))
        torch.testing.assert_close(logits[here], expected.logits[0], atol=1e-4, rtol=0)
        for layer in layers:
            torch.testing.assert_close(found.layers[layer][here], expected.hidden_states[layer][0], atol=1e-4, rtol=0)
        start += len(sequence)


@torch.inference_mode()
def test_a_shared_prefix_changes_nothing(twins: tuple[Any, Decoder]) -> None:
    _, decoder = twins
    beginning, *rest = random_sequences((33, 9, 20, 1))
    prefix = compute_prefix(decoder, beginning, Control())
    tokens, positions = pack(rest, start=len(beginning))
    attention = CausalPacked([len(s) for s in rest], decoder.config.group, prefix=prefix)
    found = decoder.forward(tokens, positions, attention).last
    whole = [beginning + s for s in rest]
    expected = decoder.forward(*pack(whole), decoder.causal([len(s) for s in whole])).last
    own = torch.cat([part[len(beginning) :] for part in expected.split([len(s) for s in whole])])
    torch.testing.assert_close(found, own, atol=1e-4, rtol=0)


def test_the_transformers_model_gives_its_memory_up() -> None:
    model = random_model("llama")
    families.from_transformers(model)
    assert sum(parameter.numel() for parameter in model.parameters()) == 0


def test_an_unknown_family_is_refused_with_the_names_of_those_that_work() -> None:
    config = AutoConfig.for_model("bloom")
    with pytest.raises(ModelError, match=r"'bloom' are not supported.*llama, mistral, qwen2"):
        families.check_config(config)


def test_a_sliding_window_limits_the_context() -> None:
    config = AutoConfig.for_model("mistral", **{**SIZES, "sliding_window": 128})
    assert families.check_config(config).context == 128


def test_a_model_that_looks_ahead_is_refused() -> None:
    config = AutoConfig.for_model("gemma", **{**SIZES, "head_dim": 16, "use_bidirectional_attention": True})
    with pytest.raises(ModelError, match="does not attend causally"):
        families.check_config(config)
