"""Writes a model's folder as one GGUF file, as llama.cpp, Ollama and LM Studio load it.

Weights go through the package `gguf`, which writes F32, F16, BF16, Q8_0 and the older 4 and 5 bit types. K-quants need
llama.cpp's own quantizer: the program `llama-quantize`, or the package llama-cpp-python.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import InputError, ModelError
from engine.export import gguf_vocab
from engine.files import replaced_atomically
from engine.models.hub import checkpoint, gguf, load, weights
from engine.models.nn.config import ModelConfig
from engine.models.nn.tensor_names import MODULES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

WRITTEN = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""Types that the package `gguf` writes."""

QUANTIZED = ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "IQ4_XS", "IQ4_NL")
"""Types that llama.cpp's quantizer makes of an F16 file."""

_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2"}
_QUANTIZER = "llama-quantize"
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_BLOCK = 32
"""Numbers of one block of the written quantized types."""


@dataclass(frozen=True)
class Written:
    """A GGUF file that was written: its path, type, bytes, and the name of its way to split texts."""

    path: Path
    kind: str
    nbytes: int
    pre_tokenizer: str


def check_kind(kind: str) -> str:
    """The type's name in its usual spelling, once it is sure that it can be written here.

    Raises:
        InputError: there is no such type, or what makes it is not installed.
    """
    name = kind.upper().replace("-", "_")
    if name not in (*WRITTEN, *QUANTIZED):
        raise InputError(
            f"unknown GGUF type {kind[:40]!r}.",
            where="--gguf",
            next_step=f"Choose {', '.join((*WRITTEN, *QUANTIZED))}.",
        )
    if name in QUANTIZED and shutil.which(_QUANTIZER) is None and find_spec("llama_cpp") is None:
        raise InputError(
            f"{name} is made by llama.cpp's quantizer, which is not installed.",
            where="--gguf",
            next_step=f"Install llama.cpp so that `{_QUANTIZER}` is on the PATH (`brew install llama.cpp`), or "
            "`pip install llama-cpp-python`; Q8_0 and Q4_1 need neither.",
        )
    return name


def check_family(family: str, where: str) -> None:
    """Refuse models that cannot be written here.

    Raises:
        ModelError: naming the families that can.
    """
    if family not in _ARCHITECTURES:
        raise ModelError(
            f"Models of the family {family} cannot be written as GGUF here; {', '.join(_ARCHITECTURES)} can.",
            where=where,
            next_step="Merge without --gguf, then convert the folder with llama.cpp's convert_hf_to_gguf.py.",
        )


def write(folder: Path, path: Path, kind: str, *, tick: Callable[[float], None] = lambda _: None) -> Written:
    """Write the model of a folder as a GGUF file.

    Args:
        folder: config, tokenizer and safetensors.
        path: the file; one that is there is replaced once the new one is whole.
        kind: one of `WRITTEN` and `QUANTIZED`.
        tick: called with the fraction that is done.

    Raises:
        InputError: the type is unknown, or what makes it is not installed.
        ModelError: the model or its tokenizer cannot be written as GGUF.
        StorageError: the file cannot be written.
    """
    kind = check_kind(kind)
    config = load.folder_config(folder)
    check_family(config.family, str(folder))
    tokenizer = load.folder_tokenizer(folder)
    vocabulary = gguf_vocab.read(folder, tokenizer, config.vocab_size, config.family)
    write_kind = _write_file if kind in WRITTEN else _write_quantized
    with replaced_atomically(path) as part:
        write_kind(folder, part, kind, config, vocabulary, tick)
        gguf.check(part)
        part.chmod(0o644)
    return Written(path, kind, path.stat().st_size, vocabulary.pre)


