"""Families without a decoder of ours: transformers' own modules in our loop, or in static batches."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from random_models import SIZES, random_sequences
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from engine.control import Control
from engine.models.inference.choice_logprobs import choice_logprobs
from engine.models.inference.generate import generate
from engine.models.inference.hidden_states import hidden_states
from engine.models.inference.requests import Request, Sampling
from engine.models.nn import modules
from engine.models.nn.config import ModelConfig
from engine.models.nn.lora_weights import Adapter, LoraPair
from engine.models.nn.modules import ModuleDecoder
from engine.training.config import TrainConfig
from engine.training.data import PairRow, SftRow
from engine.training.loop import train
from engine.training.losses import segment_sums
from engine.training.policy import Completions, Policy

WINDOW = 8
"""Tokens of the sliding windows: shorter than the texts."""
_MOE = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_GEMMA = {"head_dim": 16, "sliding_window": WINDOW, "query_pre_attn_scalar": 16}
PACKED: dict[str, dict[str, Any]] = {
    "qwen3_moe": {**_MOE, "head_dim": 16},
    "mixtral": {**_MOE, "sliding_window": WINDOW},
    "phi3": {"sliding_window": WINDOW},
    "gemma2": {**_GEMMA, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
    "gemma3_text": {**_GEMMA, "tie_word_embeddings": True},
    "gpt_neox": {},
    "opt": {"ffn_dim": 80, "word_embed_proj_dim": 48},
    "olmo2": {},
    "olmo3": {"sliding_window": WINDOW},
    "smollm3": {},
    "granite": {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "attention_multiplier": 0.2},
    "stablelm": {},
    "starcoder2": {"sliding_window": WINDOW},
    "cohere2": {"sliding_window": WINDOW},
    "gpt_oss": {**_MOE, "head_dim": 8, "sliding_window": WINDOW},
}
"""Families that run in our loop -> settings beside the common ones."""
STATIC: dict[str, dict[str, Any]] = {
    "falcon": {"multi_query": True},
    "bloom": {"n_layer": 3, "n_head": 6},
    "mamba": {"state_size": 8},
}
"""Families that do not."""
CASES = {**PACKED, **STATIC}
LENGTHS = (5, 30)


@dataclass(frozen=True)
class Twins:
    """transformers' model and the decoder with the same weights."""

    family: str
    reference: Any
    decoder: ModuleDecoder


def twins_of(family: str) -> Twins:
    torch.manual_seed(3)
    config = AutoConfig.for_model(family, **{**SIZES, **CASES[family]})
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        parameter.data.add_(0.08 * torch.randn_like(parameter))
    reference = copy.deepcopy(model)
    sizes = ModelConfig(family, 120, 48, 3, 6, 2, 8, 80, 1024, False)
    return Twins(family, reference, modules.from_transformers(model, sizes))


@pytest.fixture(params=CASES, scope="module")
def twins(request: pytest.FixtureRequest) -> Twins:
    return twins_of(request.param)


class Numbers:
    """A codec whose texts are numbers."""

    ends = frozenset({2})

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, tokens: Any) -> str:
        return "".join(f"{token} " for token in tokens)


def test_families_that_fit_run_in_our_loop_and_others_in_static_batches(twins: Twins) -> None:
    assert twins.decoder.packs == (twins.family in PACKED)


def test_greedy_texts_are_those_of_generate(twins: Twins) -> None:
    beginning = random_sequences((20,))[0]
    # Two prompts share a beginning that is longer than the window.
    prompts = [*random_sequences(LENGTHS), [*beginning, 7, 8], [*beginning, 9]]
    requests = [Request(str(i), Numbers().decode(p), Sampling(max_tokens=8)) for i, p in enumerate(prompts)]
    found = {c.key: c.raw for c in generate(twins.decoder, Numbers(), requests, Control(), rows=3)}
    for number, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        whole = twins.reference.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=2, pad_token_id=0)
        tokens = whole[0, len(prompt) :].tolist()
        expected = tokens[: tokens.index(2)] if 2 in tokens else tokens
        assert found[str(number)] == Numbers().decode(expected), prompt


