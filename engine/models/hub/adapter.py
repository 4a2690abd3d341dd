"""LoRA adapters in peft's format: what a folder with one names as its base model, and its values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError, ModelError, RedraftError, StorageError
from engine.models.hub import catalog, weights
from engine.models.hub.catalog import Source
from engine.models.hub.tensor_files import read_tensors

if TYPE_CHECKING:
    from engine.models.nn.lora_weights import Adapter

PREFIX = "base_model.model."
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

_LONGEST_CHAIN = 8
"""Adapters on top of one another; more are taken for a circle."""


def base_name(source: Source) -> str:
    """The name of the model that an adapter was trained from, by its own config.

    Args:
        source: of the kind "adapter".

    Raises:
        ModelError: its config names none.
        StorageError: the config cannot be read.
    """
    assert source.path is not None
    name = weights.read_json(source.path / CONFIG).get("base_model_name_or_path")
    if not isinstance(name, str) or not name.strip():
        raise ModelError(
            "This adapter does not say which model it belongs to.",
            where=f"{source.path / CONFIG}, field `base_model_name_or_path`",
            next_step="Write the base model's name or path there.",
        )
    return name


def base_of(source: Source) -> Source:
    """The model that an adapter was trained from.

    Raises:
        ModelError: its config names none, or one that is not there; says which.
        StorageError: the config cannot be read.
    """
    name = base_name(source)
    try:
        return catalog.resolve(name)
    except ModelError as error:
        raise missing_base(source, name, error) from None


def missing_base(source: Source, name: str, error: RedraftError) -> ModelError:
    """The error for an adapter whose base model cannot be had; `error` says why."""
    reason = error.what.rstrip(".")
    return ModelError(
        f"The base model of this adapter, {catalog.shown(name)}, is missing ({reason[:1].lower() + reason[1:]}).",
        where=str(source.path),
        next_step=f"Fetch it, or write where it is into `base_model_name_or_path` of {CONFIG}.",
    )


def chain(source: Source) -> list[Source]:
    """The source, and what it was trained from, down to a whole model; one member where it is whole.

    Raises:
        ModelError, StorageError: as `base_of`; the adapters name each other in a circle; or it is a checkpoint, whose
            base model only its run knows.
    """
    found = [source]
    while found[-1].kind == "adapter":
        if len(found) > _LONGEST_CHAIN:
            raise ModelError(
                "The adapters name each other as base models.",
                where=str(source.path),
                next_step=f"Write the model that they were trained from into `base_model_name_or_path` of {CONFIG}.",
            )
        found.append(base_of(found[-1]))
    if found[-1].kind == "checkpoint":
        raise ModelError(
            "This is a checkpoint of a training, which `redraft compare` and `redraft run` read.",
            where=str(found[-1].path),
            next_step="Name the run's adapter/ instead.",
        )
    return found


def whole(name: str) -> Source:
    """What a name means (`catalog.resolve`); of an adapter the whole model that it changes, whose sizes, tokenizer and
    template are its own.

    Raises:
        ModelError, StorageError: as `catalog.resolve` and `chain`.
    """
    return chain(catalog.resolve(name))[-1]


def check(folder: Path) -> None:
    """Refuse, by its headers, an adapter that `load` would refuse.

    Raises:
        ModelError: only pickles are there.
        StorageError: a file is missing or damaged.
        InputError: it is not a plain LoRA adapter.
    """
    _read_scale(folder)
    _refuse_pickles(folder)
    weights.header(folder / WEIGHTS)


def load(folder: Path) -> Adapter:
    """Read an adapter in peft's format.

    Raises:
        ModelError: only pickles are there.
        StorageError: if a file is missing or damaged.
        InputError: if it is not a plain LoRA adapter (DoRA, biases, trained embeddings, several ranks by pattern).
    """
    from engine.models.nn.lora_weights import Adapter, LoraPair

    scale, rank = _read_scale(folder)
    _refuse_pickles(folder)
    values = read_tensors(folder / WEIGHTS)
    where = str(folder / WEIGHTS)
    pairs: dict[str, LoraPair] = {}
    for name, a in values.items():
        module, found, _ = name.removeprefix(PREFIX).partition(".lora_A.")
        if found:
            b = values.get(name.replace(".lora_A.", ".lora_B."))
            if b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
                raise StorageError(f"the matrices of {module} do not fit each other.", where=where)
            pairs[module] = LoraPair(a.float(), b.float(), scale)
        elif ".lora_B." not in name:
            raise InputError(f"{name} is not a LoRA matrix.", where=where)
    if not pairs:
        raise StorageError("the file holds no LoRA matrices.", where=where)
    return Adapter(pairs)


def _refuse_pickles(folder: Path) -> None:
    if not (folder / WEIGHTS).exists() and (folder / "adapter_model.bin").exists():
        raise ModelError(
            "This adapter's weights are a pickle (adapter_model.bin), which is never read.",
            where=str(folder),
            next_step=f"Save it as {WEIGHTS}: peft's `save_pretrained(FOLDER)` does.",
        )


def _read_scale(folder: Path) -> tuple[float, int]:
    """Scale and rank in the adapter's config, after checking that it is plain LoRA."""
    config = weights.read_json(folder / CONFIG)
    where = str(folder / CONFIG)
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("bias", "none") != "none":
        raise InputError("only plain LoRA adapters can be used (no DoRA, no biases).", where=where)
    if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("modules_to_save"):
        raise InputError("only adapters with one rank and no saved modules can be used.", where=where)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise InputError("r or lora_alpha is not a number.", where=where)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank, rank
