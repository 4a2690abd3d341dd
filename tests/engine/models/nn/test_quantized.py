"""Matrices in few bits: their numbers, gradients through them, adapters that are not folded into them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import SIZES, random_sequences
from transformers import AutoConfig, AutoModelForCausalLM

from engine.control import Control
from engine.errors import ModelError
from engine.models.inference.requests import Message, Request, Sampling
from engine.models.local import load_model
from engine.models.nn import families
from engine.models.nn.attention import Layout, SharedPacked
from engine.models.nn.config import Quantization
from engine.models.nn.decoder import Decoder, pack
from engine.models.nn.linear import Linear, Projection
from engine.models.nn.lora_weights import Adapter, LoraPair

LENGTHS = (7, 12, 40)
KINDS = ["int8", "nf4"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Quantization:
    if request.param == "nf4":
        pytest.importorskip("bitsandbytes")
    found: Quantization = request.param
    return found


@cache
def original() -> Any:
    """A model whose rows are whole blocks of bitsandbytes."""
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.08 * torch.randn_like(parameter))
    return model


def plain() -> Decoder:
    return families.from_transformers(copy.deepcopy(original()))


def quantized(kind: Quantization) -> Decoder:
    return families.from_transformers(copy.deepcopy(original()), quantization=kind)


def rounded(kind: Quantization) -> Decoder:
    """A decoder of plain matrices with the numbers that the quantized ones stand for."""
    model = copy.deepcopy(original())
    for block, layer in zip(quantized(kind).blocks, model.model.layers, strict=True):
        for linear in block.linears():
            for part in linear.projections:
                name = part.name.split(".", 3)[3]
                layer.get_submodule(name).weight.data = linear.weight[part.start : part.stop].clone()
    return families.from_transformers(model)


def adapter_for(decoder: Decoder, scale: float = 0.7) -> Adapter:
    generator = torch.Generator().manual_seed(1)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return (0.05 * torch.randn(rows, columns, generator=generator)).requires_grad_()

    pairs = {name: LoraPair(matrix(4, i), matrix(o, 4), scale) for name, (o, i) in decoder.adaptable().items()}
    return Adapter(pairs)


def logits_of(decoder: Decoder, adapter: Adapter | None = None) -> torch.Tensor:
    tokens, positions = pack(random_sequences(LENGTHS))
    attention = SharedPacked(Layout(0, LENGTHS), decoder.config.group, decoder.device, decoder.dtype)
    return decoder.logits(decoder.forward(tokens, positions, attention, adapter=adapter).last)


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_logits_are_those_of_the_rounded_matrices_and_close_to_the_originals(kind: Quantization) -> None:
    found = logits_of(quantized(kind))
    assert distance(found, logits_of(rounded(kind))) < 1e-5
    assert distance(found, logits_of(plain())) < {"int8": 0.03, "nf4": 0.4}[kind]


def test_gradients_of_an_adapter_are_those_through_the_rounded_matrices(kind: Quantization) -> None:
    gradients = []
    for decoder in (quantized(kind), rounded(kind)):
        adapter = adapter_for(decoder)
        logits_of(decoder, adapter).square().sum().backward()
        gradients.append(torch.cat([t.grad.flatten() for pair in adapter.pairs.values() for t in (pair.a, pair.b)]))
    assert distance(*gradients) < 1e-4


def test_a_change_smaller_than_a_step_of_the_rounding_survives_merging(kind: Quantization) -> None:
    decoder = quantized(kind)
    adapter = adapter_for(decoder, scale=1e-3)
    with torch.no_grad():
        before = logits_of(decoder)
        expected = logits_of(decoder, adapter)
        merged = decoder.merged(adapter)
        assert distance(logits_of(merged), expected) < 1e-5
        assert distance(expected, before) > 1e-6
        assert torch.equal(logits_of(decoder), before)
        # A second adapter can be trained on the merged model.
        assert distance(logits_of(merged, adapter), logits_of(merged.merged(adapter))) < 1e-5


@pytest.mark.parametrize("rows", [1, 8, 9, 64])
def test_any_number_of_rows_in_bfloat16_gives_the_same_numbers(rows: int) -> None:
    torch.manual_seed(0)
    linear = Linear(torch.randn(96, 64).bfloat16(), torch.randn(96).bfloat16(), [Projection("p", 0, 96)])
    linear.quantize("int8")
    x = torch.randn(64, 64).bfloat16()
    assert linear.bias is not None
    expected = x.float() @ linear.weight.float().t() + linear.bias.float()
    with torch.inference_mode():
        assert distance(linear.linear(x[:rows]).float(), expected[:rows]) < 0.01


def test_eight_bits_take_a_quarter_of_the_memory_of_float32() -> None:
    weight = torch.randn(256, 512)
    linear = Linear(weight, None, [Projection("p", 0, 256)])
    before = linear.nbytes()
    linear.quantize("int8")
    assert linear.nbytes() < 0.26 * before
    assert distance(linear.weight, weight) < 0.01


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_folder_is_loaded_in_8_bits_and_writes(tiny: Callable[..., Path], redraft_home: Path, family: str) -> None:
    """Of our own decoder, and of transformers' modules."""
    model, plain = (
        load_model(str(tiny(family)), device="cpu", dtype="float32", quantization=kind) for kind in ("int8", "")
    )
    assert (model.dtype, model.quantization, model.sha256) == ("float32", "int8", plain.sha256)
    assert model.decoder.nbytes() < plain.decoder.nbytes()  # type: ignore[attr-defined]
    prompt = model.render([Message("user", "Hello")])
    (done,) = model.generate([Request("a", prompt, Sampling(max_tokens=4))], Control())
    assert done.tokens == 4


def test_four_bits_without_their_package_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match="bitsandbytes") as caught:
        load_model("smollm2-135m-instruct", quantization="nf4")
    assert "pip install bitsandbytes" in caught.value.next_step
