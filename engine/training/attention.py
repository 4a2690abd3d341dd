"""Causal attention over packed training rows that compute what they have in common once.

The packed tokens are a beginning that all rows of a micro-batch share (the chat's system text, usually), then one
sequence a row: the rest of its prompt and its completion, or, for a pair, two completions of which the second does not
see the first. One autograd node does a whole layer: sequences of like length together by explicit matrix products (for
lengths below some hundred tokens torch's flash kernel for CPUs takes several times as long backwards); micro-batches
with a longer sequence go through torch's own kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LONGEST_EXPLICIT = 640
"""Above this many tokens of a sequence the explicit form's masked half and kept probabilities cost too much."""
_PADDING = 1.25
"""Sequences are attended to together as long as padding them makes them at most this times as long."""


@dataclass(frozen=True)
class Layout:
    """How rows lie in the packed tokens.

    Args:
        shared: tokens at the beginning that precede every sequence.
        sequences: tokens of each sequence after them, none empty.
        forks: by sequence (trunk, first): after its first `trunk` tokens follow `first` tokens that the rest of it does
            not see; empty where there is one completion a row.
    """

    shared: int
    sequences: tuple[int, ...]
    forks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class _Group:
    """Neighbouring sequences, padded to the longest.

    Args:
        start, stop: their packed tokens.
        shared: tokens before them that all of them see.
        gather: [count * longest] the token of the group that fills each padded place; None where all are of a length.
        scatter: [tokens] the padded place of each token; None likewise.
        mask: [1 or count, longest * fold, shared + longest], added to the scores.
    """

    start: int
    stop: int
    count: int
    longest: int
    shared: int
    gather: Tensor | None
    scatter: Tensor | None
    mask: Tensor


class SharedPacked:
    """`engine.models.nn.attention.Attention` for one micro-batch, differentiable.

    Args:
        layout: where its rows are.
        fold: query heads over key heads; they are folded into the query length.
    """

    def __init__(self, layout: Layout, fold: int, device: torch.device, dtype: torch.dtype) -> None:
        self._fold = fold
        heights = fold if max(layout.shared, *layout.sequences) <= LONGEST_EXPLICIT else 1
        self._long = heights != fold or max(layout.shared, *layout.sequences) > LONGEST_EXPLICIT
        runs = _sequences(layout) if self._long else _runs(layout)
        self._groups = tuple(_group(*run, heights, device, dtype) for run in runs)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:  # noqa: ARG002
        """[N, heads, head_dim], twice [N, kv_heads, head_dim] -> [N, heads * head_dim]."""
        if self._long:
            return torch.cat([_by_kernel(group, q, k, v, scale, self._fold) for group in self._groups])
        out: Tensor = _Attend.apply(self._groups, q, k, v, scale)  # type: ignore[no-untyped-call]
        return out


_Run = tuple[int, int, Sequence[int], Sequence[tuple[int, int]]]
"""First token, shared tokens before, lengths, forks."""


def _sequences(layout: Layout) -> Iterator[_Run]:
    """The shared beginning, then each sequence for itself."""
    if layout.shared:
        yield 0, 0, (layout.shared,), ()
    start = layout.shared
    for number, length in enumerate(layout.sequences):
        yield start, layout.shared, (length,), layout.forks[number : number + 1]
        start += length


def _runs(layout: Layout) -> Iterator[_Run]:
    """The shared beginning, then sequences in groups that need little padding."""
    start, shared, lengths, forks = 0, 0, list[int](), list[tuple[int, int]]()
    for at, before, (length,), fork in _sequences(layout):
        padded = max([*lengths, length]) * (len(lengths) + 1)
        if lengths and (before != shared or padded > _PADDING * (sum(lengths) + length)):
            yield start, shared, lengths, forks
            lengths, forks = [], []
        if not lengths:
            start, shared = at, before
        lengths.append(length)
        forks += fork
    yield start, shared, lengths, forks


def _group(
    start: int,
    shared: int,
    lengths: Sequence[int],
    forks: Sequence[tuple[int, int]],
    fold: int,
    device: torch.device,
    dtype: torch.dtype,
) -> _Group:
    count, longest = len(lengths), max(lengths)
    own = torch.full((longest, longest), float("-inf"), dtype=dtype).triu_(1)[None]
    if forks:
        own = own.repeat(count, 1, 1)
        for number, (trunk, first) in enumerate(forks):
            own[number, trunk + first :, trunk : trunk + first] = float("-inf")
    mask = functional.pad(own, (shared, 0)).repeat_interleave(fold, 1).to(device)
    stop = start + sum(lengths)
    if min(lengths) == longest:
        return _Group(start, stop, count, longest, shared, None, None, mask)
    sizes, place = torch.tensor(lengths), torch.arange(longest)
    starts = sizes.cumsum(0) - sizes
    # Padded places read their sequence's last token: finite numbers that no real query sees.
    gather = (starts[:, None] + torch.minimum(place[None], sizes[:, None] - 1)).flatten().to(device)
    scatter = (place[None] < sizes[:, None]).flatten().nonzero().flatten().to(device)
    return _Group(start, stop, count, longest, shared, gather, scatter, mask)


def _padded(group: _Group, x: Tensor) -> Tensor:
    """Packed [N, heads, dim] -> the group's [count, longest, heads, dim]."""
    x = x[group.start : group.stop]
    if group.gather is not None:
        x = x.index_select(0, group.gather)
    return x.reshape(group.count, group.longest, *x.shape[1:])


