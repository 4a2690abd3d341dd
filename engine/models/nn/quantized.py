"""Frozen matrices in 8 or 4 bits, with the products that `engine.models.nn.linear.Linear` asks for."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ModelError
from engine.models.nn.config import Quantization

_TINY = 1e-30
"""Keeps rows of zeros from a division by zero."""

_BLOCK = 64
"""Numbers of a block of NF4, which share a factor."""

_FEW_ROWS = 8
"""Up to so many rows of bfloat16 torch's kernel for 8-bit weights is faster than a cast and a product: 2.8 to 4.3 times
as fast as float32 at one row, .8 times at 16 (AVX2 and AMX)."""


class QuantizedMatrix(Protocol):
    """A matrix [out, in] in few bits."""

    def dense(self) -> Tensor:
        """The matrix as it is computed with, in the dtype that it had."""
        ...

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """`x @ matrix.T + bias`, [N, in] -> [N, out]."""
        ...

    def input_grad(self, grad: Tensor) -> Tensor:
        """`grad @ matrix`, [N, out] -> [N, in]."""
        ...

    def nbytes(self) -> int: ...


def quantize(weight: Tensor, kind: Quantization) -> QuantizedMatrix:
    """A floating-point matrix [out, in] in 8 or 4 bits; in 8 where its rows do not divide into bitsandbytes' blocks,
    which its CPU kernels compute wrongly.

    Raises:
        ModelError: "nf4" without bitsandbytes.
    """
    return Int8Matrix(weight) if kind == "int8" or weight.shape[1] % _BLOCK else Nf4Matrix(weight)


class Int8Matrix:
    """Whole numbers of -127 to 127, and a factor for each row.

    The input is not rounded: products of bytes (oneDNN, VNNI) are 1.4 to 4.7 times as fast as float32, but outliers in
    the hidden states cost more than the weights' rounding (SmolLM2-135M: Kullback-Leibler divergence from float32 .030
    against .003, the likeliest token the same in 89 % of places against 97 %).
    """

    def __init__(self, weight: Tensor) -> None:
        self.dtype = weight.dtype
        with torch.inference_mode(False), torch.no_grad():
            wide = weight.detach().float()
            self.scale = (wide.abs().amax(1) / 127).clamp_(min=_TINY)
            self.whole = (wide / self.scale[:, None]).round_().to(torch.int8)

    def nbytes(self) -> int:
        return self.whole.nbytes + self.scale.nbytes

    def dense(self) -> Tensor:
        return (self.whole.float() * self.scale[:, None]).to(self.dtype)

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if len(x) <= _FEW_ROWS and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            out: Tensor = torch._weight_int8pack_mm(x.contiguous(), self.whole, self.scale.to(x.dtype))
        else:
            out = functional.linear(x, self.whole.to(x.dtype)).mul_(self.scale.to(x.dtype))
        return out if bias is None else out.add_(bias)

    def input_grad(self, grad: Tensor) -> Tensor:
        return (grad * self.scale.to(grad.dtype)) @ self.whole.to(grad.dtype)


class Nf4Matrix:
    """4-bit normal floats in blocks of 64 with quantized block factors, by bitsandbytes (Dettmers et al., 2023)."""

    def __init__(self, weight: Tensor) -> None:
        self._bnb = bitsandbytes()
        self.dtype, self.shape = weight.dtype, weight.shape
        with torch.inference_mode(False), torch.no_grad():
            self._data, self._state = self._bnb.functional.quantize_4bit(
                weight.detach().contiguous(), blocksize=_BLOCK, quant_type="nf4", compress_statistics=True
            )

    def nbytes(self) -> int:
        state = self._state
        return int(self._data.nbytes + state.absmax.nbytes + (state.state2.absmax.nbytes if state.nested else 0))

    def dense(self) -> Tensor:
        found: Tensor = self._bnb.functional.dequantize_4bit(self._data, self._state)
        return found.to(self.dtype)

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        with torch.no_grad():
            out: Tensor = self._bnb.matmul_4bit(x.contiguous(), self._data.t(), self._state, bias=bias)
        return out.to(x.dtype)

    def input_grad(self, grad: Tensor) -> Tensor:
        return grad @ self.dense().to(grad.dtype)


def check(kind: Quantization) -> None:
    """Refuse a kind that cannot be had here.

    Raises:
        ModelError: "nf4" without bitsandbytes.
    """
    if kind == "nf4":
        bitsandbytes()


def bitsandbytes() -> Any:
    """The package.

    Raises:
        ModelError: it is not installed, or cannot be used here.
    """
    try:
        import bitsandbytes as found
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            f"4-bit weights need the package bitsandbytes ({' '.join(str(error).split())[:120]}).",
            where="--load-in-4bit",
            next_step="`pip install bitsandbytes`, or choose --load-in-8bit, which needs no package.",
        ) from None
    return found
