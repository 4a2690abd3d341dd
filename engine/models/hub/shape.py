"""The sizes of a model as its `config.json` tells them: enough to know parameters and memory before anything is loaded.

Knows the families that Redraft computes with and nothing of torch or transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "gemma", "gpt2")
"""Values of `model_type` that can be loaded."""

_LIMITS = {
    "vocab": 4_000_000,
    "hidden": 131_072,
    "layers": 1_024,
    "heads": 4_096,
    "kv_heads": 4_096,
    "head_size": 4_096,
    "inner": 1_048_576,
    "context": 100_000_000,
}
"""Beyond these a config is damaged or hostile; no published model comes near."""


class ConfigProblem(ValueError):
    """A config that no model can be built from. `field` names the key that is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder-only model.

    Args:
        family: one of `FAMILIES`.
        vocab: rows of the embedding.
        hidden: width of the residual stream.
        layers: blocks.
        heads, kv_heads: attention heads, and those of keys and values.
        head_size: width of one head.
        inner: width inside the feed-forward part.
        context: most positions.
        tied: embedding and output matrix are the same.
    """

    family: str
    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    context: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Weights of the whole model, by the family's formula; exact but for biases that a llama's config may add."""
        h, kv, q, i = self.hidden, self.kv_heads * self.head_size, self.heads * self.head_size, self.inner
        embedding = self.vocab * h
        head = 0 if self.tied else embedding
        match self.family:
            case "gpt2":
                block = (h * 3 * h + 3 * h) + (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
                return embedding + self.context * h + self.layers * block + 2 * h + head
            case "phi":
                block = (h * q + q) + 2 * (h * kv + kv) + (q * h + h) + (h * i + i) + (i * h + h) + 2 * h
                return embedding + self.layers * block + 2 * h + head + (0 if self.tied else self.vocab)
            case _:
                more = {"qwen2": q + 2 * kv, "qwen3": 2 * self.head_size}.get(self.family, 0)
                block = h * q + 2 * h * kv + q * h + more + 3 * h * i + 2 * h
                return embedding + self.layers * block + h + head

    @property
    def cache_per_token(self) -> int:
        """Numbers (not bytes) that one position keeps in the key-value cache over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size


def from_config(config: Mapping[str, Any]) -> Shape:
    """The shape that a `config.json` describes.

    Raises:
        ConfigProblem: if the family is unknown, a size is missing, no whole number, out of all proportion, or does
            not go with the others.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        named = f"is {family!r}" if isinstance(family, str) else "is missing"
        raise ConfigProblem("model_type", f"{named}, and Redraft computes with {', '.join(FAMILIES)}")
    gpt2 = family == "gpt2"
    hidden = _size(config, "hidden", "n_embd" if gpt2 else "hidden_size")
    heads = _size(config, "heads", "n_head" if gpt2 else "num_attention_heads")
    heads_key = "n_head" if gpt2 else "num_attention_heads"
    if "head_dim" in config and config["head_dim"] is not None and not gpt2:
        head_size = _size(config, "head_size", "head_dim")
    elif hidden % heads:
        raise ConfigProblem(heads_key, f"{heads} heads do not divide the width {hidden}")
    else:
        head_size = hidden // heads
    kv_heads = heads if gpt2 else _size(config, "kv_heads", "num_key_value_heads", heads)
    if heads % kv_heads:
        raise ConfigProblem("num_key_value_heads", f"{kv_heads} does not divide the {heads} attention heads")
    return Shape(
        family=family,
        vocab=_size(config, "vocab", "vocab_size"),
        hidden=hidden,
        layers=_size(config, "layers", "n_layer" if gpt2 else "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        inner=_size(config, "inner", "n_inner", 4 * hidden) if gpt2 else _size(config, "inner", "intermediate_size"),
        context=_size(config, "context", "n_positions" if gpt2 else "max_position_embeddings"),
        tied=_flag(config, "tie_word_embeddings", family in ("gpt2", "gemma")),
    )


def _size(config: Mapping[str, Any], limit: str, key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        if default is None:
            raise ConfigProblem(key, "is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigProblem(key, f"must be a whole number, and is {str(value)[:40]!r}")
    if not 1 <= value <= _LIMITS[limit]:
        raise ConfigProblem(key, f"must be 1 to {_LIMITS[limit]:,}, and is {str(value)[:40]}")
    return value


def _flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise ConfigProblem(key, f"must be true or false, and is {str(value)[:40]!r}")
    return value
