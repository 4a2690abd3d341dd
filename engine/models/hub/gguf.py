"""GGUF files: what their header says, the config and tensors of the model in transformers' terms, and how their
tokenizer splits a text.

A file is refused by the name of what is not computed: a model from a GGUF file gives the numbers of the model that the
file was made from (within 1e-4 in float32; see docs/log/field.md), or none.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.errors import ModelError, StorageError
from engine.models.hub import weights
from engine.models.hub.checkpoint import parse_config
from engine.models.nn.config import ModelConfig
from engine.models.nn.tensor_names import MODULES, block_prefix, qk_norm_names, tensor_shapes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")
"""Values of `general.architecture` that are read; those of llama.cpp for the families of the same names, and mistral's
models are "llama" too."""

_AGAIN = "Fetch or copy the model again."
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_KEPT = 4_096
"""Elements up to which an array of the header is kept; vocabularies are longer and read by the tokenizer."""
_MAX_TENSORS = 1_000_000
_MAX_TEXT = 64_000_000


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a file: shape in torch's order, ggml's number of its type, first byte and bytes."""

    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the weights: the metadata without long arrays, and the tensors by name."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, GgufTensor] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of this architecture, such as "rope.freq_base"."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


def read_header(path: Path, max_kept: int = _MAX_KEPT) -> GgufHeader:
    """The header of a GGUF file; arrays of more than `max_kept` elements are left empty.

    Raises:
        ModelError: it is not a GGUF file, or damaged.
        StorageError: it is missing or cannot be read.
    """
    size = weights.regular(path)
    return _read_header(path, size, path.stat().st_mtime_ns, max_kept)


@lru_cache(maxsize=4)
def _read_header(path: Path, size: int, _changed: int, max_kept: int) -> GgufHeader:
    """Once for a file as it stands: a vocabulary of 150,000 tokens takes seconds to skip."""
    try:
        weights.refuse_lfs_pointer(path)
        with path.open("rb") as file:
            return _Reader(file, size, max_kept).header()
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None
    except _Foreign as error:
        raise ModelError(str(error), where=str(path)) from None
    except (ValueError, struct.error, KeyError, OverflowError, MemoryError):
        raise ModelError("The header of this GGUF file is damaged.", where=str(path), next_step=_AGAIN) from None


class _Foreign(Exception):
    """Something else than a GGUF file that is read here."""


class _Reader:
    """Reads the header front to back; everything that a length says is checked against the file's size."""

    def __init__(self, file: BinaryIO, size: int, max_kept: int) -> None:
        self._max_kept = max_kept
        self._file = file
        self._size = size

    def header(self) -> GgufHeader:
        if self._file.read(4) != b"GGUF":
            raise _Foreign("This is not a GGUF file: it does not begin with GGUF. Fetch or copy it again.")
        (version,) = self._unpack("<I")
        if version in (2 << 24, 3 << 24):
            raise _Foreign("This GGUF file is written for big-endian machines.")
        if version not in (2, 3):
            raise _Foreign(f"This is a GGUF file of version {version}; versions 2 and 3 are read.")
        tensors, pairs = self._unpack("<QQ")
        if tensors > _MAX_TENSORS or pairs > _MAX_TENSORS:
            raise ValueError
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._text()
            metadata[key] = self._value(*self._unpack("<I"))
        found = [self._tensor() for _ in range(tensors)]
        if len(metadata) < pairs or len({name for name, *_ in found}) < tensors:
            raise ValueError
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20:
            raise ValueError
        start = -(-self._file.tell() // alignment) * alignment
        return GgufHeader(metadata, {n: GgufTensor(s, k, start + at, _size(s, k)) for n, s, k, at in found})

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))

    def _take(self, count: int) -> bytes:
        if count > self._size:
            raise ValueError
        data = self._file.read(count)
        if len(data) != count:
            raise ValueError
        return data

    def _text(self) -> str:
        (length,) = self._unpack("<Q")
        if length > _MAX_TEXT:
            raise ValueError
        return self._take(length).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._unpack(_FORMATS[kind])[0]
        kind, count = self._unpack("<IQ")
        if count > self._size:
            raise ValueError
        if kind == _STRING:
            kept = [self._text() for _ in range(count)]
            return kept if count <= self._max_kept else []
        width = struct.calcsize(_FORMATS[kind])
        data = self._take(count * width)
        return list(struct.unpack(f"<{count}{_FORMATS[kind][1]}", data)) if count <= self._max_kept else []

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text()
        (count,) = self._unpack("<I")
        if count > 8:
            raise ValueError
        dims = self._unpack(f"<{count}Q")
        kind, offset = self._unpack("<IQ")
        return name, tuple(reversed(dims)), kind, offset


