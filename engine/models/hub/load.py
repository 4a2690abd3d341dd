"""Reads a model and its tokenizer from a folder, a GGUF file or the hub, through transformers.

Nothing from outside is executed: no remote code, no pickles, no adapters or kernels that a config could name. The
files are read and checked here; transformers is given a config and tensors, so that it opens no file by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError, RedraftError
from engine.models.hub import checkpoint, gguf, weights
from engine.models.hub.hf_logging import quiet
from engine.models.hub.transformers_config import first_line, transformers_config
from engine.models.nn.config import FAMILIES, ModelConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16")

_AGAIN = "Fetch or copy the model again."

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def import_transformers() -> None:
    """Import what reading a model needs (about 2 s, once). transformers' lazy imports are not safe from two threads at
    once, so this comes before any are started."""
    from transformers import AutoConfig, AutoTokenizer  # noqa: F401
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    len(MODEL_FOR_CAUSAL_LM_MAPPING)


def torch_dtype(name: str) -> torch.dtype:
    """The torch type of one of `DTYPES`.

    Raises:
        ModelError: for any other name.
    """
    import torch

    if name not in DTYPES:
        raise ModelError(f"Unknown dtype {name!r}.", next_step=f"Choose one of {', '.join(DTYPES)}.")
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def folder_config(folder: Path) -> ModelConfig:
    """The model that a folder's config describes, without loading it.

    Raises:
        ModelError, StorageError: if there is no usable `config.json`; the message names file and field.
    """
    return checkpoint.parse_config(folder / "config.json", checkpoint.folder_values(folder))


def read_folder(folder: Path, dtype: str) -> PreTrainedModel:
    """The model in a folder, on the CPU, in eval mode.

    Raises:
        ModelError: if the config cannot be used, weights are missing or do not fit it, or only pickles are there.
        StorageError: if a file is missing, cut short or unreadable.
    """
    found = checkpoint.check_folder(folder)
    config = transformers_config(folder / "config.json", checkpoint.folder_values(folder))
    # sdpa leaves out the soft caps of some families; those of our own decoder have none.
    attention = "sdpa" if found.config.family in FAMILIES else "eager"
    model = _build(folder, config, checkpoint.read_weights(folder, found, torch_dtype(dtype)), dtype, attention)
    _take_ids(folder, model)
    return model


def _build(folder: Path, config: Any, tensors: dict[str, Any], dtype: str, attention: str = "sdpa") -> PreTrainedModel:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    try:
        with quiet():
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype=torch_dtype(dtype),
                attn_implementation=attention,
                output_loading_info=True,
            )
    except RedraftError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a wrong shape is a RuntimeError, others have types of their own
        raise ModelError(f"The weights do not fit the config: {first_line(error)}.", where=str(folder)) from None
    if info["missing_keys"] or info["unexpected_keys"]:
        names = ", ".join(sorted([*info["missing_keys"], *info["unexpected_keys"]])[:3])
        raise ModelError(f"The weights do not fit the config: {names}.", where=str(folder), next_step=_AGAIN)
    found: PreTrainedModel = model.eval()
    return found


def _take_ids(folder: Path, model: PreTrainedModel) -> None:
    """Take over which tokens end an answer: instruct models name more of them in `generation_config.json`."""
    path = folder / "generation_config.json"
    if not path.exists() or model.generation_config is None:
        return
    values = weights.read_json(path, checkpoint.LARGEST_CONFIG)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = values.get(key)
        # -1 and the like stand for "none" in some files, also beside ids that are some.
        ids = [i for i in (value if isinstance(value, list) else [value]) if type(i) is int and i >= 0]
        if ids:
            setattr(model.generation_config, key, ids if isinstance(value, list) else ids[0])


def folder_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder.

    Raises:
        ModelError: if it is missing or damaged, or would need code of its own.
    """
    present = [name for name in _TOKENIZER_FILES if (folder / name).exists()]
    if not present:
        raise ModelError(
            f"There is no tokenizer ({_TOKENIZER_FILES[0]}) in this folder.",
            where=str(folder),
            next_step="Copy the files whose names begin with tokenizer from the model that it was made from.",
        )
    for name in (*present, "tokenizer_config.json", "chat_template.jinja", "chat_template.json"):
        if (folder / name).exists() and weights.regular(folder / name) > 200_000_000:
            raise ModelError("This file is too large for a tokenizer's.", where=str(folder / name))
    from transformers import AutoTokenizer

    try:
        tokenizer = _tokenizer(
            folder, lambda: _as_its_file_says(AutoTokenizer.from_pretrained(folder, **_LOCAL), folder)
        )
        if not tokenizer.chat_template and (folder / "chat_template.json").exists():
            # Where transformers once kept it for processors; tokenizers do not read it.
            tokenizer.chat_template = weights.read_json(folder / "chat_template.json").get("chat_template")
        return tokenizer
    except ModelError:
        if "tokenizer.json" in present:
            raise
        # What was tried after it (tiktoken) is named in the error and has nothing to do with it.
        raise ModelError(
            f"This folder has its tokenizer only as {' and '.join(present)}, and Redraft needs tokenizer.json.",
            where=str(folder),
            next_step="Copy tokenizer.json from the model's page, or make it where the package sentencepiece is "
            "installed: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`.",
        ) from None


