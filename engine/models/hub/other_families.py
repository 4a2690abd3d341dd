"""Configs of the families that Redraft has no decoder of its own for: every causal language model of transformers.

Sizes are read through transformers' own config classes, which know what each family calls them; no modeling file is
imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from engine.models.nn.config import FAMILIES, ConfigError, ModelConfig, rope_settings

_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len", "max_sequence_length")
_UNBOUNDED = 32_768
"""Context of a model that names none (recurrent layers, alibi)."""
_LARGEST = {"vocab_size": 4_000_000, "hidden_size": 131_072, "num_hidden_layers": 1_024, "num_attention_heads": 4_096}
_LENGTH_DEPENDENT_ROPE = ("dynamic", "longrope", "su")


def is_known(family: object) -> bool:
    """Whether transformers has a causal language model of this `model_type`, and Redraft has no decoder for it."""
    if not isinstance(family, str) or family in FAMILIES:
        return False
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def read_config(values: Mapping[str, Any], config: Any, parameters: int = 0) -> ModelConfig:
    """The sizes of a model of another family.

    Args:
        values: what `config.json` holds.
        config: transformers' config made of it.
        parameters: as counted in the weights' headers; 0 where there are none yet.

    Raises:
        ConfigError: a size is missing or out of proportion, or the model does not attend causally.
    """
    family = str(values.get("model_type"))
    for key in ("is_encoder_decoder", "add_cross_attention", "use_bidirectional_attention"):
        # gemma3's config has it beside causal attention, with a value that says for what.
        if getattr(config, key, False) is True:
            raise ConfigError(key, f"is set: this {family} model does not attend causally, so it cannot write text")
    if getattr(config, "is_decoder", None) is False and hasattr(config, "add_cross_attention"):
        # BERT and its kin: encoders that their configuration can turn into decoders.
        raise ConfigError("is_decoder", f"is not set: this {family} model does not attend causally")
    if getattr(config, "text_config", None) is not None:
        raise ConfigError("text_config", f"is set: this {family} model takes images or sound, too")
    hidden = _size(config, "hidden_size")
    heads = _size(config, "num_attention_heads", 1)
    kv_heads = getattr(config, "num_key_value_heads", None)
    head_dim = getattr(config, "head_dim", None)
    inner = getattr(config, "intermediate_size", None)
    return ModelConfig(
        family=family,
        vocab_size=_size(config, "vocab_size"),
        hidden_size=hidden,
        num_layers=_size(config, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=kv_heads if _is_count(kv_heads) else heads,
        head_dim=head_dim if _is_count(head_dim) else max(1, hidden // heads),
        intermediate_size=inner if _is_count(inner) else 4 * hidden,
        context=_context(values, config),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        parameter_count=parameters,
    )


def _context(values: Mapping[str, Any], config: Any) -> int:
    found = (getattr(config, key, None) for key in _CONTEXT)
    context = next((value for value in found if _is_count(value)), _UNBOUNDED)
    rope = rope_settings(values)
    if str(rope.get("rope_type")) in _LENGTH_DEPENDENT_ROPE:
        # Beyond it the frequencies change with the longest text of a batch, and so would every other text in it.
        original = rope.get("original_max_position_embeddings") or values.get("original_max_position_embeddings")
        if _is_count(original):
            context = min(context, original)
    return int(context)


def _size(config: Any, key: str, default: int | None = None) -> int:
    value = getattr(config, key, None)
    if value is None and default is not None:
        return default
    if not _is_count(value) or value > _LARGEST[key]:
        raise ConfigError(key, f"must be 1 to {_LARGEST[key]:,}, and is {str(value)[:40]!r}")
    return int(value)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0
