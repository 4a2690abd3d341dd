"""One matrix of the decoder: several of the model's own projections side by side, stored the way the machine
multiplies fastest, with the low-rank changes of an adapter added where one is in effect."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.nn.config import Activation, Quantization
from engine.models.nn.lora_weights import Adapter, LoraPair
from engine.models.nn.quantized import QuantizedMatrix, quantize

_FUSED_ACTIVATION: dict[Activation, tuple[str, str]] = {
    "silu": ("swish", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}


@dataclass(frozen=True)
class Projection:
    """A projection of the original model: `name` is its module's full name, its outputs are rows `start:stop`."""

    name: str
    start: int
    stop: int


class Recompute(NamedTuple):
    """How the backward pass finds an input again that was not kept: `function(*parts)`, where `parts` are kept anyway
    by what made it."""

    function: Callable[..., Tensor]
    parts: tuple[Tensor, ...]


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The activation function, elementwise."""
    if activation == "silu":
        return functional.silu(x)
    if activation == "relu":
        return functional.relu(x)
    return functional.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


def can_pack(weight: Tensor) -> bool:
    """Whether oneDNN keeps this matrix in its own layout and multiplies by it here.

    Measured (2 cores, Zen 5, 64 rows): fp32 .15 -> .35 TFLOP/s, bf16 .60 -> .72; one row in bf16 .02 -> .04.
    """
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16):
        return False
    return min(weight.shape) >= 8 and _packing_works(weight.dtype)


_PACKING: dict[torch.dtype, bool] = {}


def _packing_works(dtype: torch.dtype) -> bool:
    """Tries it once a dtype: builds of torch differ in what they carry."""
    known = _PACKING.get(dtype)
    if known is None:
        try:
            with torch.inference_mode():
                x, w = torch.ones(3, 16, dtype=dtype), torch.ones(24, 16, dtype=dtype)
                ops = torch.ops.mkldnn
                packed = ops._reorder_linear_weight(w, None)
                out = ops._linear_pointwise(x, packed, None, "swish", [], "")
                out = ops._linear_pointwise.binary(x, out, packed, None, "mul")
                known = bool(torch.isfinite(out).all()) and torch.equal(packed.to_dense(), w)
        except (RuntimeError, AttributeError, NotImplementedError):
            known = False
        _PACKING[dtype] = known
    return known


class Linear:
    """`y = x @ weight.T + bias`, and the fused forms that the decoder uses.

    Args:
        weight: [out, in].
        bias: [out] or None.
        projections: the original projections in it, in order, without gaps.

    Where `can_pack` says so the weight is kept only in oneDNN's layout and `weight` unpacks it anew on each access
    (rare: merging, export). A weight that requires a gradient (full training) is never packed. After `quantize` the
    matrix is kept in few bits only, and adapters are not folded into it: changes smaller than a step of
    the rounding would be lost in it.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, projections: Sequence[Projection], *, pack: bool = True
    ) -> None:
        self.projections = tuple(projections)
        self.name = self.projections[0].name
        self.bias = bias
        self.out_features, self.in_features = weight.shape
        self.dtype = weight.dtype
        self._dense: Tensor | None = weight
        self._packed: Tensor | None = None
        self._packed_transpose: Tensor | None = None
        self._quantized: QuantizedMatrix | None = None
        self._unmerged: tuple[tuple[int, int, LoraPair], ...] = ()
        if pack and not weight.requires_grad and can_pack(weight):
            with torch.inference_mode(False), torch.no_grad():
                self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
            self._dense = None

    @property
    def weight(self) -> Tensor:
        """The matrix [out, in], dense."""
        if self._dense is not None:
            return self._dense
        if self._quantized is not None:
            return _added(self._quantized.dense(), self._unmerged)
        assert self._packed is not None
        return self._packed.to_dense()

    @property
    def trainable(self) -> bool:
        return self._dense is not None and self._dense.requires_grad

    def nbytes(self) -> int:
        """Bytes that the matrix takes, copies for the backward pass included."""
        if self._quantized is not None:
            unmerged = sum(pair.a.nbytes + pair.b.nbytes for _, _, pair in self._unmerged)
            return self._quantized.nbytes() + unmerged
        one = self.out_features * self.in_features * self.dtype.itemsize
        return one * (2 if self._packed_transpose is not None else 1)

    def quantize(self, kind: Quantization) -> None:
        """Keep the matrix in 8 or 4 bits from now on, and give up what it was kept in.

        Raises:
            ModelError: as `engine.models.nn.quantized.quantize`.
        """
        self._quantized = quantize(self.weight, kind)
        self._dense = self._packed = self._packed_transpose = None

    def linear(self, x: Tensor) -> Tensor:
        """`x @ weight.T + bias`, [N, in] -> [N, out], without autograd on packed weights."""
        if self._quantized is not None:
            return _with_pairs(self._quantized.linear(x, self.bias), x, self._unmerged)
        if self._packed is None:
            return functional.linear(x, self.weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return out

    def linear_add(self, x: Tensor, other: Tensor) -> Tensor:
        """`linear(x) + other` in one pass."""
        if self._packed is None:
            return self.linear(x).add_(other)
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._packed, self.bias, "add")
        return out

    def linear_mul(self, x: Tensor, other: Tensor) -> Tensor:
        """`linear(x) * other` in one pass."""
        if self._packed is None:
            return self.linear(x).mul_(other)
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._packed, self.bias, "mul")
        return out

    def linear_activation(self, x: Tensor, activation: Activation) -> Tensor:
        """`activation(linear(x))` in one pass."""
        if self._packed is None:
            return activate(self.linear(x), activation)
        kind, algorithm = _FUSED_ACTIVATION[activation]
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, kind, [], algorithm)
        return out

    def input_grad(self, grad: Tensor, plus: Tensor | None = None) -> Tensor:
        """`grad @ weight (+ plus)`, [N, out] -> [N, in]: the gradient of the input.

        The first call keeps a packed transpose (as much memory again; fp32 runs 2.2 times as fast with it). It goes
        when `drop_transpose` is called.
        """
        if self._quantized is not None:
            back = self._quantized.input_grad(grad)
            for start, stop, pair in self._unmerged:
                a, b = _working(pair, grad.dtype)
                back.addmm_(grad[:, start:stop] @ b, a)
            return back if plus is None else back.add_(plus)
        if self._packed is None:
            weight = self.weight.detach()
            return grad @ weight if plus is None else torch.addmm(plus, grad, weight)
        if self._packed_transpose is None:
            with torch.inference_mode(False), torch.no_grad():
                self._packed_transpose = torch.ops.mkldnn._reorder_linear_weight(self.weight.t().contiguous(), None)
        ops, packed = torch.ops.mkldnn, self._packed_transpose
        if not grad.is_contiguous():
            grad = grad.contiguous()
        out: Tensor
        if plus is None:
            out = ops._linear_pointwise(grad, packed, None, "none", [], "")
        else:
            out = ops._linear_pointwise.binary(grad, plus, packed, None, "add")
        return out

    def shares(self, other: Tensor) -> bool:
        """Whether the matrix is the very memory of `other` (a head tied to the embedding)."""
        return self._dense is not None and self._dense.data_ptr() == other.data_ptr()

    def drop_transpose(self) -> None:
        """Free the memory that training took for the backward pass."""
        self._packed_transpose = None

    def __call__(
        self,
        x: Tensor,
        adapter: Adapter | None = None,
        plus: Tensor | None = None,
        again: Recompute | None = None,
    ) -> Tensor:
        """`x @ weight.T + bias (+ plus) (+ the adapter's change)`, [N, in] -> [N, out], differentiable in `x`, `plus`,
        the adapter's tensors and, where it requires a gradient, the weight.

        `again`: how to compute `x` a second time, so that the backward pass need not keep it."""
        if self.trainable:
            out = functional.linear(x, self.weight, self.bias)
            out = out if plus is None else out + plus
            for start, stop, pair in self._pairs(adapter):
                out = out + functional.pad(
                    (x @ pair.a.to(x.dtype).t()) @ pair.b.to(x.dtype).t() * pair.scale,
                    (start, self.out_features - stop),
                )
            return out
        if self._plain(adapter):
            return self.linear(x) if plus is None else self.linear_add(x, plus)
        return _shared((self,), x, adapter, plus, again)[0]

    def _plain(self, adapter: Adapter | None) -> bool:
        return not self._pairs(adapter) and not torch.is_grad_enabled()

    def _pairs(self, adapter: Adapter | None) -> list[tuple[int, int, LoraPair]]:
        if adapter is None:
            return []
        found = ((part, adapter.pairs.get(part.name)) for part in self.projections)
        return [(part.start, part.stop, pair) for part, pair in found if pair is not None]

    def merged(self, adapter: Adapter) -> Linear:
        """A copy with the adapter's change folded in (added in fp32, then cast), or applied in addition where the
        matrix is quantized; itself where there is none."""
        pairs = self._pairs(adapter)
        if not pairs:
            return self
        if self._quantized is not None:
            found = copy.copy(self)
            found._unmerged = (*self._unmerged, *((start, stop, pair.fixed()) for start, stop, pair in pairs))
            return found
        return Linear(_added(self.weight.detach(), pairs), self.bias, self.projections)