def _size(shape: tuple[int, ...], kind: int) -> int:
    """Bytes of a tensor; 0 for a type that is not known, which is refused by its name later."""
    from gguf.constants import GGML_QUANT_SIZES

    elements, size = GGML_QUANT_SIZES.get(kind, (1, 0))
    return int(math.prod(shape) // elements * size)


@cache
def _is_read(kind: int) -> bool:
    """Whether weights of this type can be unpacked: tried with one block."""
    import numpy as np
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        found = GGMLQuantizationType(kind)
        dequantize(np.zeros((1, GGML_QUANT_SIZES[found][1]), np.uint8), found)
    except (ValueError, KeyError, NotImplementedError):
        return False
    return True


@dataclass(frozen=True)
class GgufModel:
    """A GGUF file that was checked.

    Args:
        header: the file's.
        values: the config in transformers' terms.
        config: the same, read.
        names: the file's name of a tensor -> transformers' name.
        notices: sentences on what a user has to know.
    """

    header: GgufHeader
    values: Mapping[str, Any]
    config: ModelConfig
    names: Mapping[str, str]
    notices: tuple[str, ...] = ()


def check(path: Path) -> GgufModel:
    """Check a GGUF file by its header.

    Raises:
        ModelError: it is damaged, a part of a split file, of an architecture or with a feature that is not computed, or
            tensors are missing or would be left out.
        StorageError: it is missing, cut short or cannot be read.
    """
    header = read_header(path)
    try:
        return _checked(path, header)
    except (TypeError, ValueError, ArithmeticError):
        # Any key can hold a value of any type.
        raise ModelError("The metadata of this GGUF file is damaged.", where=str(path), next_step=_AGAIN) from None


def _checked(path: Path, header: GgufHeader) -> GgufModel:
    metadata = header.metadata
    if metadata.get("split.count", 0) > 1:
        raise ModelError(
            f"This is one part of a GGUF file that was split into {metadata['split.count']}.",
            where=str(path),
            next_step="Merge the parts (`llama-gguf-split --merge FIRST.gguf MERGED.gguf`), then name the merged file.",
        )
    if "adapter.type" in metadata or metadata.get("general.type") == "adapter":
        raise ModelError(
            "This GGUF file holds an adapter, not a whole model.",
            where=str(path),
            next_step="Merge it into its model with `llama-export-lora`; then name the merged file.",
        )
    if header.architecture not in ARCHITECTURES:
        raise ModelError(
            f"This GGUF file holds a model of the architecture {header.architecture[:40]!r}; "
            f"{', '.join(ARCHITECTURES)} are read.",
            where=str(path),
            next_step="Name the folder of the same model in safetensors, or another model.",
        )
    notices = _check_keys(path, header)
    values = _config_values(path, header)
    config = parse_config(path, values)
    _check_ids(path, metadata, config.vocab_size)
    names = tensor_names(config)
    _check_tensors(path, header, config, names)
    return GgufModel(header, values, config, names, (*notices, *_pre_tokenizer_notices(path, metadata)))


_READ_KEYS = frozenset(
    (
        "context_length", "embedding_length", "block_count", "feed_forward_length", "expert_count",
        "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
        "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.sliding_window",
        "rope.dimension_count", "rope.freq_base",
        "rope.scale_linear", "rope.scaling.type", "rope.scaling.factor", "rope.scaling.attn_factor",
        "rope.scaling.original_context_length", "rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor",
        "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_log_multiplier",
        # These say nothing about the arithmetic.
        "vocab_size", "rope.scaling.finetuned", "tensor_data_layout", "expert_used_count",
    )
)  # fmt: skip
"""Keys of an architecture that are read, or do not matter."""
_ARITHMETIC = re.compile(
    r"logit_scale|residual_scale|embedding_scale|\w*softcapping|use_parallel_residual|leading_dense|interleave_moe"
    r"|moe_every|nextn_predict|full_attention|swin_norm|altup|embedding_length_|activation_sparsity|expert_"
    r"|attention\.(?:causal|clamp_kqv|max_alibi_bias|scale|output_scale|temperature|sliding_window_pattern|shared_kv"
    r"|\w*lora_rank|\w+_length_mla|relative|group_norm|layer_indices|\w+_swa)"
    r"|rope\.(?:dimension_sections|freq_base_swa|scaling\.alpha)|ssm\.|wkv\.|shortconv|xielu"
)
"""Keys of llama.cpp that change what a model computes, and are not computed here."""


def _check_keys(path: Path, header: GgufHeader) -> tuple[str, ...]:
    """A sentence on the keys of the architecture that are not used.

    Raises:
        ModelError: one changes what the model computes.
    """
    start = f"{header.architecture}."
    unknown = []
    for key, value in header.metadata.items():
        if not key.startswith(start) or (name := key[len(start) :]) in _READ_KEYS:
            continue
        if not _ARITHMETIC.match(name):
            unknown.append(key)
        elif not _is_neutral(name, value):
            raise _unsupported(path, f"`{key[:80]}`")
    if not unknown:
        return ()
    shown = ", ".join(key[:80] for key in unknown[:5])
    return (f"Keys of the GGUF file that are not used: {shown}{', …' if len(unknown) > 5 else ''}.",)


def _is_neutral(name: str, value: Any) -> bool:
    """Whether a key with this value changes nothing."""
    if name == "attention.causal":
        return value is not False
    return not value or (name.endswith(("scale", "scaling.alpha")) and value == 1)


def _check_ids(path: Path, metadata: Mapping[str, Any], vocab: int) -> None:
    for name in ("bos", "eos", "eot", "eom", "padding", "unknown"):
        key = f"tokenizer.ggml.{name}_token_id"
        value = metadata.get(key)
        # Converters write the largest number for "none".
        if type(value) is int and vocab <= value < 0xFFFFFFFF:
            raise ModelError(
                f"`{key}` of this GGUF file is {value}, and its vocabulary has {vocab:,} tokens.",
                where=str(path),
                next_step="Convert the model to GGUF anew, or name another file of it.",
            )


def _unsupported(path: Path, what: str) -> ModelError:
    return ModelError(
        f"This GGUF file has {what}, which is not supported.",
        where=str(path),
        next_step="Name the folder of the same model in safetensors, or another model.",
    )


def _config_values(path: Path, header: GgufHeader) -> dict[str, Any]:
    get, tensors = header.get, header.tensors
    if get("expert_count", 0):
        raise _unsupported(path, f"{get('expert_count')} experts")
    for key in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        if isinstance(get(key), list):
            raise _unsupported(path, f"`{header.architecture}.{key}` by layer")
    heads, kv_heads, hidden = get("attention.head_count"), get("attention.head_count_kv"), get("embedding_length")
    embedding = tensors.get("token_embd.weight")
    values: dict[str, Any] = {
        "model_type": header.architecture,
        "vocab_size": embedding.shape[0] if embedding is not None and embedding.shape else None,
        "tie_word_embeddings": "output.weight" not in tensors,
        "_model_name_or_path": header.metadata.get("general.name"),
        **_special_ids(header.metadata),
    }
    if header.architecture == "gpt2":
        return values | {
            "n_embd": hidden,
            "n_layer": get("block_count"),
            "n_head": heads,
            "n_positions": get("context_length"),
            "n_inner": get("feed_forward_length"),
            "layer_norm_epsilon": _required(path, header, "attention.layer_norm_epsilon"),
        }
    head_dim = _head_dim(path, header, heads, hidden)
    values |= {
        "hidden_size": hidden,
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads if kv_heads is not None else heads,
        "head_dim": head_dim,
        "intermediate_size": get("feed_forward_length"),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": _required(path, header, "attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(path, header),
    }
    if get("attention.sliding_window"):
        values["max_position_embeddings"] = min(get("context_length"), get("attention.sliding_window"))
    if header.architecture in ("llama", "qwen3"):
        values["attention_bias"] = any(
            name.endswith((".attn_q.bias", ".attn_k.bias", ".attn_v.bias", ".attn_output.bias")) for name in tensors
        )
    if header.architecture == "llama":
        values["mlp_bias"] = any(
            name.endswith((".ffn_gate.bias", ".ffn_up.bias", ".ffn_down.bias")) for name in tensors
        )
    return values


def _required(path: Path, header: GgufHeader, key: str) -> Any:
    value = header.get(key)
    if value is None:
        where = f"{header.architecture}.{key}"
        raise ModelError(f"The GGUF file lacks the key `{where}`.", where=str(path), next_step=_AGAIN)
    return value


def _head_dim(path: Path, header: GgufHeader, heads: Any, hidden: Any) -> Any:
    get = header.get
    found = get("attention.key_length")
    if found is None and type(heads) is int and type(hidden) is int and heads > 0:
        found = get("rope.dimension_count") if header.architecture == "llama" else hidden // heads
        found = hidden // heads if found is None else found
    for key in ("attention.value_length", "rope.dimension_count"):
        if get(key, found) != found:
            raise _unsupported(path, f"`{header.architecture}.{key}` of {get(key)} with heads of {found}")
    return found


def _special_ids(metadata: Mapping[str, Any]) -> dict[str, Any]:
    def token(name: str) -> int | None:
        value = metadata.get(f"tokenizer.ggml.{name}_token_id")
        return value if type(value) is int and 0 <= value < 1 << 31 else None

    ends = [i for i in dict.fromkeys(token(name) for name in ("eos", "eot", "eom")) if i is not None]
    return {
        "bos_token_id": token("bos"),
        "eos_token_id": ends[0] if len(ends) == 1 else (ends or None),
        "pad_token_id": token("padding"),
        "unk_token_id": token("unknown"),
    }


def _rope(path: Path, header: GgufHeader) -> dict[str, Any]:
    """Rope settings in transformers' terms. `rope_freqs.weight` is applied when the model is built."""
    get = header.get
    factor = get("rope.scaling.factor") or get("rope.scale_linear") or 1.0
    # llama.cpp takes a factor without a type as linear.
    kind = get("rope.scaling.type", "linear")
    rope: dict[str, Any] = {"rope_theta": float(get("rope.freq_base", 10_000.0)), "rope_type": "default"}
    long = [name for name in header.tensors if name.startswith("rope_factors_")]
    if long or kind == "longrope":
        raise _unsupported(path, "the rope scaling 'longrope'")
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return rope
    if kind == "linear":
        return rope | {"rope_type": "linear", "factor": float(factor)}
    if kind != "yarn":
        raise _unsupported(path, f"the rope scaling {str(kind)[:40]!r}")
    if get("rope.scaling.yarn_ext_factor", 1.0) != 1.0 or get("rope.scaling.yarn_log_multiplier"):
        raise _unsupported(path, "a rope scaling 'yarn' with factors of its own")
    return rope | _yarn(header, factor)


def _yarn(header: GgufHeader, factor: float) -> dict[str, Any]:
    get = header.get
    rope: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": float(factor),
        "original_max_position_embeddings": get("rope.scaling.original_context_length") or get("context_length"),
        "beta_fast": float(get("rope.scaling.yarn_beta_fast", 32.0)),
        "beta_slow": float(get("rope.scaling.yarn_beta_slow", 1.0)),
    }
    attention = float(get("rope.scaling.attn_factor", 1.0)) * float(get("rope.scaling.yarn_attn_factor", 1.0))
    if attention != 1.0:
        rope["attention_factor"] = attention * (0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
    return rope


def tensor_names(config: ModelConfig) -> dict[str, str]:
    """The file's names -> transformers' names, of all tensors that the model is made of."""
    modules = MODULES[config.family]
    tops = {
        "token_embd": f"{modules.base}.{modules.embedding}",
        "output_norm": f"{modules.base}.{modules.final_norm}",
        "output": "lm_head",
    }
    if modules.positions is not None:
        tops["position_embd"] = f"{modules.base}.{modules.positions}"
    block: dict[str, str | None] = {
        "attn_norm": modules.attention_norm,
        "attn_output": modules.out,
        "ffn_norm": modules.ffn_norm,
        "ffn_gate": modules.gate,
        "ffn_up": modules.up,
        "ffn_down": modules.down,
    }
    qkv = ("attn_qkv",) if len(modules.qkv) == 1 else ("attn_q", "attn_k", "attn_v")
    block |= dict(zip(qkv, modules.qkv, strict=True))
    if config.qk_norm:
        block |= dict(zip(("attn_q_norm", "attn_k_norm"), qk_norm_names(config), strict=True))
    wanted = tensor_shapes(config)
    found = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in tops.items() for kind in ("weight", "bias")}
    for layer in range(config.num_layers):
        prefix = block_prefix(config, layer)
        for ours, theirs in block.items():
            for kind in ("weight", "bias"):
                found[f"blk.{layer}.{ours}.{kind}"] = f"{prefix}{theirs}.{kind}"
    return {ours: theirs for ours, theirs in found.items() if theirs in wanted}


