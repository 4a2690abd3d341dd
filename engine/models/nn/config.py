"""The one description of a model: its sizes and how its family computes, read from a `config.json`.

Enough to know parameters and memory before anything is loaded, and what the decoder follows afterwards. Knows nothing
of weights, torch or transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.json_values import is_number

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]

Quantization = Literal["", "int8", "nf4"]
"""How frozen matrices are kept: "" as they are, "int8" (a factor for each row), "nf4" (bitsandbytes)."""

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "gemma", "gpt2")
"""Values of `model_type` that can be loaded."""

_LIMITS = {
    "vocab_size": 4_000_000,
    "hidden_size": 131_072,
    "num_layers": 1_024,
    "num_heads": 4_096,
    "num_kv_heads": 4_096,
    "head_dim": 4_096,
    "intermediate_size": 1_048_576,
    "context": 100_000_000,
}
"""Beyond these a config is damaged or hostile; no published model comes near."""

_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_DEFAULT_ACTIVATION = {"gpt2": "gelu_new", "phi": "gelu_new", "gemma": "gelu_pytorch_tanh"}

_FIXED_ROPE = ("default", "linear", "llama3", "yarn")
_LENGTH_DEPENDENT_ROPE = ("dynamic", "longrope", "su")
"""Frequencies that change beyond the original context; up to it they are fixed."""

_LAYER_NORM = ("phi", "gpt2")

_FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4_096},
    "qwen3": {"head_dim": 128},
    "gemma": {"head_dim": 256},
}
"""What transformers assumes where a config lacks the key."""


class ConfigError(ValueError):
    """A config that no model can be built from. `field` names the key that is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


