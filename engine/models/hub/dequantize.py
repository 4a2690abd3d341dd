"""Folders whose weights are quantized, unpacked to plain numbers: by bitsandbytes, as fp8, and by compressed-tensors.

A quantized matrix is in a file as several tensors: its numbers under its own name (or `weight_packed`), and factors
under names that begin with its module's. Other methods are refused by name (`engine.models.hub.checkpoint`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError
from engine.models.hub import weights
from engine.models.hub.weights import TensorInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BITSANDBYTES = "bitsandbytes"
METHODS = (_BITSANDBYTES, "fp8", "compressed-tensors")
"""Values of `quant_method` that are unpacked."""

_STATE = ".quant_state.bitsandbytes__"
_FORMATS = ("int-quantized", "float-quantized", "naive-quantized", "pack-quantized")
"""Of compressed-tensors."""


@dataclass(frozen=True)
class Quantized:
    """How a folder's weights are quantized.

    Args:
        folder: where they are.
        method: one of `METHODS`.
        settings: what its config says of it.
        held: the tensors of its files.
    """

    folder: Path
    method: str
    settings: Mapping[str, Any]
    held: Mapping[str, TensorInfo]

    def dense(self) -> dict[str, TensorInfo]:
        """The tensors that the model is made of, with the shapes that they have when they are unpacked.

        Raises:
            ModelError: the parts of a matrix do not fit each other.
        """
        found = {}
        parts = set(self._parts())
        for name, info in self.held.items():
            if name in parts and not name.endswith((".weight", ".weight_packed")):
                continue
            with _damage(self.folder, name):
                found[name.removesuffix("_packed")] = TensorInfo("F32", self._shape(name, info), 0, 0)
        return found

    def read(self, dtype: torch.dtype, names: Mapping[str, str]) -> dict[str, Tensor]:
        """The unpacked tensors.

        Args:
            names: the names of `dense` -> the names to return them by; only these are returned.

        Raises:
            ModelError, StorageError: as `engine.models.hub.weights.read`.
        """
        raw = weights.read(self.folder)
        found: dict[str, Tensor] = {}
        for name in list(self.held):
            plain = name.removesuffix("_packed")
            if plain not in names or name not in raw:
                continue
            with _damage(self.folder, name):
                tensor = self._unpack(name, raw)
            for part in self._parts_of(name):
                raw.pop(part, None)
            raw.pop(name)
            tensor = tensor.to(dtype)
            weights.check_finite(tensor, plain, self.folder, cast=True)
            found[names[plain]] = tensor
        return found

    def _parts(self) -> Iterator[str]:
        """Names of all tensors that quantized matrices consist of."""
        for name in self.held:
            if name.endswith((".weight", ".weight_packed")):
                parts = self._parts_of(name)
                if parts:
                    yield name
                yield from parts

    def _parts_of(self, name: str) -> list[str]:
        """The other tensors of the matrix `name`; none where it is not quantized."""
        module = name.removesuffix("_packed").removesuffix("weight")
        suffixes = ("SCB", "weight_format", "weight_scale", "weight_scale_inv", "weight_zero_point", "weight_shape",
                    "weight_g_idx", "input_scale", "input_zero_point", "output_scale", "weight.absmax",
                    "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map", f"weight{_STATE}nf4",
                    f"weight{_STATE}fp4")  # fmt: skip
        return [module + suffix for suffix in suffixes if module + suffix in self.held]

    def _shape(self, name: str, info: TensorInfo) -> tuple[int, ...]:
        parts = self._parts_of(name)
        state = [part for part in parts if _STATE in part]
        if state:
            return tuple(int(n) for n in self._state(state[0], self._bytes_of(state[0]))["shape"])
        if name.endswith("_packed"):
            return tuple(self._numbers(name.replace("_packed", "_shape")))
        return info.shape

    def _bytes_of(self, name: str) -> bytes:
        for path in weights.files(self.folder):
            info = weights.header(path).get(name)
            if info is not None:
                return weights.raw(path, info)
        raise KeyError(name)

    def _numbers(self, name: str) -> list[int]:
        """A tensor of 64-bit or 32-bit whole numbers."""
        raw, size = self._bytes_of(name), {"I64": 8, "I32": 4}[self.held[name].dtype]
        return [int.from_bytes(raw[at : at + size], "little", signed=True) for at in range(0, len(raw), size)]

    @staticmethod
    def _state(name: str, raw: bytes) -> dict[str, Any]:
        found = json.loads(raw)
        if not isinstance(found, dict) or math.prod(found["shape"]) > 1 << 40:
            raise ValueError(name)
        return found

    def _unpack(self, name: str, raw: Mapping[str, Tensor]) -> Tensor:
        parts = {part.split("weight")[-1] if "SCB" not in part else "SCB": raw[part] for part in self._parts_of(name)}
        tensor = raw[name]
        if not parts:
            return tensor
        if name.endswith("_packed"):
            bits = int(self._weight_settings().get("num_bits", 4))
            return _scaled(_unpacked(tensor, bits, parts["_shape"].tolist()), parts)
        state = next((key for key in parts if _STATE in key), None)
        if state is not None:
            return _from_4_bits(tensor, parts, self._state(name, bytes(parts[state].tolist())))
        if "SCB" in parts:
            return tensor.float() * (parts["SCB"].float() / 127)[:, None]
        if "_scale_inv" in parts:
            block = self.settings.get("weight_block_size") or tensor.shape
            return tensor.float() * _spread(parts["_scale_inv"].float(), tensor.shape, block)
        return _scaled(tensor.float(), parts) if "_scale" in parts else tensor

    def _weight_settings(self) -> Mapping[str, Any]:
        groups = self.settings.get("config_groups")
        first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
        found = first.get("weights") if isinstance(first, Mapping) else None
        return found if isinstance(found, Mapping) else {}


@contextmanager
def _damage(folder: Path, name: str) -> Iterator[None]:
    """Say of which folder and tensor it was where the parts of a matrix do not fit each other."""
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, ArithmeticError):
        raise ModelError(
            f"The quantized weight {name[:80]!r} cannot be unpacked: its parts do not fit each other.",
            where=str(folder),
            next_step="Fetch or copy the model again, or name the unquantized model that it was made from.",
        ) from None


def find(folder: Path, values: Mapping[str, Any], held: Mapping[str, TensorInfo]) -> Quantized | None:
    """How a folder's weights are quantized; None where they are not, or in another way than `METHODS`."""
    settings = values.get("quantization_config")
    if not isinstance(settings, Mapping) or not reads(settings):
        return None
    return Quantized(folder, str(settings["quant_method"]), settings, held)