ROPE_FREQS = "rope_freqs.weight"
ROPE_FREQS_OF = "llama"
"""The architecture whose frequencies llama.cpp divides by that tensor; it refuses files of others that have it."""
_OPTIONAL_BIASES = ("llama", "qwen3")
"""Architectures whose projections have biases in some models only; of others, llama.cpp wants each."""


def _check_tensors(path: Path, header: GgufHeader, config: ModelConfig, names: Mapping[str, str]) -> None:
    size = weights.regular(path)
    wanted = tensor_shapes(config)
    _refuse_unused(path, header, config, names)
    used = {names[name]: name for name in header.tensors if name in names}
    optional = ".bias" if header.architecture in _OPTIONAL_BIASES else None
    missing = [name for name in wanted if name not in used and not (optional and name.endswith(optional))]
    if missing:
        shown = ", ".join(missing[:3])
        raise ModelError(f"The GGUF file lacks {shown}.", where=str(path), next_step=_AGAIN)
    for theirs, name in used.items():
        tensor = header.tensors[name]
        shape = wanted[theirs][::-1] if _transposed(config, theirs) else wanted[theirs]
        if tensor.shape != shape:
            raise ModelError(
                f"The GGUF file does not fit its own metadata: {name} is {list(tensor.shape)}, and not {list(shape)}.",
                where=str(path),
                next_step=_AGAIN,
            )
    if any(tensor.start + tensor.size > size for tensor in header.tensors.values()):
        raise ModelError("This GGUF file is cut short.", where=str(path), next_step=_AGAIN)


