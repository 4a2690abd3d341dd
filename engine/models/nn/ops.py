"""The elementwise steps of a decoder with few passes over memory, forward and backward: normalisation, rotation by
position, gated activation. Each works on packed tokens [N, ...] and is differentiable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.nn.config import Activation
from engine.models.nn.linear import activate


@dataclass(frozen=True)
class Norm:
    """RMS norm (Zhang and Sennrich, 2019) where `bias` is None, else layer norm.

    Args:
        weight: [width]; in fp32 with a bf16 stream, the whole norm is computed in fp32 (gemma does so).
        bias: [width], or None for the RMS norm.
        eps: added to the mean square, or the variance.
        rms: the mean is not taken off.
    """

    weight: Tensor
    bias: Tensor | None
    eps: float
    rms: bool

    def __call__(self, x: Tensor) -> Tensor:
        """[..., width] -> the same shape and dtype."""
        if not self.rms:
            return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        if self.weight.dtype != x.dtype:
            whole: Tensor = functional.rms_norm(x.float(), x.shape[-1:], self.weight.float(), self.eps)
            return whole.to(x.dtype)
        if torch.is_grad_enabled() and x.requires_grad and not self.weight.requires_grad:
            normed: Tensor = _RmsNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return normed
        if torch.is_grad_enabled():
            plain: Tensor = functional.rms_norm(x, x.shape[-1:], self.weight, self.eps)
            return plain
        return _scaled(x, _reciprocal_root(x, self.eps), self.weight)


class _RmsNorm(torch.autograd.Function):
    """With a frozen weight: only the input is kept, the reciprocal root is one number a token."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        root = _reciprocal_root(x, eps)
        ctx.save_for_backward(x, weight, root)
        return _scaled(x, root, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        x, weight, root = ctx.saved_tensors
        return _rms_gradient(grad * weight, x, root), None, None


def _reciprocal_root(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean square + eps) of each row, fp32 [..., 1]. (The norm is a vectorised reduction also over bf16;
    torch's own `rms_norm` takes 12 times as long on a CPU: bf16, 470 x 576: 944 us against 77.)"""
    square: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
    return square.mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


def _scaled(x: Tensor, root: Tensor, weight: Tensor) -> Tensor:
    """`x * root * weight`, computed in fp32 and rounded once."""
    if x.dtype == torch.float32:
        return (x * root).mul_(weight)
    return x.to(torch.float32).mul_(root).mul_(weight).to(x.dtype)


def _rms_gradient(grad: Tensor, x: Tensor, root: Tensor) -> Tensor:
    """The gradient of `x * root` by rows, where `root` [..., 1] is the reciprocal root of x's own mean square."""
    if grad.device.type == "cpu" and grad.dtype in (torch.float32, torch.bfloat16):
        # The gradient of v g / |v| is (g / n) (d - v (v . d) / n^2). With n = sqrt(width) / root and g = sqrt(width) it
        # is the one wanted, and torch's weight norm computes it in one pass (bf16, 640 x 576: 600 us -> 235).
        size = math.sqrt(x.shape[-1])
        rows, norms = x.reshape(-1, x.shape[-1]), (size / root).view(-1, 1)
        gain = rows.new_full((rows.shape[0], 1), size)
        found = torch.ops.aten._weight_norm_interface_backward(grad.reshape(rows.shape), rows, gain, norms, 0)
        return found[0].view(x.shape)  # type: ignore[no-any-return]
    inner = (grad * x).sum(-1, keepdim=True, dtype=torch.float32)
    factor = inner.mul_(root.pow(3)).mul_(-1 / x.shape[-1])
    return torch.addcmul(grad.mul_(root.to(x.dtype)), x, factor.to(x.dtype))


@dataclass(frozen=True)
class RotaryEmbedding:
    """Cosines and sines of the tokens of one forward pass, [N, 1, rotary_dims / 2] each.

    `rotate_half` convention of transformers: dimension i is paired with i + rotary_dims / 2 (Su et al., 2021).
    """

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Heads [N, heads, head_dim] (any strides) rotated, as a new contiguous tensor; see `split_heads` for
        gradients."""
        return _rotate(x, self.cos, self.sin, 1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: int, out: Tensor | None = None) -> Tensor:
    half = cos.shape[-1]
    first, second = x[..., :half], x[..., half : 2 * half]
    if out is None:
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    left, right = out[..., :half], out[..., half : 2 * half]
    torch.mul(first, cos, out=left)
    torch.mul(second, cos, out=right)
    left.addcmul_(second, sin, value=-sign)
    right.addcmul_(first, sin, value=sign)
    if 2 * half < x.shape[-1]:
        out[..., 2 * half :] = x[..., 2 * half :]
    return out


def split_heads(
    heads: Tensor, queries: int, keys: int, rotation: RotaryEmbedding | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Joined heads [N, queries + 2 keys, head_dim] as rotated queries, rotated keys, and values.

    Under autograd one node (three slices of their own would each fill a gradient of full size with zeros); the
    gradient of a rotation is the rotation back.
    """
    if torch.is_grad_enabled() and heads.requires_grad:
        cos, sin = (None, None) if rotation is None else (rotation.cos, rotation.sin)
        split: tuple[Tensor, Tensor, Tensor] = _SplitHeads.apply(heads, queries, keys, cos, sin)  # type: ignore[no-untyped-call]
        return split
    both, v = heads[:, : queries + keys], heads[:, queries + keys :]
    if rotation is not None:
        both = rotation(both)
    return both[:, :queries], both[:, queries:], v


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: Tensor, queries: int, keys: int, cos: Tensor | None, sin: Tensor | None) -> Any:
        ctx.save_for_backward(cos, sin)
        ctx.sizes = (queries, keys, heads.shape)
        both = heads[:, : queries + keys]
        both = both.clone() if cos is None or sin is None else _rotate(both, cos, sin, 1)
        return both[:, :queries], both[:, queries:], heads[:, queries + keys :]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        queries, keys, shape = ctx.sizes
        dq, dk, dv = grads
        if cos is None:
            return torch.cat([dq, dk, dv], 1), None, None, None, None
        out = torch.empty(shape, dtype=dq.dtype, device=dq.device)
        _rotate(dq, cos, sin, -1, out[:, :queries])
        _rotate(dk, cos, sin, -1, out[:, queries : queries + keys])
        out[:, queries + keys :] = dv
        return out, None, None, None, None


def gated(gate: Tensor, up: Tensor, activation: Activation) -> Tensor:
    """`activation(gate) * up`; under autograd with SiLU one node that keeps only its two inputs."""
    if activation == "silu" and torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        product: Tensor = _SwiGlu.apply(gate, up)  # type: ignore[no-untyped-call]
        return product
    if torch.is_grad_enabled():
        return activate(gate, activation) * up
    return activate(gate, activation).mul_(up)


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        gate, up = ctx.saved_tensors
        d_up = functional.silu(gate).mul_(grad)
        d_gate = torch.ops.aten.silu_backward(grad * up, gate)
        return d_gate, d_up