def reads(settings: Mapping[str, Any]) -> bool:
    """Whether weights with this `quantization_config` can be unpacked."""
    method = settings.get("quant_method")
    if method == "compressed-tensors":
        return settings.get("format") in _FORMATS and not settings.get("sparsity_config")
    return method in METHODS


def _scaled(whole: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """Numbers times their factors: one, one a row, or one for each group of columns."""
    zero, scale = parts.get("_zero_point"), parts["_scale"].float()
    if "_g_idx" in parts:
        raise ValueError("columns in another order")
    if zero is not None and zero.dtype.itemsize == 1:
        whole = whole - _grouped(zero.float(), whole.shape)
    elif zero is not None:
        raise ValueError("packed zero points")
    return whole * _grouped(scale, whole.shape)


def _grouped(factors: Tensor, shape: torch.Size) -> Tensor:
    if factors.numel() == 1:
        return factors.reshape(1, 1)
    factors = factors.reshape(shape[0], -1)
    return _spread(factors, shape, (1, -(-shape[1] // factors.shape[1])))


def _spread(factors: Tensor, shape: torch.Size, block: Any) -> Tensor:
    """Factors of blocks, each repeated for the numbers of its block."""
    if factors.numel() == 1:
        return factors.reshape(1, 1)
    rows, columns = (int(n) for n in block)
    wide = factors.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[: shape[0], : shape[1]]
    if wide.shape != shape:
        raise ValueError("factors do not cover the matrix")
    return wide


def _unpacked(packed: Tensor, bits: int, shape: list[int]) -> Tensor:
    """Numbers of 4 or 8 bits out of int32, the lowest bits first."""
    import torch

    if bits not in (4, 8):
        raise ValueError("bits")
    shifts = torch.arange(0, 32, bits)
    parts = (packed[..., None] >> shifts) & (2**bits - 1)
    found: Tensor = parts.reshape(packed.shape[0], -1)[:, : shape[1]] - 2 ** (bits - 1)
    return found.reshape(shape).float()


def _from_4_bits(packed: Tensor, parts: Mapping[str, Tensor], state: Mapping[str, Any]) -> Tensor:
    """bitsandbytes' 4-bit numbers: an index into a table, times the factor of a block, which may be quantized too."""
    import torch

    factors = parts[".absmax"]
    if ".nested_absmax" in parts:
        table, outer = parts[".nested_quant_map"], parts[".nested_absmax"]
        size = int(state["nested_blocksize"])
        spread = outer.repeat_interleave(size)[: factors.numel()]
        factors = table[factors.long()] * spread + float(state["nested_offset"])
    data = packed.flatten()
    indices = torch.stack([data >> 4, data & 15], 1).flatten().long()
    count = math.prod(state["shape"])
    values = parts[".quant_map"][indices][:count]
    spread = factors.float().repeat_interleave(int(state["blocksize"]))[:count]
    found: Tensor = (values * spread).reshape(tuple(state["shape"]))
    return found