def _queries(group: _Group, q: Tensor, kv_heads: int) -> Tensor:
    """-> [count * kv_heads, longest * fold, dim]"""
    q = _padded(group, q).view(group.count, group.longest, kv_heads, -1, q.shape[-1]).transpose(1, 2)
    return q.reshape(group.count * kv_heads, -1, q.shape[-1])


def _keys(group: _Group, k: Tensor) -> Tensor:
    """-> [count * kv_heads, shared + longest, dim]"""
    own = _padded(group, k)
    if group.shared:
        own = torch.cat([k[: group.shared].expand(group.count, -1, -1, -1), own], 1)
    return own.transpose(1, 2).reshape(-1, own.shape[1], own.shape[3])


def _put(group: _Group, padded: Tensor, out: Tensor) -> None:
    """The inverse of `_padded`: write the group's [count, longest, ...] into packed `out`."""
    target = out[group.start : group.stop]
    if group.scatter is None:
        target.view(padded.shape).copy_(padded)
    else:
        torch.index_select(padded.reshape(-1, *target.shape[1:]), 0, group.scatter, out=target)


class _Attend(torch.autograd.Function):
    """All groups of one layer; keeps the folded inputs and the probabilities."""

    @staticmethod
    def forward(ctx: Any, groups: tuple[_Group, ...], q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        kv_heads, dim = k.shape[1:]
        out = q.new_empty(q.shape)
        kept: list[Tensor] = []
        for group in groups:
            qf, kf, vf = _queries(group, q, kv_heads), _keys(group, k), _keys(group, v)
            p = torch.softmax(_scores(group, qf, kf, scale), -1)
            o = torch.bmm(p, vf).view(group.count, kv_heads, group.longest, -1, dim).transpose(1, 2)
            _put(group, o, out)
            kept += [qf, kf, vf, p]
        ctx.save_for_backward(*kept)
        ctx.groups, ctx.scale, ctx.shapes = groups, scale, (q.shape, k.shape)
        return out.view(q.shape[0], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        q_shape, k_shape = ctx.shapes
        grad = grads[0].reshape(q_shape)
        dq, dk, dv = grad.new_empty(q_shape), grad.new_empty(k_shape), grad.new_empty(k_shape)
        kept = ctx.saved_tensors
        for number, group in enumerate(ctx.groups):
            qf, kf, vf, p = kept[4 * number : 4 * number + 4]
            do = _gradient(group, grad, k_shape[1])
            dvf = torch.bmm(p.mT, do)
            ds = torch.ops.aten._softmax_backward_data(torch.bmm(do, vf.mT), p, -1, p.dtype)
            dqf = torch.bmm(ds, kf).mul_(ctx.scale)
            dkf = torch.bmm(ds.mT, qf).mul_(ctx.scale)
            _put(group, dqf.view(group.count, k_shape[1], group.longest, -1, q_shape[2]).transpose(1, 2), dq)
            _put_keys(group, dkf, dk)
            _put_keys(group, dvf, dv)
        return None, dq, dk, dv, None


def _scores(group: _Group, q: Tensor, k: Tensor, scale: float) -> Tensor:
    if group.mask.shape[0] == 1:
        return torch.baddbmm(group.mask, q, k.mT, alpha=scale)
    scores = torch.bmm(q, k.mT).mul_(scale)
    scores.view(group.count, -1, *scores.shape[1:]).add_(group.mask[:, None])
    return scores


def _gradient(group: _Group, grad: Tensor, kv_heads: int) -> Tensor:
    """As `_queries`, but zero in padded places, whose output was dropped."""
    if group.scatter is None:
        return _queries(group, grad, kv_heads)
    padded = grad.new_zeros(group.count * group.longest, *grad.shape[1:])
    padded.index_copy_(0, group.scatter, grad[group.start : group.stop])
    folded = padded.view(group.count, group.longest, kv_heads, -1, grad.shape[-1]).transpose(1, 2)
    return folded.reshape(group.count * kv_heads, -1, grad.shape[-1])


def _put_keys(group: _Group, grad: Tensor, out: Tensor) -> None:
    """Gradients of `_keys` into packed `out`; those of the shared beginning are added to what is there, which the
    group of the beginning itself, always the first, wrote."""
    grad = grad.view(group.count, -1, *grad.shape[1:]).transpose(1, 2)
    if group.shared:
        out[: group.shared] += grad[:, : group.shared].sum(0)
        grad = grad[:, group.shared :]
    _put(group, grad, out)


def _by_kernel(group: _Group, q: Tensor, k: Tensor, v: Tensor, scale: float, fold: int) -> Tensor:
    """One sequence through torch's attention, under its autograd."""
    ks, vs = (torch.cat([t[: group.shared], t[group.start : group.stop]]).transpose(0, 1) for t in (k, v))
    if fold > 1:
        ks, vs = ks.repeat_interleave(fold, 0), vs.repeat_interleave(fold, 0)
    qs = q[group.start : group.stop].transpose(0, 1)
    out = functional.scaled_dot_product_attention(qs[None], ks[None], vs[None], attn_mask=group.mask, scale=scale)
    return out[0].transpose(0, 1).reshape(group.stop - group.start, -1)
