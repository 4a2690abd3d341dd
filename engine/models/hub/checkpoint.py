"""What a checkpoint holds against what its model needs: every tensor is used, reported, or a reason to refuse.

Works on the headers of files alone, so that a run can be refused before it has written anything. Knows no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError, StorageError
from engine.models.hub import dequantize, other_families, weights
from engine.models.hub.transformers_config import transformers_config
from engine.models.nn.config import ConfigError, ModelConfig, from_config
from engine.models.nn.tensor_names import MODULES, block_prefix, tensor_shapes
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LARGEST_CONFIG = 5_000_000
_AGAIN = "Fetch or copy the model again."

_WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FullyShardedDataParallel",
    "_checkpoint_wrapped_module.": "activation checkpointing",
}
"""What a wrapper puts into the names of modules, anywhere -> which one it is. A name that begins with "module." is
DistributedDataParallel's."""

_LORA = re.compile(r"(?:^|\.)(?:lora_|ia3_|adapter|prompt_encoder|prefix_encoder|modules_to_save|original_module)|"
                   r"\.base_layer\.|magnitude_vector|vera_lambda|hada_w|lokr_w")  # fmt: skip
_QUANTIZED = re.compile(
    r"\.(?:qweight|qzeros|scales|g_idx|weight_scale|weight_scale_inv|weight_scale_2|weight_zero_point|input_scale|SCB|"
    r"weight_format|weight_packed|weight_shape|codebooks|codes|absmax|nested_absmax|quant_map|nested_quant_map|"
    r"quant_state\.\w+|W_q|meta)$"
)
_QUANTIZED_TYPES = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4")
_BUFFERS = re.compile(r"(?:rotary_emb\.[\w.]+|\.attn\.(?:masked_)?bias|position_ids|attention\.mask)$")
"""Constants that a model computes by itself."""

_QUANTIZATION_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json", "quantization_config.json")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt", "adapters.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose header was checked.

    Args:
        config: the model that its `config.json` describes.
        names: the file's name of a tensor -> transformers' name of it; what is left out is not used.
        notices: sentences on what is not used, or is used under another name.
    """

    config: ModelConfig
    names: Mapping[str, str]
    notices: tuple[str, ...] = ()


def parse_config(path: Path, values: Mapping[str, Any]) -> ModelConfig:
    """The model that the values of a config describe; `path` is for the message.

    Raises:
        ModelError: it cannot be used; names file and field.
    """
    try:
        return from_config(values)
    except ConfigError as problem:
        if problem.field == "model_type" and values.get("auto_map"):
            raise ModelError(
                "This model needs code of its own (`auto_map`), which is never run.",
                where=str(path),
                next_step="Name a model of a family that transformers computes.",
            ) from None
        raise _unusable(path, problem) from None


def _unusable(path: Path, problem: ConfigError) -> ModelError:
    return ModelError(
        f"This model cannot be loaded: `{problem.field}` {problem}.",
        where=str(path),
        next_step=_next(problem),
    )


def _next(problem: ConfigError) -> str:
    if problem.field == "model_type":
        return "Name a causal language model; a newer version of transformers may know this one."
    certain = ("Redraft does not compute", "does not attend", "takes images")
    return "Name another model." if any(word in str(problem) for word in certain) else _AGAIN


def folder_values(folder: Path) -> dict[str, Any]:
    """The values of a folder's `config.json`, once it is sure that the folder holds a whole, unquantized model.

    Raises:
        ModelError, StorageError: no usable config; an adapter instead of a model, or one as well; quantized weights.
    """
    _refuse_adapter(folder)
    values = weights.read_json(folder / "config.json", LARGEST_CONFIG)
    _refuse_quantized_config(folder, values)
    return values


def _refuse_adapter(folder: Path) -> None:
    """Refuse a folder that holds adapter weights, and is not the folder of an adapter alone (`adapter.load`)."""
    held = [name for name in _ADAPTER_WEIGHTS if (folder / name).exists()]
    model = (folder / weights.SINGLE).exists() or (folder / weights.INDEX).exists()
    declared = (folder / "adapter_config.json").exists()
    if (declared and not (folder / "config.json").exists()) or (held and not model and not _pickled(folder)):
        raise ModelError(
            f"This folder holds a LoRA adapter{_base_of(folder)}, not a whole model.",
            where=str(folder),
            next_step="Name a folder with adapter_config.json and adapter_model.safetensors, and no config.json: its "
            "base model is loaded and the adapter merged into it.",
        )
    if held:
        raise ModelError(
            f"This folder holds an adapter ({held[0]}) as well as a model, and Redraft would answer without it.",
            where=str(folder),
            next_step="Merge the two (peft's `merge_and_unload`) and name the result, or move the adapter's files to "
            "another folder to use the model without it.",
        )


def _base_of(folder: Path) -> str:
    """ " of MODEL", by the adapter's own config; "" where it does not say."""
    try:
        base = weights.read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    except (ModelError, StorageError):
        return ""
    return f" of {truncate(sanitize(base), 120)}" if isinstance(base, str) and base.strip() else ""