def _write_file(
    folder: Path,
    path: Path,
    kind: str,
    config: ModelConfig,
    vocabulary: gguf_vocab.Vocabulary,
    tick: Callable[[float], None],
) -> None:
    from gguf import GGUFWriter, LlamaFileType

    architecture = _ARCHITECTURES[config.family]
    values = checkpoint.folder_values(folder)
    writer = GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name(folder.name)
    writer.add_file_type(int(LlamaFileType.ALL_F32 if kind == "F32" else LlamaFileType[f"MOSTLY_{kind}"]))
    writer.add_quantization_version(2)
    _add_sizes(writer, config, values)
    gguf_vocab.add(writer, vocabulary)
    tensors = weights.read(folder, load.torch_dtype("float32"), checkpoint.check_folder(folder).names)
    names = _names(config)
    for number, name in enumerate(sorted(names)):
        if name not in tensors:
            continue
        values_of = _converted(name, tensors.pop(name), config, architecture)
        _add_tensor(writer, names[name], values_of, kind)
        if architecture == "gpt2" and config.tied and names[name] == _EMBEDDING:
            # Versions of llama.cpp before 2025 do not load a GPT-2 without its output matrix.
            _add_tensor(writer, _OUTPUT, values_of, kind)
        tick(0.9 * (number + 1) / len(names))
    divisors = _rope_divisors(config, values)
    if divisors is not None and architecture != gguf.ROPE_FREQS_OF:
        raise ModelError(
            f"llama.cpp has no rope scaling of the type llama3 for the architecture {architecture}.",
            where=str(folder),
            next_step="Merge without --gguf, and use the folder with transformers or vLLM.",
        )
    if divisors is not None:
        writer.add_tensor(gguf.ROPE_FREQS, divisors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tick(1.0)


def _add_tensor(writer: Any, name: str, values: np.ndarray[Any, Any], kind: str) -> None:
    """Add a tensor in the type that a file of this type has it in."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    wanted = GGMLQuantizationType[_kind_of(kind, values.shape)]
    if wanted in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        writer.add_tensor(name, values.astype("float16" if wanted.name == "F16" else "float32"))
    else:
        writer.add_tensor(name, quantize(values, wanted), raw_dtype=wanted)


def _kind_of(kind: str, shape: tuple[int, ...]) -> str:
    """The type of one tensor: norms and biases stay F32, rows that are not made of whole blocks become F16."""
    if len(shape) == 1:
        return "F32"
    whole = kind in ("F32", "F16", "BF16") or shape[-1] % _BLOCK == 0
    return kind if whole else "F16"


def _names(config: ModelConfig) -> dict[str, str]:
    """transformers' name of each tensor -> its name in the file."""
    return {theirs: ours for ours, theirs in gguf.tensor_names(config).items()}


def _converted(name: str, tensor: Tensor, config: ModelConfig, architecture: str) -> np.ndarray[Any, Any]:
    """The numbers as llama.cpp keeps them: queries and keys interleaved per head, gpt2's matrices turned round."""
    if architecture == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = config.num_heads if ".q_proj." in name else config.num_kv_heads
        tensor = tensor.reshape(heads, 2, -1, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)
    modules = MODULES[config.family]
    if modules.transposed and tensor.dim() == 2 and f".{modules.blocks}." in name:
        tensor = tensor.t()
    found: np.ndarray[Any, Any] = tensor.contiguous().numpy()
    return found


def _add_sizes(writer: Any, config: ModelConfig, values: Mapping[str, Any]) -> None:
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_vocab_size(config.vocab_size)
    if config.norm == "layer":
        writer.add_layer_norm_eps(config.norm_eps)
        return
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.rotary_dims)
    _add_rope(writer, _rope(values), config)


def _rope(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rotary settings, wherever a config of any version of transformers keeps them."""
    found = values.get("rope_parameters") or values.get("rope_scaling") or {}
    theta = found.get("rope_theta", values.get("rope_theta", 10_000.0))
    return {**found, "rope_theta": float(theta), "rope_type": found.get("rope_type", found.get("type", "default"))}


def _add_rope(writer: Any, rope: Mapping[str, Any], config: ModelConfig) -> None:
    from gguf import RopeScalingType

    writer.add_rope_freq_base(rope["rope_theta"])
    kind = rope["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "yarn":
        if any(key in rope for key in ("attention_factor", "mscale", "mscale_all_dim")):
            raise ModelError("This model's yarn rope scaling has factors of its own, which GGUF cannot hold here.")
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
        writer.add_rope_scaling_orig_ctx_len(int(rope.get("original_max_position_embeddings") or config.context))
    elif kind not in ("default", "llama3"):
        raise ModelError(f"The rope scaling {str(kind)[:40]!r} cannot be written as GGUF here.")


def _rope_divisors(config: ModelConfig, values: Mapping[str, Any]) -> np.ndarray[Any, Any] | None:
    """What llama3's scaling divides each rotary frequency by (transformers' `_compute_llama3_parameters`)."""
    import numpy as np

    rope = _rope(values)
    if rope["rope_type"] != "llama3":
        return None
    old, factor = float(rope["original_max_position_embeddings"]), float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    found = []
    for i in range(0, config.rotary_dims, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / config.rotary_dims)
        smooth = min(1.0, max(0.0, (old / wave - low) / (high - low)))
        found.append(1.0 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


def _write_quantized(
    folder: Path,
    path: Path,
    kind: str,
    config: ModelConfig,
    vocabulary: gguf_vocab.Vocabulary,
    tick: Callable[[float], None],
) -> None:
    """Write an F16 file next to the target and let llama.cpp quantize it."""
    half = path.with_name(f"{path.name}.f16.part")
    try:
        _write_file(folder, half, "F16", config, vocabulary, lambda part: tick(0.6 * part))
        program = shutil.which(_QUANTIZER)
        if program is not None:
            _run_quantizer(program, half, path, kind)
        else:
            _call_quantizer(half, path, kind)
    finally:
        half.unlink(missing_ok=True)
    tick(1.0)


def _run_quantizer(program: str, source: Path, path: Path, kind: str) -> None:
    done = subprocess.run([program, str(source), str(path), kind], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = " ".join(done.stderr.split())[-300:]
        raise ModelError(f"{_QUANTIZER} failed: {words or f'exit code {done.returncode}'}.", where=program)


def _call_quantizer(source: Path, path: Path, kind: str) -> None:
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = int(getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}"))
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), parameters)
    if code != 0:
        raise ModelError(f"llama-cpp-python could not quantize to {kind} (code {code}).", where=str(source))
