"""transformers' config object of a `config.json`, without the keys that would make it fetch, quantize or execute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import ModelError

# Keys that would make transformers fetch, quantize or execute something, or that the caller decides.
_NOT_TAKEN = {
    "adapter_kwargs",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "auto_map",
    "_commit_hash",
    "compression_config",
    "custom_generate",
    "custom_pipelines",
    "dtype",
    "_name_or_path",
    "quantization_config",
    "torch_dtype",
    "transformers_weights",
}


def transformers_config(path: Path, values: Mapping[str, Any]) -> Any:
    """The config object of the values that `path` holds.

    Raises:
        ModelError: transformers refuses the values.
    """
    from transformers import AutoConfig

    kept = {key: value for key, value in values.items() if key not in _NOT_TAKEN}
    try:
        return AutoConfig.for_model(**kept)
    except Exception as error:  # noqa: BLE001 - transformers checks values with exceptions of many types
        raise ModelError(
            f"This config cannot be used: {first_line(error)}.",
            where=str(path),
            next_step="Fetch or copy the model again.",
        ) from None


def with_architecture(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `config.json` with the class of the model, which TRL, vLLM and llama.cpp's converter look for and
    transformers itself does not need."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(str(values.get("model_type")))
    return {**values, **({"architectures": [name]} if name and not values.get("architectures") else {})}


def first_line(error: Exception) -> str:
    """An exception's text as one line of at most 300 characters, without a period."""
    text = str(error).strip() or type(error).__name__
    line = " ".join(text.split())
    return (line if len(line) <= 300 else line[:300] + "…").rstrip(".")
