"""Folds a run's adapter into its base model and writes the result as a folder that transformers, vLLM and others load.

The base model's own tokenizer, chat template and generation config are copied, so that the merged model is asked in the
same words as it was trained with. What was written is read again and compared with the adapter's own logits.
"""

from __future__ import annotations

import gc
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import InputError, ModelError, StorageError
from engine.export import gguf_write
from engine.export.answers import QUESTIONS, Agreement, compare
from engine.export.base_model import run_adapter, run_base
from engine.export.modelfile import modelfile
from engine.files import holds_something, new_folder, write_atomically
from engine.models.hub import adapter as adapter_files
from engine.models.hub import checkpoint, gguf, load, weights
from engine.models.hub.embedded import Progress, silent
from engine.models.hub.transformers_config import with_architecture
from engine.models.inference.requests import Message
from engine.runs.folder import read_config
from engine.runs.trainings import Training
from engine.training.lora import TRANSPOSED

if TYPE_CHECKING:
    from torch import Tensor

    from engine.models.local import LocalModel
    from engine.models.nn.decoder import LanguageDecoder
    from engine.models.nn.lora_weights import Adapter

MAX_DIFFERENCE = 1e-3
"""Largest difference of logits, in float32, between the merged model and the base model with its adapter."""

_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
    "generation_config.json",
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
)
"""What is taken over from the base model's folder as it is."""


_EXTRA_SPACE = 50_000_000


MODELFILE = "Modelfile"


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file of a merged model.

    Args:
        name: in the folder.
        kind: of its weights.
        nbytes: of the file.
        pre_tokenizer: the name of its way to split texts.
        answers: how many greedy answers are the merged model's, word for word.
    """

    name: str
    kind: str
    nbytes: int
    pre_tokenizer: str
    answers: Agreement


@dataclass(frozen=True)
class Merged:
    """What was written.

    Args:
        folder: config, weights, tokenizer.
        base: name of the base model.
        training: the one whose adapter was merged.
        dtype: of the weights.
        nbytes: of the weights.
        difference: largest difference of logits from the base model with its adapter, both in float32.
        gguf: the GGUF files in the folder.
    """

    folder: Path
    base: str
    training: Training
    dtype: str
    nbytes: int
    difference: float
    gguf: tuple[GgufFile, ...] = ()


def merge(
    run: Path,
    target: Path,
    *,
    training_seed: int | None = None,
    dtype: str = "",
    force: bool = False,
    progress: Progress = silent,
    gguf_kinds: Sequence[str] = (),
) -> Merged:
    """Write the trained model of a run as one model: `target` is there once it is whole.

    Args:
        run: the run's folder.
        target: a new or empty folder.
        training_seed: of the training whose adapter is merged; None takes the first.
        dtype: of the weights, one of `load.DTYPES`; "" keeps the base model's.
        force: use the base model also where its files have changed since the run.
        progress: called with the fraction done and a sentence.
        gguf_kinds: of GGUF files in the same folder, one of each, with an Ollama Modelfile for the first.

    Raises:
        InputError: the run has no such adapter, `target` holds something, or a GGUF type cannot be written here.
        ModelError: the base model cannot be loaded or is another, or the written model computes something else.
        StorageError: `target` cannot be written.
    """
    gguf_kinds = list(dict.fromkeys(gguf_write.check_kind(kind) for kind in gguf_kinds))
    training, adapter = run_adapter(run, training_seed)
    _check_target(target)
    if dtype:
        load.torch_dtype(dtype)
    base = run_base(run, lambda part, words: progress(0.3 * part, words), force=force)
    if gguf_kinds:
        gguf_write.check_family(base.config.family, base.name)
    expected = _logits(base.decoder, _tokens(base), adapter)
    try:
        with new_folder(target) as work:
            progress(0.35, "Merging the adapter into the weights.")
            kept = _write_model(run, base, adapter, work, dtype, lambda part: progress(0.4 + 0.4 * part, "Writing."))
            nbytes = sum(path.stat().st_size for path in weights.files(work))
            name, tokens = base.name, _tokens(base)
            del base
            gc.collect()
            progress(0.85, "Comparing the merged model with the adapter.")
            difference = _difference(work, tokens, expected)
            _check_difference(difference, kept, target)
            written = tuple(_write_gguf(work, run.name, kind, progress) for kind in gguf_kinds)
            if written:
                text = modelfile(written[0].name, load.folder_tokenizer(work), read_config(run).system)
                write_atomically(work / MODELFILE, text.encode(), 0o644)
    except OSError as error:
        raise _storage_error(error, target) from None
    progress(1.0, "The merged model is written.")
    return Merged(target, name, training, kept, nbytes, difference, written)


def _check_target(target: Path) -> None:
    try:
        if holds_something(target):
            raise InputError(
                "there is something already.", where=str(target), next_step="Name a new or an empty folder."
            )
    except OSError as error:
        raise _storage_error(error, target) from None


def _write_gguf(folder: Path, run: str, kind: str, progress: Progress) -> GgufFile:
    path = folder / f"{run}-{kind}.gguf"
    written = gguf_write.write(folder, path, kind, tick=lambda part: progress(part, f"Writing {path.name}."))
    progress(1.0, f"Checking {path.name}.")
    agreement = compare(folder, path, exact=kind == "F32")
    return GgufFile(path.name, kind, written.nbytes, written.pre_tokenizer, agreement)


def _check_difference(difference: float, dtype: str, target: Path) -> None:
    if math.isfinite(difference) and (dtype != "float32" or difference <= MAX_DIFFERENCE):
        return
    raise ModelError(
        f"The merged model computes something else than the adapter: logits differ by up to {difference:.3g}.",
        where=str(target),
        next_step="Report it; the adapter in the run's folder works with peft.",
    )


def _storage_error(error: OSError, target: Path) -> StorageError:
    return StorageError(
        f"the merged model cannot be written ({error.strerror or error}).",
        where=str(target),
        next_step="Check the folder's permissions and free space, or choose another place.",
    )


def _write_model(run: Path, base: LocalModel, adapter: Adapter, work: Path, dtype: str, tick: Any) -> str:
    """Write config, tokenizer and weights into `work`; returns the dtype of the weights."""
    config = base.config
    if base.folder is None:
        source = adapter_files.whole(read_config(run).generator)
        assert source.path is not None
        tensors = _from_gguf(source.path, base, work, dtype or "float32")
    else:
        found = checkpoint.check_folder(base.folder)
        tensors = weights.read(base.folder, None, found.names)
        _copy(base.folder, work)
    if config.tied:
        tensors.pop("lm_head.weight", None)
    kept = dtype or _dtype_of(tensors)
    torch_dtype = load.torch_dtype(kept)
    for one in (*base.built_in, adapter):
        _add(tensors, one, transposed=config.family in TRANSPOSED)
    for name in tensors:
        tensors[name] = tensors[name].to(torch_dtype)
        weights.check_finite(tensors[name], name, run, cast=True)
    _check_space(work, tensors)
    _set_dtype(work / "config.json", kept)
    weights.write(work / weights.SINGLE, tensors, tick)
    return kept


def _add(tensors: dict[str, Tensor], adapter: Adapter, *, transposed: bool) -> None:
    """Add the adapter's changes to the weights, in float32."""
    for module, pair in adapter.pairs.items():
        name = f"{module}.weight"
        if name not in tensors:
            raise ModelError(f"The adapter is not for this model: it has no {name}.")
        delta = pair.delta()
        tensors[name] = tensors[name].float() + (delta.t() if transposed else delta)


