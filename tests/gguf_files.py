"""GGUF files of tiny models, written as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
"""`rope_parameters` of a tiny Llama 3."""


_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_TOP = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}


def write_gguf(
    path: Path,
    folder: Path,
    *,
    pre: str | None = "gpt-2",
    values: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
    leave_out: Sequence[str] = (),
) -> Path:
    """The model of a folder as one GGUF file in float32.

    Args:
        values: further keys of the metadata; those of the architecture without its name.
        tensors: further tensors by their names in the file.
        leave_out: names of tensors that the file shall lack.
    """
    from gguf import GGUFWriter
    from transformers import AutoModelForCausalLM

    config = json.loads((folder / "config.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    arch = "llama" if config["model_type"] == "mistral" else config["model_type"]
    file = GGUFWriter(path, arch)
    _write_config(file, model.config)
    _write_tokenizer(file, folder, pre)
    for key, value in (values or {}).items():
        _write_value(file, key if key.startswith(("general.", "split.", "tokenizer.")) else f"{arch}.{key}", value)
    written = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        written |= dict([_converted(name, tensor, model.config, arch)])
    for name, tensor in {**written, **(tensors or {})}.items():
        if name not in leave_out:
            file.add_tensor(name, np.ascontiguousarray(tensor, dtype=np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def _write_value(file: Any, key: str, value: Any) -> None:
    match value:
        case bool():
            file.add_bool(key, value)
        case int():
            file.add_uint32(key, value)
        case float():
            file.add_float32(key, value)
        case list():
            file.add_array(key, value)
        case _:
            file.add_string(key, value)


def _write_config(file: Any, config: Any) -> None:
    file.add_name("tiny")
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_block_count(config.num_hidden_layers)
    file.add_head_count(config.num_attention_heads)
    file.add_vocab_size(config.vocab_size)
    if config.model_type == "gpt2":
        file.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        file.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    file.add_rope_freq_base(config.rope_parameters["rope_theta"])
    file.add_rope_dimension_count(head_dim)
    file.add_key_length(head_dim)
    file.add_value_length(head_dim)


def _write_tokenizer(file: Any, folder: Path, pre: str | None) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"] | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    words = sorted(vocab, key=vocab.__getitem__)
    special = {t["content"] for t in tokenizer["added_tokens"]}
    file.add_tokenizer_model("gpt2")
    if pre is not None:
        file.add_tokenizer_pre(pre)
    file.add_token_list(words)
    file.add_token_types([3 if word in special else 1 for word in words])
    merges = tokenizer["model"]["merges"]
    file.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    file.add_bos_token_id(vocab[settings["bos_token"]])
    file.add_eos_token_id(vocab[settings["eos_token"]])
    template = folder / "chat_template.jinja"
    if template.exists():
        file.add_chat_template(template.read_text())


def _converted(name: str, tensor: Any, config: Any, arch: str) -> tuple[str, Any]:
    values = tensor.detach().float()
    stem, kind = name.rsplit(".", 1)
    if stem in _TOP:
        return f"{_TOP[stem]}.{kind}", values.numpy()
    _, _, layer, part = stem.split(".", 3)
    ours = _BLOCK[part]
    if arch == "llama" and ours in ("attn_q", "attn_k"):
        heads = config.num_attention_heads if ours == "attn_q" else config.num_key_value_heads
        values = values.reshape(heads, 2, -1, *values.shape[1:]).transpose(1, 2).reshape(values.shape)
    if arch == "gpt2" and kind == "weight" and part.startswith(("attn.", "mlp.")):
        values = values.t()
    return f"blk.{layer}.{ours}.{kind}", values.contiguous().numpy()