def _added(weight: Tensor, pairs: Sequence[tuple[int, int, LoraPair]]) -> Tensor:
    """The matrix with low-rank changes of its rows, added in fp32; itself where there are none."""
    if not pairs:
        return weight
    with torch.no_grad():
        wide = weight.to(torch.float32, copy=True)
        for start, stop, pair in pairs:
            wide[start:stop] += pair.delta().to(wide.device)
        return wide.to(weight.dtype)


def _with_pairs(out: Tensor, x: Tensor, pairs: Sequence[tuple[int, int, LoraPair]]) -> Tensor:
    """`out` plus the low-rank changes of its columns, in place."""
    for start, stop, pair in pairs:
        a, b = _working(pair, x.dtype)
        out[:, start:stop].addmm_(x @ a.t(), b.t())
    return out


def together(
    linears: Sequence[Linear], x: Tensor, adapter: Adapter | None = None, again: Recompute | None = None
) -> tuple[Tensor, ...]:
    """Several projections of one input, as `Linear.__call__` computes them; one node under autograd."""
    if any(linear.trainable or linear._plain(adapter) for linear in linears):
        return tuple(linear(x, adapter) for linear in linears)
    return _shared(linears, x, adapter, None, again)


def _shared(
    linears: Sequence[Linear], x: Tensor, adapter: Adapter | None, plus: Tensor | None, again: Recompute | None
) -> tuple[Tensor, ...]:
    pairs = [linear._pairs(adapter) for linear in linears]
    flat = [tensor for found in pairs for _, _, pair in found for tensor in (pair.a, pair.b)]
    outs: tuple[Tensor, ...] = _LoraLinears.apply(linears, pairs, again, x, plus, *flat)  # type: ignore[no-untyped-call]
    return outs