def _pickled(folder: Path) -> bool:
    return any(folder.glob("pytorch_model*.bin")) or any(folder.glob("consolidated*.pt*"))


def _refuse_quantized_config(folder: Path, values: Mapping[str, Any]) -> None:
    for key in ("quantization_config", "compression_config", "quantization"):
        found = values.get(key)
        if key == "quantization_config" and isinstance(found, Mapping) and dequantize.reads(found):
            continue
        if found:
            method = found.get("quant_method") if isinstance(found, Mapping) else None
            method = method or ("MLX" if key == "quantization" else "")
            raise quantized(f"{folder / 'config.json'}, field `{key}`", str(method or ""))
    for name in _QUANTIZATION_FILES:
        if (folder / name).exists():
            raise quantized(str(folder / name), "")


def quantized(where: str, method: str) -> ModelError:
    """The error for weights that are quantized in a way that is not read."""
    known = re.sub(r"[^\w.-]", "", method)[:40]
    return ModelError(
        f"The weights of this model are quantized{f' ({known})' if known else ''}, and it can neither be computed with "
        "nor trained as they are.",
        where=where,
        next_step="Name the unquantized model that it was made from, or a GGUF file of it.",
    )


def check_folder(folder: Path) -> Checkpoint:
    """Check a model folder by its headers.

    Raises:
        ModelError: see `folder_values`; weights are missing, of other shapes than the config describes, or hold
            tensors that change the model's numbers and are not computed with.
        StorageError: a file is missing, cut short or unreadable.
    """
    values = folder_values(folder)
    other = other_families.is_known(values.get("model_type"))
    config = None if other else parse_config(folder / "config.json", values)
    held = _held(folder)
    packed = dequantize.find(folder, values, held)
    if packed is not None:
        held = packed.dense()
    _refuse_quantized(folder, held)
    _refuse_wrapped(folder, held)
    found = _check_other(folder, values, held) if config is None else match(folder, config, held)
    unpacked = () if packed is None else (f"The weights are quantized ({packed.method}) and were unpacked.",)
    return replace(found, notices=(*found.notices, *unpacked, *_unread_files(folder)))


def _held(folder: Path) -> dict[str, weights.TensorInfo]:
    """The tensors of all files of a folder.

    Raises:
        ModelError: two files hold one tensor with different numbers.
    """
    held: dict[str, weights.TensorInfo] = {}
    file_of: dict[str, Path] = {}
    for path in weights.files(folder):
        found = weights.header(path)
        for name in found.keys() & held.keys():
            if weights.raw(path, found[name]) != weights.raw(file_of[name], held[name]):
                raise ModelError(
                    f"The tensor {name[:80]} is in {file_of[name].name} and, with other numbers, in {path.name}.",
                    where=str(folder),
                    next_step="Delete the file that does not belong to this model, or fetch the model again.",
                )
        held |= found
        file_of |= dict.fromkeys(found, path)
    return held