@torch.no_grad()
def test_hidden_states_and_choices_are_those_of_transformers(twins: Twins) -> None:
    sequences = random_sequences(LENGTHS)
    states = hidden_states(twins.decoder, sequences, (0, 2, 3), Control(), pooling="mean")
    choices = choice_logprobs(twins.decoder, [[*sequences[1], 5], [*sequences[1], 6, 9]], [[7], [8, 11]], Control())
    for row, sequence in zip(states, sequences, strict=True):
        expected = twins.reference(torch.tensor([sequence]), output_hidden_states=True).hidden_states
        for found, layer in zip(row, (0, 2, 3), strict=True):
            torch.testing.assert_close(found, expected[layer][0].mean(0), atol=2e-4, rtol=1e-3)
    logits = twins.reference(torch.tensor([[*sequences[1], 6, 9]])).logits[0, -1]
    torch.testing.assert_close(
        choices[1], torch.stack([logits.log_softmax(-1)[list(c)].logsumexp(-1) for c in ([7], [8, 11])]),
        atol=2e-4, rtol=1e-3,
    )  # fmt: skip


def reference_logps(twins: Twins, prompt: tuple[int, ...], completion: tuple[int, ...]) -> torch.Tensor:
    logits = twins.reference(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[torch.arange(len(completion)), list(completion)]


def test_training_losses_are_those_of_a_plain_loss(twins: Twins) -> None:
    shared, own, first, second = (tuple(s) for s in random_sequences((34, 6, 13, 9)))
    rows = [Completions((*shared, *own), (first, second)), Completions((*shared, 4), (second, first))]
    scored = Policy(twins.decoder, _adapter(twins.decoder, 0.0)).score(rows)
    with torch.no_grad():
        expected = [reference_logps(twins, row.prompt, c).sum() for row in rows for c in row.completions]
    sums = segment_sums(scored.logps, scored.lengths)
    torch.testing.assert_close(sums, torch.stack(expected), atol=1e-3, rtol=1e-4)


def _adapter(decoder: ModuleDecoder, size: float) -> Adapter:
    torch.manual_seed(1)
    return Adapter(
        {
            name: LoraPair(
                (0.1 * torch.randn(2, inner)).requires_grad_(), (size * torch.randn(out, 2)).requires_grad_(), 1.0
            )
            for name, (out, inner) in decoder.adaptable().items()
        }
    )


def _merge(reference: Any, adapter: Adapter) -> dict[str, torch.Tensor]:
    """The reference's own matrices with the adapter's change, each differentiable towards the adapter."""
    return {
        f"{name}.weight": reference.get_submodule(name).weight.detach() + pair.scale * pair.b @ pair.a
        for name, pair in adapter.pairs.items()
    }


def test_gradients_and_merging_are_those_of_a_changed_matrix(twins: Twins) -> None:
    prompt, completion = (tuple(s) for s in random_sequences((17, 12)))
    adapter = _adapter(twins.decoder, 0.1)
    flat = [tensor for pair in adapter.pairs.values() for tensor in (pair.a, pair.b)]
    scored = Policy(twins.decoder, adapter).score([Completions(prompt, (completion,))])
    found = torch.autograd.grad(scored.logps.sum(), flat)
    logits = torch.func.functional_call(
        twins.reference, _merge(twins.reference, adapter), (torch.tensor([[*prompt, *completion]]),)
    ).logits[0, len(prompt) - 1 : -1]
    expected = torch.autograd.grad(-functional.cross_entropy(logits, torch.tensor(completion), reduction="sum"), flat)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)
    with torch.no_grad():
        merged = Policy(twins.decoder.merged(adapter), learn=False).score([Completions(prompt, (completion,))])
        torch.testing.assert_close(merged.logps.sum(), scored.logps.detach().sum(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("family", ["gemma2", "falcon"])
@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_sft_and_dpo_lower_their_losses(family: str, objective: str) -> None:
    prompt, chosen, rejected = (tuple(s) for s in random_sequences((15, 8, 10)))
    if objective == "sft":
        rows: Any = [SftRow(prompt, chosen)] * 2
        config = TrainConfig.sft(num_train_epochs=4, train_batch_size=2, learning_rate=1e-2)
    else:
        rows = [PairRow(prompt, chosen, rejected)] * 2
        config = TrainConfig.dpo(num_train_epochs=4, train_batch_size=2, learning_rate=1e-2)
    trained = train(twins_of(family).decoder, rows, config)
    assert trained.epochs[-1].loss < 0.9 * trained.epochs[0].loss
