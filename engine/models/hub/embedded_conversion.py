"""Writes the embedded model's GGUF file as a folder: config, tokenizer and float32 weights, as transformers reads them.

With numpy and `tokenizers` alone: importing torch and transformers takes longer than the conversion.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models.hub import catalog, gguf, weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTROL = 3
"""llama.cpp's type of a special token."""
_SPECIAL = ("bos", "eos", "pad", "unk")


def write_model(source: Path, work: Path, progress: Callable[[float, str], None]) -> dict[str, str]:
    """Write the model in the file `source` to the folder `work`, and sync it to the disk; returns the SHA-256 of each
    file.

    Raises:
        ModelError, StorageError: as `engine.models.hub.gguf.check`.
        OSError: the folder cannot be written.
    """
    progress(0.03, "Reading the embedded model's tokenizer.")
    model = gguf.check(source)
    metadata = gguf.read_header(source, max_kept=1_000_000).metadata
    ids = {key: model.values[f"{key}_token_id"] for key in _SPECIAL}
    tokens = metadata["tokenizer.ggml.tokens"]
    # The GGUF's own name for the model ("Smollm2 135M 8k Lc100K Mix1 Ep2") says nothing to anyone.
    config = {**model.values, "_model_name_or_path": catalog.EMBEDDED, "hidden_act": "silu", "dtype": "float32"}
    _write_json(work / "config.json", config)
    _write_json(work / "generation_config.json", {f"{key}_token_id": ids[key] for key in ("bos", "eos", "pad")})
    settings: dict[str, Any] = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers"}
    _write_json(
        work / "tokenizer_config.json",
        settings | {f"{key}_token": tokens[number] for key, number in ids.items() if number is not None},
    )
    (work / "tokenizer.json").write_text(_tokenizer(metadata).to_str(pretty=True), "utf-8")
    (work / "chat_template.jinja").write_text(metadata["tokenizer.chat_template"], "utf-8")
    hashes = {}
    for path in sorted(work.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        hashes[path.name] = weights.digest(path)
    unpacking = "Unpacking the embedded model (once for this machine)."
    arrays = dict(gguf.read_arrays(source, model, lambda part: progress(0.1 + 0.4 * part, unpacking)))
    hashes[weights.SINGLE] = weights.write(
        work / weights.SINGLE, arrays, lambda part: progress(0.5 + 0.49 * part, "Writing the embedded model.")
    )
    return hashes


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """The byte-level BPE tokenizer of the metadata, which splits digits (llama.cpp's pre-tokenizer "smollm")."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(
        models.BPE(
            {token: number for number, token in enumerate(tokens)},
            merges,
            continuing_subword_prefix="",
            end_of_word_suffix="",
            fuse_unk=False,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer
