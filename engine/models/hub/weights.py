"""Safetensors files: checked before anything is read from them, and written with a hash on the way.

Only this format is read: it holds numbers and names, nothing that could be executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError, StorageError

if TYPE_CHECKING:
    from io import FileIO

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_BYTES = {
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1,
    "F8_E8M0": 1,
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "U16": 2,
    "U32": 4,
    "U64": 8,
    "BOOL": 1,
}
_NAMES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "float32": "F32"}
"""A dtype of torch or numpy, as `str` writes it."""
_LARGEST_HEADER = 100_000_000
_LARGEST_JSON = 50_000_000
_AGAIN = "Fetch or copy the model again."


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its dtype ("F32"), its shape, where it begins in the file, and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def regular(path: Path) -> int:
    """The size of a file in bytes, following links, once it is sure that it is a plain file that can be read.

    Raises:
        StorageError: if it is missing, a folder, a pipe or a device, or may not be read.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise StorageError("This is not a plain file.", where=str(path), next_step=_AGAIN)
        if not os.access(path, os.R_OK):
            raise StorageError("There is no permission to read this file.", where=str(path))
    except FileNotFoundError:
        raise StorageError("This file is missing.", where=str(path), next_step=_missing_advice(path)) from None
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None
    return state.st_size


_OTHER_KINDS = {
    "params.json": "the model in the form of its makers; name the folder of the same model for transformers",
    "model_index.json": "a diffusion model; name a causal language model",
    "modules.json": "a model for embeddings (sentence-transformers); name a causal language model",
}
"""Files of folders that have no `config.json` -> what such a folder holds, and what to name instead."""

_OTHER_WEIGHTS = {
    "**/*.onnx": ("ONNX", "Name the folder of the same model in safetensors."),
    "*.h5": ("TensorFlow", "Name the folder of the same model in safetensors."),
    "*.msgpack": ("Flax", "Name the folder of the same model in safetensors."),
    "*.npz": ("numpy arrays", "Name the folder of the same model in safetensors."),
    "global_step*/*": ("DeepSpeed's form", "Merge them: `python zero_to_fp32.py . FOLDER --safe_serialization`."),
    "**/*.distcp": ("FSDP's form", "Merge them: `accelerate merge-weights DIR FOLDER`."),
}
"""Weights in other forms -> what they are called, and what to do."""


def _missing_advice(path: Path) -> str:
    """What to do about a missing file: a folder one level off is the usual cause where `config.json` is missing."""
    if path.name == "config.json":
        for name, what in _OTHER_KINDS.items():
            if (path.parent / name).exists():
                return f"This folder holds {what}."
        for pattern in ("*.gguf", "checkpoint-*/config.json", "snapshots/*/config.json", "*/config.json"):
            found = sorted(path.parent.glob(pattern))
            if found:
                return f"Did you mean {found[-1] if pattern == '*.gguf' else found[-1].parent}?"
        if _is_two_below_here(path) and not any(path.parent.glob("*.safetensors")):
            return (
                f"There is no model in this folder, which is taken before a model {'/'.join(path.parts[-3:-1])} of the "
                "hub. Rename it to take that one, or name another folder."
            )
    return _AGAIN


def _is_two_below_here(path: Path) -> bool:
    """Whether it lies in a folder OWNER/NAME of the current one, as it would be named like a model of the hub."""
    try:
        return path.absolute().parents[2:3] == (Path.cwd(),)
    except OSError:  # the current folder is gone
        return False


def refuse_lfs_pointer(path: Path) -> None:
    """Raise `StorageError` if the file is what `git clone` leaves in place of a large file without Git LFS."""
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise StorageError(
                "This is a Git LFS pointer, not the file itself.",
                where=str(path),
                next_step="Run `git lfs pull` in the model's folder.",
            )


def read_json(path: Path, largest: int = _LARGEST_JSON) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        StorageError: if it cannot be read.
        ModelError: if it is larger than `largest` bytes, no JSON, or no object.
    """
    if regular(path) > largest:
        raise ModelError(f"This file is larger than {largest:,} bytes.", where=str(path), next_step=_AGAIN)
    try:
        refuse_lfs_pointer(path)
        value = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        problem = f"This is not JSON: {error.msg}."
        raise ModelError(problem, where=f"{path}, line {error.lineno}", next_step=_AGAIN) from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise ModelError("This is not JSON in UTF-8.", where=str(path), next_step=_AGAIN) from None
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None
    if not isinstance(value, dict):
        raise ModelError("This must hold a JSON object.", where=str(path), next_step=_AGAIN)
    return value


def header(path: Path) -> dict[str, TensorInfo]:
    """Names and shapes of the tensors in a safetensors file, after checking that the file holds all of them.

    Raises:
        StorageError: if the file is missing, cannot be read, or was cut short.
        ModelError: if it is not in the safetensors format.
    """
    size = regular(path)
    try:
        refuse_lfs_pointer(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LARGEST_HEADER):
                raise StorageError("This file is cut short or no safetensors file.", where=str(path), next_step=_AGAIN)
            raw = json.loads(file.read(length))
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None
    except (ValueError, RecursionError):
        raise ModelError("The header of this file is damaged.", where=str(path), next_step=_AGAIN) from None
    if not isinstance(raw, dict):
        raise ModelError("The header of this file is damaged.", where=str(path), next_step=_AGAIN)
    tensors = {
        name: _tensor(path, size, name, entry, 8 + length) for name, entry in raw.items() if name != "__metadata__"
    }
    expected = 8 + length + sum(info.size for info in tensors.values())
    if size != expected:
        problem = f"This file has {size:,} bytes where its tensors need {expected:,}."
        raise StorageError(problem, where=str(path), next_step=_AGAIN)
    return tensors


def _tensor(path: Path, held: int, name: str, entry: Any, base: int) -> TensorInfo:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, start, end)) or len(shape) > 8:
            raise ValueError
        size = math.prod(shape) * _BYTES[dtype]
        if end - start != size:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        problem = f"The entry of tensor {name[:80]!r} is damaged, or in a dtype that Redraft does not read."
        raise ModelError(problem, where=str(path), next_step=_AGAIN) from None
    if base + end > held:
        raise StorageError("This file is cut short.", where=str(path), next_step=_AGAIN)
    return TensorInfo(dtype, tuple(shape), base + start, size)


def raw(path: Path, info: TensorInfo) -> bytes:
    """The bytes of one tensor of a file.

    Raises:
        StorageError: if they cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(info.start)
            return file.read(info.size)
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None


def files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: model.safetensors, as in transformers, or else the shards of an index.

    Raises:
        ModelError: if there are none, with a word on pickles, which are never read; if the index names files outside
            the folder.
        StorageError: if a shard is missing.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        weight_map = read_json(folder / INDEX).get("weight_map")
        names = set(weight_map.values()) if isinstance(weight_map, dict) and _all_text(weight_map) else set()
        if not names or any(Path(n).name != n or not n.endswith(".safetensors") for n in names):
            problem = "`weight_map` must give a .safetensors file of this folder for each tensor."
            raise ModelError(problem, where=str(folder / INDEX), next_step=_AGAIN)
        shards = [folder / n for n in sorted(names)]
        for shard in shards:
            regular(shard)
        return shards
    raise _no_weights(folder)


def _no_weights(folder: Path) -> ModelError:
    """What a folder without safetensors files of a whole model holds instead, and what to do."""
    if any(folder.glob("model-*-of-*.safetensors")):
        return ModelError(
            f"The weights are in several files, and the file that lists them ({INDEX}) is missing.",
            where=str(folder),
            next_step="Fetch or copy it from where the model came from.",
        )
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        return ModelError(
            "This folder holds its weights as pickles (.bin, .pt), which can run code when they are read.",
            where=str(folder),
            next_step="Use the model's safetensors files, or convert it on a machine that you can throw away.",
        )
    for pattern, (what, next_step) in _OTHER_WEIGHTS.items():
        if any(folder.glob(pattern)):
            return ModelError(
                f"This folder holds its weights as {what}, not as safetensors.", where=str(folder), next_step=next_step
            )
    return ModelError(f"There is no {SINGLE} in this folder.", where=str(folder), next_step=_AGAIN)


def _all_text(mapping: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, str) for value in mapping.values())


def read(folder: Path, dtype: torch.dtype | None = None, names: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """The tensors of a folder, in the files' dtypes or with floating-point numbers in `dtype`.

    Args:
        names: the file's name of a tensor -> the name to return it by; only these are read. None reads all.

    They are read into memory of their own, one after another, not mapped from the file: a mapping stays whole as long
    as one tensor of it lives, so a model whose weights are rearranged or cast would count twice; and a file that is
    cut short later cannot hurt.

    Raises:
        ModelError, StorageError: as `files` and `header`; a weight is NaN or infinite.
    """
    tensors: dict[str, Tensor] = {}
    for path in files(folder):
        entries = sorted(header(path).items(), key=lambda entry: entry[1].start)
        try:
            with path.open("rb", buffering=0) as file:
                for name, info in entries:
                    if names is None or name in names:
                        tensors[names[name] if names is not None else name] = _read(path, file, name, info, dtype)
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or "it became shorter"
            raise StorageError(f"This file cannot be read ({reason}).", where=str(path), next_step=_AGAIN) from None
    return tensors


def _read(path: Path, file: FileIO, name: str, info: TensorInfo, dtype: torch.dtype | None) -> Tensor:
    import torch

    raw = torch.empty(info.size, dtype=torch.uint8)
    view: Any = raw.numpy()
    file.seek(info.start)
    while len(view):
        count = file.readinto(view)
        if not count:
            raise EOFError
        view = view[count:]
    tensor = raw.view(_torch_types()[info.dtype]).reshape(info.shape)
    if not tensor.is_floating_point() or tensor.itemsize == 1:
        return tensor
    check_finite(tensor, name, path)
    if dtype is None or dtype == tensor.dtype:
        return tensor
    tensor = tensor.to(dtype)
    check_finite(tensor, name, path, cast=True)
    return tensor


def check_finite(tensor: Tensor, name: str, path: Path, *, cast: bool = False) -> None:
    """Refuse weights that are NaN or infinite.

    Args:
        cast: the tensor was finite before it was cast, so that its dtype is what is wrong.

    Raises:
        ModelError: naming the tensor.
    """
    import torch

    # The sum is a fraction of the cost of looking at each number; it can only overflow where they are enormous.
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    if bool(torch.isfinite(tensor.sum(dtype=wide))) or bool(torch.isfinite(tensor).all()):
        return
    if cast:
        raise ModelError(
            f"The weights do not fit into {str(tensor.dtype).removeprefix('torch.')}: {name[:80]} becomes infinite.",
            where=str(path),
            next_step="Choose bfloat16 or float32 (--dtype).",
        )
    count = int((~torch.isfinite(tensor)).sum())
    raise ModelError(
        f"The weights are not finite: {name[:80]} holds {count:,} values that are NaN or infinite.",
        where=str(path),
        next_step="Use an earlier checkpoint of this model, or another copy: no new download fixes a training that "
        "diverged.",
    )


def _torch_types() -> dict[str, torch.dtype]:
    import torch

    return {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
        "U8": torch.uint8,
        "BOOL": torch.bool,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
    }


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        StorageError: if it cannot be read.
    """
    regular(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"This file cannot be read ({error.strerror}).", where=str(path)) from None


def write(
    path: Path, tensors: Mapping[str, Tensor | NDArray[np.float32]], tick: Callable[[float], None] = lambda _: None
) -> str:
    """Write tensors or arrays as one safetensors file and return its SHA-256 in hex; synced to the disk on return.

    Done here and not by the safetensors library because it reports no progress, no hash, and its own error type
    for a full disk. `tick` is called with the fraction that is written.

    Raises:
        OSError: as the system raises it; the file is then incomplete.
    """
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        entries[name] = {
            "dtype": _NAMES[str(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    head = json.dumps(entries, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(head).to_bytes(8, "little"), head):
            file.write(part)
            hasher.update(part)
        for name, tensor in tensors.items():
            data = memoryview(_bytes(tensor))
            file.write(data)
            hasher.update(data)
            tick(entries[name]["data_offsets"][1] / max(end, 1))
        file.flush()
        os.fsync(file.fileno())
    return hasher.hexdigest()


def _bytes(tensor: Tensor | NDArray[np.float32]) -> Any:
    import numpy as np

    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
