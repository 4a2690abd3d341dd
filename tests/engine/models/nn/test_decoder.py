"""Adapters: gradients, merging, and the shapes that attention is cut into."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from random_models import random_model, random_sequences
from torch import Tensor

from engine.models.nn import families
from engine.models.nn.attention import Attention, Layout, SharedPacked
from engine.models.nn.decoder import Decoder, pack
from engine.models.nn.linear import Linear, Projection
from engine.models.nn.lora_weights import Adapter, LoraPair

LENGTHS = (7, 12, 12, 40, 1, 100)


def random_adapter(decoder: Decoder, *, train: bool = False, rank: int = 4) -> Adapter:
    generator = torch.Generator().manual_seed(1)

    def matrix(rows: int, columns: int) -> Tensor:
        return (0.05 * torch.randn(rows, columns, generator=generator)).requires_grad_(train)

    pairs = {name: LoraPair(matrix(rank, i), matrix(o, rank), 0.7) for name, (o, i) in decoder.adaptable().items()}
    return Adapter(pairs)


def logits_of(decoder: Decoder, adapter: Adapter | None = None, attention: Attention | None = None) -> Tensor:
    tokens, positions = pack(random_sequences(LENGTHS))
    attention = attention or decoder.causal(LENGTHS)
    return decoder.logits(decoder.forward(tokens, positions, attention, adapter=adapter).last)


def in_training(decoder: Decoder, lengths: tuple[int, ...]) -> Attention:
    """Attention as training has it."""
    return SharedPacked(Layout(0, lengths), decoder.config.group, decoder.device, decoder.dtype)


def with_hooks(model: Any, adapter: Adapter) -> dict[str, tuple[Tensor, Tensor]]:
    """Adds the same changes to transformers' modules; gives copies of the pairs that gradients arrive in."""
    modules = dict(model.named_modules())
    copies: dict[str, tuple[Tensor, Tensor]] = {}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name, pair in adapter.pairs.items():
        a, b = (t.detach().clone().requires_grad_() for t in (pair.a, pair.b))
        copies[name] = (a, b)

        def change(_m: Any, args: Any, out: Tensor, a: Tensor = a, b: Tensor = b, s: float = pair.scale) -> Tensor:
            return out + args[0] @ a.t() @ b.t() * s

        modules[name].register_forward_hook(change)
    return copies


@pytest.mark.parametrize("case", ["llama", "qwen3", "gemma", "phi with norms", "gpt2 scaled"])
def test_gradients_of_an_adapter_are_those_of_transformers(case: str) -> None:
    model = random_model(case)
    reference = copy.deepcopy(model)
    decoder = families.from_transformers(model)
    adapter = random_adapter(decoder, train=True)
    out = logits_of(decoder, adapter, in_training(decoder, LENGTHS))
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)) / out.numel() ** 0.5
    (out * weights).sum().backward()
    copies = with_hooks(reference, adapter)
    expected = torch.cat([reference(torch.tensor([s])).logits[0] for s in random_sequences(LENGTHS)])
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)
    (expected * weights).sum().backward()
    for name, (a, b) in copies.items():
        pair = adapter.pairs[name]
        torch.testing.assert_close(pair.a.grad, a.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(pair.b.grad, b.grad, atol=1e-5, rtol=1e-4)


def test_gradients_do_not_depend_on_which_sequences_are_packed_together() -> None:
    decoder = families.from_transformers(random_model("llama"))
    grads: list[list[Tensor]] = []
    for order in ((700, 5, 90), (5, 90, 700)):
        adapter = random_adapter(decoder, train=True)
        sequences = dict(zip((700, 5, 90), random_sequences((700, 5, 90)), strict=True))
        chosen = [sequences[n] for n in order]
        hidden = decoder.forward(*pack(chosen), in_training(decoder, order), adapter=adapter).last
        hidden.square().mean().backward()
        grads.append([pair.a.grad for pair in adapter.pairs.values() if pair.a.grad is not None])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("case", ["llama", "phi", "gpt2"])
def test_merged_weights_answer_as_the_adapter_does(case: str) -> None:
    decoder = families.from_transformers(random_model(case))
    adapter = random_adapter(decoder)
    with torch.inference_mode():
        plain, adapted = logits_of(decoder), logits_of(decoder, adapter)
        merged = logits_of(decoder.merged(adapter))
    assert (plain - adapted).abs().max() > 0.01
    torch.testing.assert_close(merged, adapted, atol=1e-3, rtol=0)
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(decoder), plain)


def test_an_adapter_for_another_model_is_refused() -> None:
    decoder = families.from_transformers(random_model("gpt2"))
    other = random_adapter(families.from_transformers(random_model("llama")))
    with pytest.raises(ValueError, match=r"modules that the model has not: .*layers"):
        decoder.merged(other)


def test_only_what_an_adapter_names_is_copied_when_it_is_merged() -> None:
    decoder = families.from_transformers(random_model("llama"))
    name = "model.layers.1.self_attn.v_proj"
    out, inner = decoder.adaptable()[name]
    merged = decoder.merged(Adapter({name: LoraPair(torch.ones(2, inner), torch.ones(out, 2), 1.0)}))
    assert merged.blocks[0] == decoder.blocks[0]
    assert merged.blocks[1].up is decoder.blocks[1].up
    assert merged.blocks[1].qkv is not decoder.blocks[1].qkv


def test_a_pass_can_end_at_the_highest_layer_that_is_wanted() -> None:
    decoder = families.from_transformers(random_model("llama"))
    sequences = random_sequences((5, 9))
    tokens, positions = pack(sequences)
    whole = decoder.forward(tokens, positions, decoder.causal([5, 9]), layers=(1, 2))
    short = decoder.forward(tokens, positions, decoder.causal([5, 9]), layers=(1, 2), only_layers=True)
    assert short.last.shape[0] == 0
    for layer in (1, 2):
        torch.testing.assert_close(short.layers[layer], whole.layers[layer])


def test_training_memory_is_given_back() -> None:
    decoder = families.from_transformers(random_model("llama"))
    before = decoder.nbytes()
    logits_of(decoder, random_adapter(decoder, train=True)).sum().backward()
    decoder.drop_training_memory()
    assert decoder.nbytes() == before


def test_what_is_cheap_to_compute_again_is_not_kept_for_the_backward_pass() -> None:
    """Of a layer: two inputs of norms, folded heads, probabilities and their product, gate and up, low-rank inputs."""
    decoder = families.from_transformers(random_model("llama"))
    sizes, count = decoder.config, sum(LENGTHS)
    held: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 2 and tensor.shape[0] == count:
            held[tensor.untyped_storage().data_ptr()] = tensor.shape[1]
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_of(decoder, random_adapter(decoder, train=True), in_training(decoder, LENGTHS))
    assert list(held.values()).count(sizes.intermediate_size) == 2 * sizes.num_layers


def test_a_matrix_that_learns_gets_a_gradient() -> None:
    weight = torch.randn(24, 16, requires_grad=True)
    linear = Linear(weight, None, [Projection("x", 0, 24)])
    x = torch.randn(5, 16)
    pair = LoraPair(torch.randn(2, 16), torch.randn(24, 2), 0.5)
    linear(x, Adapter({"x": pair}), plus=torch.ones(5, 24)).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, x.sum(0).expand(24, 16))