def _refuse_unused(path: Path, header: GgufHeader, config: ModelConfig, names: Mapping[str, str]) -> None:
    """Refuse tensors that are not computed with, or are of a type that cannot be unpacked."""
    rotated = ROPE_FREQS if header.architecture == ROPE_FREQS_OF else ""
    unused = sorted(name for name in header.tensors if name not in names and name != rotated)
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        noun = "a tensor that is" if len(unused) == 1 else f"{len(unused)} tensors that are"
        raise _unsupported(path, f"{noun} not computed with ({', '.join(unused[:3])}{more})")
    for name, tensor in header.tensors.items():
        if not _is_read(tensor.kind):
            raise _unsupported(path, f"weights of the type {_type_name(tensor.kind)} ({name})")
    frequencies = header.tensors.get(ROPE_FREQS)
    if frequencies is not None and math.prod(frequencies.shape) != config.rotary_dims // 2:
        raise ModelError(
            f"The GGUF file does not fit its own metadata: {ROPE_FREQS} has {math.prod(frequencies.shape)} numbers, "
            f"and not {config.rotary_dims // 2}.",
            where=str(path),
            next_step=_AGAIN,
        )


def _type_name(kind: int) -> str:
    from gguf.constants import GGMLQuantizationType

    try:
        return str(GGMLQuantizationType(kind).name)
    except ValueError:
        return f"number {kind}"


