"""Where each family keeps its weights: names and shapes of the tensors that a model of a config is made of.

Names are transformers' own. Knows nothing of torch, so that a file's header can be checked before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.models.nn.config import ModelConfig

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModuleNames:
    """Where a family keeps its modules: `layer` names are relative to one block."""

    base: str = "model"
    blocks: str = "layers"
    embedding: str = "embed_tokens"
    positions: str | None = None
    final_norm: str = "norm"
    attention_norm: str = "input_layernorm"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    out: str = "self_attn.o_proj"
    ffn_norm: str | None = "post_attention_layernorm"
    gate: str | None = "mlp.gate_proj"
    up: str = "mlp.up_proj"
    down: str = "mlp.down_proj"
    q_norm: str | None = None
    k_norm: str | None = None
    transposed: bool = False
    """Weights are [in, out] (gpt2's Conv1D)."""
    norm_offset: float = 0.0
    """What is added to the norms' weights before use (gemma)."""


_LLAMA = ModuleNames()
MODULES: dict[str, ModuleNames] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": ModuleNames(q_norm="self_attn.q_norm", k_norm="self_attn.k_norm"),
    "gemma": ModuleNames(norm_offset=1.0),
    "phi": ModuleNames(
        final_norm="final_layernorm", out="self_attn.dense", ffn_norm=None, gate=None, up="mlp.fc1", down="mlp.fc2"
    ),
    "gpt2": ModuleNames(
        base="transformer",
        blocks="h",
        embedding="wte",
        positions="wpe",
        final_norm="ln_f",
        attention_norm="ln_1",
        qkv=("attn.c_attn",),
        out="attn.c_proj",
        ffn_norm="ln_2",
        gate=None,
        up="mlp.c_fc",
        down="mlp.c_proj",
        transposed=True,
    ),
}
"""By `ModelConfig.family`."""


def block_prefix(config: ModelConfig, layer: int) -> str:
    """The full name that the modules of a block begin with, such as "model.layers.3."."""
    names = MODULES[config.family]
    return f"{names.base}.{names.blocks}.{layer}."


def tensor_shapes(config: ModelConfig) -> Shapes:
    """Every tensor that the model is made of, by transformers' name; a tied head is not among them."""
    names = MODULES[config.family]
    found: Shapes = {f"{names.base}.{names.embedding}.weight": (config.vocab_size, config.hidden_size)}
    if names.positions is not None:
        found[f"{names.base}.{names.positions}.weight"] = (config.context, config.hidden_size)
    block = _block_shapes(config, names)
    for layer in range(config.num_layers):
        prefix = block_prefix(config, layer)
        found |= {prefix + name: shape for name, shape in block.items()}
    found |= _norm_shapes(config, f"{names.base}.{names.final_norm}")
    if not config.tied:
        found["lm_head.weight"] = (config.vocab_size, config.hidden_size)
    if config.family == "phi":
        found["lm_head.bias"] = (config.vocab_size,)
    return found


def _block_shapes(config: ModelConfig, names: ModuleNames) -> Shapes:
    hidden, inner = config.hidden_size, config.intermediate_size
    q, kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    always = config.family in ("gpt2", "phi")
    qkv_bias = always or config.attention_bias or config.family == "qwen2"
    sizes = (q + 2 * kv,) if len(names.qkv) == 1 else (q, kv, kv)
    linears = [(name, size, hidden, qkv_bias) for name, size in zip(names.qkv, sizes, strict=True)]
    linears.append((names.out, hidden, q, always or config.attention_bias))
    if names.gate is not None:
        linears.append((names.gate, inner, hidden, config.mlp_bias))
    linears.append((names.up, inner, hidden, always or config.mlp_bias))
    linears.append((names.down, hidden, inner, always or config.mlp_bias))
    found: Shapes = {}
    for name, rows, columns, bias in linears:
        found[f"{name}.weight"] = (columns, rows) if names.transposed else (rows, columns)
        if bias:
            found[f"{name}.bias"] = (rows,)
    for norm in (names.attention_norm, names.ffn_norm):
        if norm is not None:
            found |= _norm_shapes(config, norm)
    if config.qk_norm:
        q_norm, k_norm = qk_norm_names(config)
        found |= _norm_shapes(config, q_norm, config.head_dim) | _norm_shapes(config, k_norm, config.head_dim)
    return found


def qk_norm_names(config: ModelConfig) -> tuple[str, str]:
    """The modules that normalize queries and keys, where `config.qk_norm`."""
    names = MODULES[config.family]
    return names.q_norm or "self_attn.q_layernorm", names.k_norm or "self_attn.k_layernorm"


def _norm_shapes(config: ModelConfig, name: str, size: int = 0) -> Shapes:
    kinds = ("weight", "bias") if config.norm == "layer" else ("weight",)
    return {f"{name}.{kind}": (size or config.hidden_size,) for kind in kinds}