def _as_its_file_says(tokenizer: Any, folder: Path) -> Any:
    """The tokenizer with the splitting of its tokenizer.json, and nothing that pads or cuts texts.

    transformers builds the tokenizers of some classes (GPT2Tokenizer, LlamaTokenizer, Qwen2Tokenizer) anew from the
    vocabulary, with the splitting of the class: SmolLM2's and DeepSeek's files name such a class and another splitting.
    """
    from transformers import PreTrainedTokenizerFast

    path = folder / "tokenizer.json"
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer
    backend = tokenizer.backend_tokenizer
    if path.exists() and type(tokenizer) is not PreTrainedTokenizerFast:
        from tokenizers import Tokenizer

        own = Tokenizer.from_file(str(path))
        backend.model = own.model
        backend.normalizer, backend.pre_tokenizer = own.normalizer, own.pre_tokenizer
        backend.decoder = own.decoder
    # A file that was saved while training keeps its padding and its longest length.
    backend.no_padding()
    backend.no_truncation()
    return tokenizer


_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def _tokenizer(where: Path, make: Callable[[], Any]) -> PreTrainedTokenizerBase:
    from transformers import PreTrainedTokenizerBase

    try:
        with quiet():
            tokenizer = make()
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception for a damaged file
        problem = f"The tokenizer cannot be read: {first_line(error)}."
        raise ModelError(problem, where=str(where), next_step=_AGAIN) from None
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not tokenizer.is_fast:
        problem = "The tokenizer has no fast form (tokenizer.json), which Redraft needs."
        raise ModelError(problem, where=str(where), next_step="Save it with `save_pretrained` of a fast tokenizer.")
    # It would write an error to the terminal whenever it is asked for a special token that it has not.
    tokenizer.verbose = False
    return tokenizer


def read_gguf(path: Path, dtype: str, tick: Callable[[float], None] = lambda _: None) -> PreTrainedModel:
    """The model in a GGUF file, its weights unpacked to `dtype`. `tick` is called with the fraction that is done."""
    model, divisors = unpack_gguf(path, dtype, tick)
    return with_divisors(path, model, divisors)


def unpack_gguf(
    path: Path, dtype: str, tick: Callable[[float], None] = lambda _: None
) -> tuple[PreTrainedModel, list[float]]:
    """As `read_gguf`, and the divisors of its rotary frequencies, which are not applied yet; empty for none.

    Raises:
        ModelError: if it is damaged, or cannot be computed as the model that it was made from (`gguf.check`).
        StorageError: if it is missing or cannot be read.
    """
    found = gguf.check(path)
    config = transformers_config(path, found.values)
    tensors, divisors = gguf.read_tensors(path, found, torch_dtype(dtype), lambda part: tick(0.8 * part))
    model = _build(path, config, tensors, dtype)
    tick(1.0)
    return model, [] if divisors is None else divisors.flatten().tolist()


def with_divisors(path: Path, model: PreTrainedModel, divisors: list[float]) -> PreTrainedModel:
    """The model with its rotary frequencies divided; the same where there are no divisors.

    Raises:
        ModelError: they are not as many as the frequencies.
    """
    if not divisors:
        return model
    rotary = model.get_submodule("model.rotary_emb")
    frequencies: Any = rotary.inv_freq
    if frequencies.numel() != len(divisors):
        raise ModelError(
            f"The GGUF file does not fit its own metadata: {gguf.ROPE_FREQS} has {len(divisors)} numbers.",
            where=str(path),
        )
    rotary.inv_freq = frequencies / frequencies.new_tensor(divisors)
    return model


def gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that a GGUF file holds.

    Raises:
        ModelError, StorageError: as `read_gguf`.
    """
    header = gguf.read_header(path)
    from transformers import AutoTokenizer

    # Alone in a folder: transformers prefers files next to it, such as another model's tokenizer_config.json.
    with tempfile.TemporaryDirectory(prefix="redraft-gguf-") as folder:
        (Path(folder) / path.name).symlink_to(path.absolute())
        tokenizer = _tokenizer(path, lambda: AutoTokenizer.from_pretrained(folder, gguf_file=path.name, **_LOCAL))
    tokenizer.name_or_path = str(path.parent)
    gguf.set_pre_tokenizer(tokenizer, header.metadata)
    gguf.add_turn_marks(tokenizer)
    return tokenizer


def gguf_config(path: Path) -> ModelConfig:
    """The model that a GGUF file describes, without unpacking it.

    Raises:
        ModelError, StorageError: as `read_gguf`.
    """
    return gguf.check(path).config


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, vocab: int, where: Path) -> None:
    """Refuse a tokenizer that gives ids which the model has no embedding for.

    Raises:
        ModelError: naming both numbers.
    """
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= highest < vocab:
        raise ModelError(
            f"The tokenizer has ids up to {highest:,}, and the model knows {vocab:,} tokens.",
            where=str(where),
            next_step="Use the tokenizer that belongs to the model.",
        )


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens that end an answer, by the model's and the tokenizer's own word."""
    found: list[int] = []
    for value in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        found += value if isinstance(value, list) else [] if value is None else [value]
    vocab = int(model.config.vocab_size)
    return frozenset(token for token in found if type(token) is int and 0 <= token < vocab)