def _transposed(config: ModelConfig, name: str) -> bool:
    """Whether transformers keeps the matrix the other way round (gpt2's Conv1D)."""
    modules = MODULES[config.family]
    return modules.transposed and name.endswith(".weight") and f".{modules.blocks}." in name and ".ln_" not in name


def read_tensors(
    path: Path, model: GgufModel, dtype: torch.dtype, tick: Callable[[float], None] = lambda _: None
) -> tuple[dict[str, Tensor], Tensor | None]:
    """The weights under transformers' names in `dtype`, and the divisors of the rotary frequencies, where the file has
    some. Biases that only some projections of the file have are zero in the others.

    Raises:
        ModelError: a weight is not finite, or of a type that is not read.
        StorageError: the file cannot be read.
    """
    import torch

    found: dict[str, Tensor] = {}
    divisors = None
    in_file = {theirs: ours for ours, theirs in model.names.items()}
    for name, array in read_arrays(path, model, tick):
        tensor = torch.from_numpy(array)
        weights.check_finite(tensor, in_file.get(name, name), path)
        if name == ROPE_FREQS:
            divisors = tensor
            continue
        found[name] = tensor.to(dtype)
        weights.check_finite(found[name], in_file.get(name, name), path, cast=True)
    for name, shape in tensor_shapes(model.config).items():
        if name not in found:
            found[name] = torch.zeros(shape, dtype=dtype)
    return found, divisors