class _Change(NamedTuple):
    """One low-rank change: of which matrix, which of its outputs, and which columns of the joined `a` products."""

    linear: int
    start: int
    stop: int
    low: slice
    pair: LoraPair


class _LoraLinears(torch.autograd.Function):
    """Frozen matrices of one input under autograd: one node for the products, a residual and all low-rank changes.

    The inputs of all changes are multiplied by their `a` matrices at once, and their gradients come back through one
    product; only `x` (or what it is computed from again) and the `a` products are kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        linears: Sequence[Linear],
        pairs: Sequence[Sequence[tuple[int, int, LoraPair]]],
        again: Recompute | None,
        x: Tensor,
        plus: Tensor | None,
        *_flat: Tensor,
    ) -> Any:
        ys = [linear.linear(x) if plus is None else linear.linear_add(x, plus) for linear in linears]
        ctx.linears, ctx.plus = linears, plus is not None
        ctx.changes = changes = _changes(pairs)
        if not changes:
            return tuple(ys)
        working = [_working(change.pair, x.dtype) for change in changes]
        a = working[0][0] if len(working) == 1 else torch.cat([a for a, _ in working])
        learning = changes[0].pair.learning
        kept = None if learning is None or learning.drop is None else learning.drop(x)
        h = (x if kept is None else x * kept) @ a.t()
        for change, (_, b) in zip(changes, working, strict=True):
            ys[change.linear][:, change.start : change.stop].addmm_(h[:, change.low], b.t())
        ctx.function, parts = (None, (x,)) if again is None else (again.function, again.parts)
        ctx.parts = len(parts)
        ctx.save_for_backward(*(part.detach() for part in parts), kept, h, a, *(b for _, b in working))
        return tuple(ys)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grads = tuple(grad if grad.is_contiguous() else grad.contiguous() for grad in grads)
        through = grads[0] if ctx.plus else None
        wanted = ctx.needs_input_grad[3]
        if not ctx.changes:
            return None, None, None, _sum_input_grads(ctx.linears, grads, None) if wanted else None, through
        parts, (kept, h, a, *bs) = ctx.saved_tensors[: ctx.parts], ctx.saved_tensors[ctx.parts :]
        x = parts[0] if ctx.function is None else ctx.function(*parts)
        projections = [grads[change.linear][:, change.start : change.stop] for change in ctx.changes]
        lows = [part @ b for part, b in zip(projections, bs, strict=True)]
        dh = lows[0] if len(lows) == 1 else torch.cat(lows, 1)
        da = dh.t() @ (x if kept is None else x * kept)
        flat: list[Tensor | None] = []
        for change, part in zip(ctx.changes, projections, strict=True):
            flat += _accumulate_lora_grads(change.pair, da[change.low], part.t() @ h[:, change.low])
        dx = None
        if wanted:
            low = dh @ a
            dx = _sum_input_grads(ctx.linears, grads, low if kept is None else low.mul_(kept))
        return None, None, None, dx, through, *flat


def _changes(pairs: Sequence[Sequence[tuple[int, int, LoraPair]]]) -> list[_Change]:
    changes: list[_Change] = []
    row = 0
    for number, found in enumerate(pairs):
        for start, stop, pair in found:
            rank = pair.a.shape[0]
            changes.append(_Change(number, start, stop, slice(row, row + rank), pair))
            row += rank
    return changes


def _working(pair: LoraPair, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`a`, and `b` times the scale, in the dtype of the products."""
    if pair.learning is not None:
        return pair.learning.a, pair.learning.b
    return pair.a.detach().to(dtype), (pair.b.detach() * pair.scale).to(dtype)


def _accumulate_lora_grads(pair: LoraPair, da: Tensor, db: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of `a` and `b` for autograd; none where they are added up in place."""
    if pair.learning is None:
        return da.to(pair.a.dtype), db.to(pair.b.dtype).mul_(pair.scale)
    pair.learning.grad_a.add_(da)
    pair.learning.grad_b.add_(db, alpha=pair.scale)
    return None, None


def _sum_input_grads(linears: Sequence[Linear], grads: Sequence[Tensor], plus: Tensor | None) -> Tensor:
    """The sum of all `grad @ weight` (and `plus`), each product adding to the one before."""
    for linear, grad in zip(linears, grads, strict=True):
        plus = linear.input_grad(grad, plus)
    assert plus is not None
    return plus
