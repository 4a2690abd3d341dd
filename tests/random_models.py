"""Tiny models with random weights, one for each thing that families differ in."""

from __future__ import annotations

from typing import Any

import torch
from gguf_files import LLAMA3
from transformers import AutoConfig, AutoModelForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3 = {**LLAMA3, "rope_theta": 1e4}
_YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 256}
_GPT2 = {"vocab_size": 120, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 1024}
_ENDS = {"bos_token_id": 1, "eos_token_id": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SIZES),
    "llama with biases": ("llama", {**SIZES, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama 3 rope": ("llama", {**SIZES, "rope_parameters": _LLAMA3}),
    "llama yarn": ("llama", {**SIZES, "rope_parameters": _YARN}),
    "mistral": ("mistral", {**SIZES, "sliding_window": None, "head_dim": 16}),
    "qwen2": ("qwen2", {**SIZES, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", {**SIZES, "head_dim": 16}),
    "gemma": ("gemma", {**SIZES, "head_dim": 16, "num_key_value_heads": 1}),
    "phi": ("phi", {**SIZES, "num_key_value_heads": 6}),
    "phi with norms": ("phi", {**SIZES, "num_key_value_heads": 2, "qk_layernorm": True}),
    "gpt2": ("gpt2", {**_GPT2, **_ENDS}),
    "gpt2 scaled": ("gpt2", {**_GPT2, **_ENDS, "scale_attn_by_inverse_layer_idx": True}),
}


def random_model(case: str) -> Any:
    """transformers' model of a case, in fp32; the same weights on every call."""
    family, settings = CASES[case]
    torch.manual_seed(len(case))
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings)).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.08 * torch.randn_like(parameter))
    return model


def random_sequences(lengths: tuple[int, ...]) -> list[list[int]]:
    """Token lists of these lengths; the same on every call."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, 120, (n,), generator=generator).tolist() for n in lengths]