def read_arrays(
    path: Path, model: GgufModel, tick: Callable[[float], None] = lambda _: None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The weights in float32, each with transformers' name, in the order of the file; `ROPE_FREQS` keeps its own name.
    Without torch.

    Raises:
        ModelError: a weight is of a type that is not read.
        StorageError: the file cannot be read.
    """
    import numpy as np

    wanted = sorted(model.header.tensors.items(), key=lambda entry: entry[1].start)
    try:
        with path.open("rb") as file:
            for number, (name, info) in enumerate(wanted):
                array = _dequantized(path, file, name, info)
                if name == ROPE_FREQS:
                    yield name, array
                    continue
                theirs = model.names[name]
                if model.header.architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
                    heads = model.config.num_heads if ".attn_q." in name else model.config.num_kv_heads
                    array = _unpermuted(array, heads)
                if _transposed(model.config, theirs):
                    array = np.ascontiguousarray(array.T)
                yield theirs, array
                tick((number + 1) / len(wanted))
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None


def _dequantized(path: Path, file: BinaryIO, name: str, info: GgufTensor) -> NDArray[np.float32]:
    import numpy as np
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    file.seek(info.start)
    raw = np.fromfile(file, dtype=np.uint8, count=info.size)
    if len(raw) != info.size:
        raise ModelError("This GGUF file is cut short.", where=str(path), next_step=_AGAIN)
    rows = math.prod(info.shape[:-1])
    kind = GGMLQuantizationType(info.kind)
    try:
        values = dequantize(raw.reshape(rows, -1), kind)
    except (NotImplementedError, ValueError):
        raise _unsupported(path, f"weights of the type {kind.name} ({name})") from None
    return np.ascontiguousarray(values, dtype=np.float32).reshape(info.shape)


def _unpermuted(tensor: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows as transformers rotates them: llama.cpp's converter interleaves the two halves of each head."""
    half = tensor.shape[0] // heads // 2
    return tensor.reshape(heads, half, 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


_GPT2 = ("gpt-2", "phi-2", "olmo", "mpt", "jais", "jina-es", "jina-de", "gigachat", "trillion", "granite-docling")
_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
"""Each digit for itself, then as gpt-2."""
_LLAMA3 = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2")
_IGNORE_MERGES = (*_LLAMA3, "tekken")
"""A word that is a token as a whole is taken as one, whatever the merges say."""
_BY_TRANSFORMERS = (*_LLAMA3, "dbrx", "smaug-bpe", "tekken", "qwen2", "deepseek-r1-qwen", "megrez", "gpt-4o")
_AS_QWEN2 = ("stablelm2", "hunyuan")

_HAN = r"[一-龥ࠀ-一가-퟿]+"
_SPLITS = {
    "deepseek-llm": (
        r"[\r\n]",
        r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+$",
        _HAN,
        r"\p{N}",
    ),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN, r"\p{N}"),
    "deepseek-v3": (
        r"\p{N}{1,3}",
        r"[一-龥぀-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
}
"""Regular expressions that a text is split by one after another, as llama.cpp does for these names."""


def _pre_tokenizer_notices(path: Path, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be said of a file's tokenizer.

    Raises:
        ModelError: it is one that is not read.
    """
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if model in (None, "none", "no_vocab"):
        raise ModelError(
            "This GGUF file holds no tokenizer.",
            where=str(path),
            next_step="Convert the model with its tokenizer, or name its folder in safetensors.",
        )
    if model not in ("gpt2", "llama"):
        raise _unsupported(path, f"the tokenizer {str(model)[:40]!r}")
    if model == "llama":
        return ()
    if pre in (None, "", "default"):
        return (
            "The GGUF file does not name its pre-tokenizer; texts are split as for gpt-2. If the model's own is "
            "another, it reads other tokens than it was trained on.",
        )
    if pre not in (*_GPT2, *_DIGITS, *_BY_TRANSFORMERS, *_AS_QWEN2, *_SPLITS):
        raise _unsupported(path, f"the pre-tokenizer {str(pre)[:40]!r}")
    return ()


def set_pre_tokenizer(tokenizer: Any, metadata: Mapping[str, Any]) -> None:
    """Give a tokenizer that transformers made of a GGUF file the splitting that the file names."""
    from tokenizers import Regex
    from tokenizers import pre_tokenizers as pre

    backend, name = tokenizer.backend_tokenizer, metadata.get("tokenizer.ggml.pre")
    if metadata.get("tokenizer.ggml.model") == "llama":
        _set_sentencepiece(backend, add_space=metadata.get("tokenizer.ggml.add_space_prefix") is not False)
        return
    bytes_only = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    if name in _DIGITS:
        splitting = pre.ByteLevel(add_prefix_space=False, use_regex=True)
        backend.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), splitting])
    elif name in _SPLITS:
        splits = [pre.Split(Regex(pattern), behavior="isolated") for pattern in _SPLITS[name]]
        backend.pre_tokenizer = pre.Sequence([*splits, bytes_only])
    elif name in _AS_QWEN2:
        from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

        split = pre.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
        backend.pre_tokenizer = pre.Sequence([split, bytes_only])
    elif name not in _BY_TRANSFORMERS:
        backend.pre_tokenizer = pre.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in _IGNORE_MERGES:
        backend.model.ignore_merges = True


def _set_sentencepiece(backend: Any, *, add_space: bool) -> None:
    """Split as sentencepiece and llama.cpp do: nothing but white space is changed. A space is put before a text, and
    before what follows a special token, whether or not it begins with one."""
    from tokenizers import decoders, normalizers

    prepended = [normalizers.Prepend("▁")] if add_space else []
    stripped = [decoders.Strip(content=" ", left=1, right=0)] if add_space else []
    backend.normalizer = normalizers.Sequence([*prepended, normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *stripped]
    )


_TURN_MARK = re.compile(r"<\|[^|<>\s{}]{1,64}\|>")


def add_turn_marks(tokenizer: Any) -> None:
    """Make every mark of turns that the chat template writes and the vocabulary holds a token of its own.

    Some converters wrote such tokens as normal ones, which no text is ever split into; llama.cpp corrects the ends of
    turns alike.
    """
    from tokenizers import AddedToken

    template = tokenizer.chat_template
    marks = dict.fromkeys(_TURN_MARK.findall(template)) if isinstance(template, str) else {}
    vocab, added = tokenizer.get_vocab(), {str(token.content) for token in tokenizer.added_tokens_decoder.values()}
    missing = [
        AddedToken(mark, special=True, normalized=False) for mark in marks if mark in vocab and mark not in added
    ]
    if missing:
        tokenizer.add_tokens(missing, special_tokens=True)