@dataclass(frozen=True)
class ModelConfig:
    """A causal decoder: its sizes, and its arithmetic as far as families differ in it.

    Args:
        family: transformers' `model_type`. What is said here of arithmetic holds for those in `FAMILIES`; others are
            computed by transformers' own modules (`engine.models.nn.modules`).
        vocab_size: rows of the embedding.
        hidden_size: width of the residual stream.
        num_layers: blocks.
        num_heads: query heads.
        num_kv_heads: key and value heads; `num_heads` is a multiple of it.
        head_dim: size of one head.
        intermediate_size: inner size of the feed-forward part.
        context: max positions of prompt and completion together.
        tied: embedding and output matrix are the same.
        attention_bias, mlp_bias: projections have biases that the family does not have by itself.
        norm_eps: added to the variance.
        activation: of the feed-forward part.
        rotary_dims: leading dimensions of a head that are rotated by position; 0 where positions are learned.
        attention_scales: one per layer: query-key products are multiplied by it; () for `head_dim ** -0.5` in all.
        parameter_count: weights, where they are counted and not computed from the sizes (families that are not in
            `FAMILIES`); 0 otherwise.
        qk_norm: queries and keys are normalized per head before rotation (qwen3; phi where its config says so).
    """

    family: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    context: int
    tied: bool
    attention_bias: bool = False
    mlp_bias: bool = False
    norm_eps: float = 1e-6
    activation: Activation = "silu"
    rotary_dims: int = 0
    attention_scales: tuple[float, ...] = ()
    qk_norm: bool = False
    parameter_count: int = 0

    @property
    def norm(self) -> Literal["rms", "layer"]:
        """ "rms" (no mean, no bias) or "layer" (mean and bias)."""
        return "layer" if self.family in _LAYER_NORM else "rms"

    @property
    def gated(self) -> bool:
        """Whether the activation's output is multiplied by a second projection (SwiGLU, GeGLU)."""
        return self.family not in ("gpt2", "phi")

    @property
    def parallel(self) -> bool:
        """Whether attention and feed-forward read the same normalized input and are added together (phi)."""
        return self.family == "phi"

    @property
    def embed_scale(self) -> float:
        """The embedding is multiplied by it (gemma: the square root of the width)."""
        return float(self.hidden_size**0.5) if self.family == "gemma" else 1.0

    @property
    def group(self) -> int:
        """Query heads that share one key head."""
        return self.num_heads // self.num_kv_heads

    @property
    def kv_elements(self) -> int:
        """Numbers (not bytes) that one token adds to the key-value cache, over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim

    @property
    def parameters(self) -> int:
        """Weights of the whole model: as counted, or by the family's formula."""
        if self.parameter_count:
            return self.parameter_count
        h, i = self.hidden_size, self.intermediate_size
        kv, q = self.num_kv_heads * self.head_dim, self.num_heads * self.head_dim
        embedding = self.vocab_size * h
        head = 0 if self.tied else embedding
        match self.family:
            case "gpt2":
                block = (h * 3 * h + 3 * h) + (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
                return embedding + self.context * h + self.num_layers * block + 2 * h + head
            case "phi":
                block = (h * q + q) + 2 * (h * kv + kv) + (q * h + h) + (h * i + i) + (i * h + h) + 2 * h
                block += 4 * self.head_dim if self.qk_norm else 0
                return embedding + self.num_layers * block + 2 * h + head + self.vocab_size
            case _:
                more = {"qwen2": q + 2 * kv, "qwen3": 2 * self.head_dim}.get(self.family, 0)
                more += q + 2 * kv + h if self.attention_bias else 0
                more += 2 * i + h if self.mlp_bias else 0
                block = h * q + 2 * h * kv + q * h + more + 3 * h * i + 2 * h
                return embedding + self.num_layers * block + h + head

    def attention_scale(self, layer: int) -> float:
        """What the query-key products of a layer are multiplied by."""
        return self.attention_scales[layer] if self.attention_scales else float(self.head_dim**-0.5)


def from_config(config: Mapping[str, Any]) -> ModelConfig:
    """The model that a `config.json` describes.

    Raises:
        ConfigError: the family, or a feature that the config switches on, is not supported; a size is missing, not a
            whole number, out of all proportion, or does not fit the others.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        named = f"is {family[:40]!r}" if isinstance(family, str) else "is missing"
        raise ConfigError("model_type", f"{named}, which is no causal language model that transformers knows")
    config = {**_FAMILY_DEFAULTS.get(family, {}), **config}
    for key in ("use_bidirectional_attention", "add_cross_attention", "is_encoder_decoder"):
        if config.get(key):
            raise ConfigError(key, f"is set: this {family} model does not attend causally, so it cannot write text")
    heads, kv_heads, head_dim, hidden = _head_sizes(config, family)
    gpt2 = family == "gpt2"
    layers = _size(config, "num_layers", "n_layer" if gpt2 else "num_hidden_layers")
    return ModelConfig(
        family=family,
        vocab_size=_size(config, "vocab_size", "vocab_size"),
        hidden_size=hidden,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=_size(config, "intermediate_size", "n_inner", 4 * hidden)
        if gpt2
        else _size(config, "intermediate_size", "intermediate_size"),
        context=_context(config, family),
        tied=_flag(config, "tie_word_embeddings", family in ("gpt2", "gemma")),
        attention_bias=family in ("llama", "qwen3", "gemma") and _flag(config, "attention_bias", False),
        mlp_bias=family == "llama" and _flag(config, "mlp_bias", False),
        norm_eps=_norm_eps(config, family),
        activation=_activation(config, family),
        rotary_dims=0 if gpt2 else _rotary_dims(config, family, head_dim),
        attention_scales=_attention_scales(config, head_dim, layers) if gpt2 else (),
        qk_norm=family == "qwen3" or (family == "phi" and _flag(config, "qk_layernorm", False)),
    )


def _head_sizes(config: Mapping[str, Any], family: str) -> tuple[int, int, int, int]:
    """Query heads, key heads, size of a head, width."""
    gpt2 = family == "gpt2"
    heads_key = "n_head" if gpt2 else "num_attention_heads"
    hidden = _size(config, "hidden_size", "n_embd" if gpt2 else "hidden_size")
    heads = _size(config, "num_heads", heads_key)
    if config.get("head_dim") is not None and not gpt2:
        head_dim = _size(config, "head_dim", "head_dim")
    elif hidden % heads:
        raise ConfigError(heads_key, f"{heads} heads do not divide the width {hidden}")
    else:
        head_dim = hidden // heads
    kv_heads = heads if gpt2 else _size(config, "num_kv_heads", "num_key_value_heads", heads)
    if heads % kv_heads:
        raise ConfigError("num_key_value_heads", f"{kv_heads} does not divide the {heads} attention heads")
    return heads, kv_heads, head_dim, hidden


def _context(config: Mapping[str, Any], family: str) -> int:
    """Positions up to which plain causal attention with fixed frequencies is what the model was made for."""
    context = _size(config, "context", "n_positions" if family == "gpt2" else "max_position_embeddings")
    window = config.get("sliding_window")
    uses = family == "mistral" or (family in ("qwen2", "qwen3") and bool(config.get("use_sliding_window", False)))
    if uses and type(window) is int and window > 0:
        context = min(context, window)
    rope = rope_settings(config)
    kind = str(rope.get("rope_type", "default"))
    if family != "gpt2" and kind not in (*_FIXED_ROPE, *_LENGTH_DEPENDENT_ROPE):
        raise ConfigError("rope_type", f"is {kind[:40]!r}, a rope scaling that Redraft does not compute")
    if kind in _LENGTH_DEPENDENT_ROPE:
        original = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
        if type(original) is int and original > 0:
            context = min(context, original)
    return context


def rope_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rope settings of a config under transformers' present names, whatever version wrote them."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise ConfigError("rope_scaling", f"must be an object, and is {str(rope)[:40]!r}")
    found = dict(rope)
    if "type" in found and "rope_type" not in found:
        found["rope_type"] = found.pop("type")
    if found.get("rope_type") is None:
        found["rope_type"] = "default"
    return found


def _rotary_dims(config: Mapping[str, Any], family: str, head_dim: int) -> int:
    share = rope_settings(config).get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if share is None:
        share = 0.5 if family == "phi" else 1.0
    if not is_number(share) or not 0 < share <= 1:
        raise ConfigError("partial_rotary_factor", f"must be above 0 and at most 1, and is {str(share)[:40]!r}")
    return int(head_dim * share)


def _norm_eps(config: Mapping[str, Any], family: str) -> float:
    key = {"gpt2": "layer_norm_epsilon", "phi": "layer_norm_eps"}.get(family, "rms_norm_eps")
    value = config.get(key, 1e-5 if family in _LAYER_NORM else 1e-6)
    if not is_number(value) or not 0 <= value < 1:
        raise ConfigError(key, f"must be a number from 0 to below 1, and is {str(value)[:40]!r}")
    return float(value)


def _activation(config: Mapping[str, Any], family: str) -> Activation:
    key = "activation_function" if family == "gpt2" else "hidden_act"
    name = config.get(key) or _DEFAULT_ACTIVATION.get(family, "silu")
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ConfigError(key, f"is {str(name)[:40]!r}, an activation that Redraft does not compute")
    # Gemma's first releases say "gelu" and mean the tanh form, as transformers reads it.
    return "gelu_tanh" if family == "gemma" and name == "gelu" else _ACTIVATIONS[name]


def _attention_scales(config: Mapping[str, Any], head_dim: int, layers: int) -> tuple[float, ...]:
    scale = float(head_dim**-0.5) if _flag(config, "scale_attn_weights", True) else 1.0
    if not _flag(config, "scale_attn_by_inverse_layer_idx", False):
        return () if scale == float(head_dim**-0.5) else (scale,) * layers
    return tuple(scale / (layer + 1) for layer in range(layers))


def _size(config: Mapping[str, Any], limit: str, key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        if default is None:
            raise ConfigError(key, "is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(key, f"must be a whole number, and is {str(value)[:40]!r}")
    if not 1 <= value <= _LIMITS[limit]:
        raise ConfigError(key, f"must be 1 to {_LIMITS[limit]:,}, and is {str(value)[:40]}")
    return value


def _flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigError(key, f"must be true or false, and is {str(value)[:40]!r}")
    return value