def _dtype_of(tensors: Mapping[str, Tensor]) -> str:
    """The dtype of most of the weights."""
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        name = str(tensor.dtype).removeprefix("torch.")
        counts[name] = counts.get(name, 0) + tensor.numel()
    most = max(counts, key=lambda name: counts[name])
    return most if most in load.DTYPES else "float32"


def _copy(source: Path, work: Path) -> None:
    shutil.copyfile(source / "config.json", work / "config.json")
    for pattern in _COPIED:
        for path in sorted(source.glob(pattern)):
            if path.is_dir():
                shutil.copytree(path, work / path.name)
            else:
                shutil.copyfile(path, work / path.name)


def _from_gguf(path: Path, base: LocalModel, work: Path, dtype: str) -> dict[str, Tensor]:
    """The weights of a GGUF file; its config and tokenizer are written as transformers writes them."""
    if gguf.ROPE_FREQS in gguf.read_header(path).tensors:
        raise ModelError(
            "This GGUF file scales its rotary frequencies by numbers that no config can hold.",
            where=str(path),
            next_step="Name the folder of the same model in safetensors as the generator of a run.",
        )
    model = load.read_gguf(path, dtype)
    model.config._name_or_path = base.name
    model.config.save_pretrained(work)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(work)
    base.tokenizer.save_pretrained(work)
    return dict(model.state_dict())


def _set_dtype(path: Path, dtype: str) -> None:
    values = with_architecture(weights.read_json(path))
    named = [key for key in ("dtype", "torch_dtype") if key in values] or ["dtype"]
    path.write_text(json.dumps({**values, **dict.fromkeys(named, dtype)}, indent=2) + "\n", "utf-8")


def _check_space(work: Path, tensors: Mapping[str, Tensor]) -> None:
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) + _EXTRA_SPACE
    free = shutil.disk_usage(work).free
    if free < needed:
        raise StorageError(
            f"there is no space for the merged model: it needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.",
            where=str(work.parent.parent),
            next_step="Free some space, or choose another place.",
        )


def _tokens(model: LocalModel) -> list[list[int]]:
    """The texts that the logits are compared on, by the model's own template."""
    rows = [model.encode([Message("user", question)]) for question in QUESTIONS]
    return [row[: model.context] for row in rows]


def _logits(decoder: LanguageDecoder, sequences: list[list[int]], adapter: Adapter | None) -> Tensor:
    """float32 [tokens, vocab] of all sequences."""
    import torch

    from engine.models.nn.decoder import pack

    tokens, positions = pack(sequences)
    lengths = [len(sequence) for sequence in sequences]
    with torch.inference_mode():
        hidden = decoder.forward(tokens, positions, decoder.causal(lengths), adapter=adapter).last
        return decoder.logits(hidden).float()


def _difference(folder: Path, sequences: list[list[int]], expected: Tensor) -> float:
    from engine.models.local import decoder_of

    decoder = decoder_of(load.read_folder(folder, "float32"), checkpoint.check_folder(folder).config, folder)
    return float((_logits(decoder, sequences, None) - expected).abs().max())