def read_weights(folder: Path, found: Checkpoint, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a folder that was checked, by transformers' names; unpacked where they are quantized.

    Raises:
        ModelError, StorageError: as `engine.models.hub.weights.read`.
    """
    packed = dequantize.find(folder, folder_values(folder), _held(folder))
    return weights.read(folder, dtype, found.names) if packed is None else packed.read(dtype, found.names)


def is_bfloat16(folder: Path) -> bool:
    """Whether all weights of a folder that was checked are bfloat16."""
    return all(info.dtype == "BF16" for path in weights.files(folder) for info in weights.header(path).values())


def _unread_files(folder: Path) -> tuple[str, ...]:
    """A sentence on weights of the folder that are not read."""
    read = {path.name for path in weights.files(folder)}
    others = sorted(path.name for path in folder.glob("*.safetensors") if path.name not in read)
    if not others:
        return ()
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return (f"Weights in the folder that are not read: {', '.join(others[:5])}{more}.",)


def _check_other(folder: Path, values: Mapping[str, Any], held: Mapping[str, weights.TensorInfo]) -> Checkpoint:
    """A folder of a family that transformers' own modules compute. Whether each weight has its place is found when it
    is loaded: some families keep them in files otherwise than in modules."""
    _refuse_lora(folder, held)
    path = folder / "config.json"
    count = sum(math.prod(info.shape) for info in held.values())
    try:
        config = other_families.read_config(values, transformers_config(path, values), count)
    except ConfigError as problem:
        raise _unusable(path, problem) from None
    return Checkpoint(config, {name: name for name in held})


def _refuse_quantized(folder: Path, held: Mapping[str, weights.TensorInfo]) -> None:
    kinds = sorted(
        {info.dtype for name, info in held.items() if info.dtype in _QUANTIZED_TYPES or _is_whole(name, info)}
    )
    if kinds:
        raise quantized(str(folder), kinds[0])
    if any(_QUANTIZED.search(name) for name in held):
        raise quantized(str(folder), "")


def _is_whole(name: str, info: weights.TensorInfo) -> bool:
    """Whether a weight is of whole numbers: without a scale it means nothing."""
    return name.endswith(".weight") and info.dtype.startswith(("I", "U", "BOOL"))


def _refuse_wrapped(folder: Path, held: Collection[str]) -> None:
    for mark, wrapper in {**_WRAPPERS, "module.": "DistributedDataParallel"}.items():
        found = [name for name in held if name.startswith(mark) or (mark in _WRAPPERS and mark in name)]
        if found:
            inner = "model._orig_mod" if mark == "_orig_mod." else "model.module"
            raise ModelError(
                f"The names of {len(found)} weights hold {mark!r}: a model wrapped by {wrapper} was saved.",
                where=str(folder),
                next_step=f"Save the model inside it: `{inner}.save_pretrained(FOLDER)`.",
            )


def match(folder: Path, config: ModelConfig, held: Mapping[str, weights.TensorInfo]) -> Checkpoint:
    """Find a checkpoint's tensors among those that the config's model is made of.

    Raises:
        ModelError: as `check_folder`.
    """
    _refuse_lora(folder, held)
    wanted = tensor_shapes(config)
    names, renamed = _renamed(config, held)
    used = {old: new for old, new in names.items() if new in wanted}
    _check_size(folder, config, held)
    _check_shapes(folder, wanted, {names[old]: held[old].shape for old in used})
    if config.tied and "lm_head.weight" in names.values():
        used |= {old: new for old, new in names.items() if new == "lm_head.weight"}
    unused = sorted(new for old, new in names.items() if old not in used and not _BUFFERS.search(new))
    _refuse_unused(folder, config, unused)
    notices = [f"The weights hold {_listed(unused)} that this model does not use."] if unused else []
    if renamed:
        notices.append(f"The names of the weights begin with {renamed!r}, which was taken off.")
    return Checkpoint(config, used, tuple(notices))


def _refuse_lora(folder: Path, held: Collection[str]) -> None:
    lora = [name for name in held if _LORA.search(name)]
    if lora:
        raise ModelError(
            f"The weights hold {_listed(lora)}: an adapter that was not merged, which Redraft would leave out.",
            where=str(folder),
            next_step="Merge the adapter before saving the model (peft's `merge_and_unload`).",
        )


def _renamed(config: ModelConfig, held: Collection[str]) -> tuple[dict[str, str], str]:
    """The file's names -> transformers' names, without a prefix; and the prefix that was taken off."""
    modules = MODULES[config.family]
    plain = {name: name for name in held}
    key = f"{modules.embedding}.weight"
    found = sorted((name for name in plain.values() if name == key or name.endswith(f".{key}")), key=len)
    if not found:
        return plain, ""
    prefix, base = found[0][: -len(key)], f"{modules.base}."
    if prefix == base:
        return plain, ""
    if prefix.endswith(f".{base}"):
        outer = prefix[: -len(base)]
        return {old: new.removeprefix(outer) for old, new in plain.items()}, outer
    # Saved without the head: every name lacks the base's own.
    own = {old: new.removeprefix(prefix) for old, new in plain.items()}
    return {old: new if new.startswith("lm_head.") else base + new for old, new in own.items()}, prefix


def _check_size(folder: Path, config: ModelConfig, held: Mapping[str, weights.TensorInfo]) -> None:
    """Refuse a config that promises another model than the weights hold, before memory is taken for it."""
    count = sum(math.prod(info.shape) for info in held.values())
    # Files may hold a tied output matrix or attention masks beside the parameters; they never hold much less.
    if count < 0.98 * config.parameters:
        missing = sorted(set(tensor_shapes(config)) - set(_renamed(config, held)[0].values()))[:3]
        lacking = f" Missing are {', '.join(missing)}." if missing and len(held) else ""
        raise ModelError(
            f"The weights hold {count:,} numbers, and the config describes {config.parameters:,} parameters.{lacking}",
            where=str(folder),
            next_step=_AGAIN,
        )


def _check_shapes(folder: Path, wanted: Mapping[str, tuple[int, ...]], held: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in wanted if name not in held]
    if missing:
        raise ModelError(f"The weights lack {_listed(missing)}.", where=str(folder), next_step=_AGAIN)
    other = [name for name, shape in wanted.items() if held[name] != shape]
    if other:
        name = other[0]
        raise ModelError(
            f"The weights do not fit the config: {name} is {list(held[name])}, and the config describes "
            f"{list(wanted[name])}.",
            where=str(folder),
            next_step=_AGAIN,
        )


def _refuse_unused(folder: Path, config: ModelConfig, unused: Sequence[str]) -> None:
    """Refuse tensors of the part that is computed with: leaving them out would give other numbers."""
    modules = MODULES[config.family]
    blocks = tuple(block_prefix(config, layer) for layer in range(config.num_layers))
    beyond = f"{modules.base}.{modules.blocks}."
    inside = [
        name
        for name in unused
        if name.startswith(blocks)
        or (name.startswith(f"{modules.base}.") and not name.startswith(beyond))
        or name.startswith("lm_head.")
    ]
    if not inside:
        return
    biases = all(name.endswith(".bias") for name in inside)
    setting = " (`attention_bias`, `mlp_bias`)" if biases and config.family == "llama" else ""
    raise ModelError(
        f"The weights hold {_listed(inside)} that the config does not name{setting}: without them the model would give "
        "other numbers.",
        where=str(folder),
        next_step="Use the config that these weights were trained with, or another copy of the model.",
    )


def _listed(names: Sequence[str]) -> str:
    """ "24 tensors (a, b, c and 21 more)" """
    shown = sorted(names)[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{len(names)} tensor{'s' * (len(names) != 1)} ({', '.join(name[:80] for name in shown)}{more})"
