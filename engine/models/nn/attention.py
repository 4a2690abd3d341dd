"""Causal attention over packed tokens: with a cached prefix for generation and scoring, differentiable for training.

Queries, keys and values come as [N, heads, head_dim], sequences one after another without padding. Grouped-query heads
are folded into the query length, so keys and values are never expanded. Sequences of like length are padded to one
another and attended to together by explicit matrix products; long ones go through torch's flash kernel.

`CausalPacked` attends to cached keys that precede every sequence as one matrix product, joined with a sequence's own
keys under one softmax (Hydragen, Juravsky et al., 2024), and bounds the memory of the products.

`SharedPacked` computes what training rows have in common once: a beginning that all rows of a micro-batch share (the
chat's system text, usually), then one sequence per row: the rest of its prompt and its completion, or, for a pair, two
completions of which the second does not see the first. One autograd node does a whole layer; below some hundred tokens
torch's flash kernel for CPUs takes several times as long backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.nn.attention_rules import Rules, attend, attend_causal

MAX_SCORES = 1 << 22
"""Max query-key products of one group at a time: bounds the memory of the explicit form."""
MAX_EXPLICIT = 640
"""Longer sequences use torch's kernel: the explicit form computes, and in training keeps, the masked half too."""
_PADDING = 1.25
"""Sequences are attended to together as long as padding makes them at most this times as long."""


class Attention(Protocol):
    """What the decoder asks of whatever holds keys and values."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each sequence, in packed order, beyond what they share."""
        ...

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, rules: Rules | None = None) -> Tensor:
        """[N, heads, head_dim], twice [N, kv_heads, head_dim] -> [N, heads * head_dim].

        `rules`: what the layer does beyond the causal mask; None for nothing."""
        ...


@dataclass(frozen=True)
class Prefix:
    """Keys and values of tokens that come before every sequence: by layer [kv_heads, length, head_dim]."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]

    @property
    def length(self) -> int:
        return self.keys[0].shape[1] if self.keys else 0

    def nbytes(self) -> int:
        return sum(t.nbytes for t in (*self.keys, *self.values))


@dataclass(frozen=True)
class _Group:
    """Neighboring sequences that are attended to together, padded to the longest.

    Args:
        start, stop: their packed tokens.
        count, longest: sequences, and tokens of the longest.
        gather: [count * longest] the group's token that fills each padded place; None where all are of one length.
        scatter: [tokens] the padded place of each token; None likewise.
        mask: added to the scores, [1 or count, rows, keys]; None where nothing is hidden.
        shared: packed tokens at the beginning that precede all of them (training).
    """

    start: int
    stop: int
    count: int
    longest: int
    gather: Tensor | None
    scatter: Tensor | None
    mask: Tensor | None
    shared: int = 0


def _group(
    start: int, lengths: Sequence[int], mask: Tensor | None, device: torch.device | None, shared: int = 0
) -> _Group:
    count, longest, stop = len(lengths), max(lengths), start + sum(lengths)
    if min(lengths) == longest:
        return _Group(start, stop, count, longest, None, None, mask, shared)
    sizes, place = torch.tensor(lengths), torch.arange(longest)
    starts = sizes.cumsum(0) - sizes
    # Padded places read the sequence's last token: finite numbers that the causal mask hides from every real query.
    gather = (starts[:, None] + torch.minimum(place[None], sizes[:, None] - 1)).flatten().to(device)
    scatter = (place[None] < sizes[:, None]).flatten().nonzero().flatten().to(device)
    return _Group(start, stop, count, longest, gather, scatter, mask, shared)


def _causal_mask(length: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
    """[1, length, length]: minus infinity above the diagonal."""
    return torch.full((length, length), float("-inf"), device=device, dtype=dtype).triu_(1)[None]


def _padded(group: _Group, x: Tensor) -> Tensor:
    """Packed [N, heads, dim] -> the group's [count, longest, heads, dim]."""
    if group.start or group.stop != x.shape[0]:
        x = x[group.start : group.stop]
    if group.gather is not None:
        x = x.index_select(0, group.gather)
    return x.reshape(group.count, group.longest, *x.shape[1:])


def _fold_queries(padded: Tensor, kv_heads: int) -> Tensor:
    """[count, longest, heads, dim] -> [count * kv_heads, longest * fold, dim]"""
    count, longest, _, dim = padded.shape
    folded = padded.view(count, longest, kv_heads, -1, dim).transpose(1, 2)
    return folded.reshape(count * kv_heads, -1, dim)


def _unfold_queries(group: _Group, folded: Tensor) -> Tensor:
    """The inverse of `_fold_queries`: -> [count, longest, kv_heads, fold, dim] (strided)"""
    kv_heads = folded.shape[0] // group.count
    return folded.view(group.count, kv_heads, group.longest, -1, folded.shape[-1]).transpose(1, 2)


def _fold_keys(padded: Tensor) -> Tensor:
    """[count, length, kv_heads, dim] -> [count * kv_heads, length, dim]"""
    return padded.transpose(1, 2).reshape(-1, padded.shape[1], padded.shape[3])


class CausalPacked:
    """Each sequence attends to itself, causally, and to all of `prefix`. For generation and scoring;
    `SharedPacked` is for training: its backward pass costs less.

    Args:
        lengths: tokens of each sequence, in packed order; neighbours of like length are cheapest.
        group: query heads that share one key head.
        prefix: shared keys and values that precede every sequence, or None.
        store: called as `store(layer, k, v)` with the new keys and values, before attention (fills a cache).
    """

    def __init__(
        self,
        lengths: Sequence[int],
        group: int,
        *,
        prefix: Prefix | None = None,
        store: Store | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.lengths = tuple(lengths)
        self._prefix = prefix if prefix is not None and prefix.length else None
        self._store = store
        self._fold = group
        before = prefix.length if prefix is not None else 0
        self._groups = [_prefixed_group(run, group, device, dtype) for run in _partition(lengths, before)]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, rules: Rules | None = None) -> Tensor:
        if self._store is not None:
            self._store(layer, k, v)
        before = None if self._prefix is None else (self._prefix.keys[layer], self._prefix.values[layer])
        if rules is not None:
            rules = rules.within(max(self.lengths) + (self._prefix.length if self._prefix is not None else 0))
        outs = [
            _attend_group(g, q, k, v, scale, before) if rules is None else _by_rules(g, q, k, v, scale, before, rules)
            for g in self._groups
        ]
        return outs[0] if len(outs) == 1 else torch.cat(outs)


class Store(Protocol):
    def __call__(self, layer: int, k: Tensor, v: Tensor) -> None: ...


def _partition(lengths: Sequence[int], before: int) -> Iterable[tuple[int, list[int]]]:
    """Runs of sequences: (first token, lengths), so that padding stays under a quarter and scores under the bound."""
    start = 0
    run: list[int] = []
    for length in lengths:
        longest, count = max([*run, length]), len(run) + 1
        wasteful = longest * count > _PADDING * (sum(run) + length) + 32
        large = longest * count * (longest + before) > MAX_SCORES // 8 or longest > MAX_EXPLICIT
        if run and (wasteful or large):
            yield start, run
            start, run = start + sum(run), []
        run.append(length)
    if run:
        yield start, run


def _prefixed_group(run: tuple[int, list[int]], fold: int, device: torch.device | None, dtype: torch.dtype) -> _Group:
    start, lengths = run
    mask = None
    if 1 < max(lengths) <= MAX_EXPLICIT:
        mask = _causal_mask(max(lengths), device, dtype)
        mask = mask.repeat_interleave(fold, 1) if fold > 1 else mask
    return _group(start, lengths, mask, device)


def _attend_group(
    group: _Group, q: Tensor, k: Tensor, v: Tensor, scale: float, before: tuple[Tensor, Tensor] | None
) -> Tensor:
    keys = group.longest + (before[0].shape[1] if before is not None else 0)
    if group.longest > MAX_EXPLICIT or group.longest * keys > MAX_SCORES // 2:
        q, k, v = (t[group.start : group.stop] for t in (q, k, v))
        return _flash(q, k, v, scale, before)
    qf = _fold_queries(_padded(group, q), k.shape[1])
    kf, vf = _fold_keys(_padded(group, k)), _fold_keys(_padded(group, v))
    if before is None:
        out = torch.bmm(torch.softmax(_scores(group, qf, kf, scale), -1), vf)
    else:
        out = _with_prefix(qf.mul_(scale) if group.gather is not None else qf * scale, kf, vf, before, group.mask)
    out = _unfold_queries(group, out).reshape(group.count * group.longest, -1)
    return out if group.scatter is None else out.index_select(0, group.scatter)


def _by_rules(
    group: _Group, q: Tensor, k: Tensor, v: Tensor, scale: float, before: tuple[Tensor, Tensor] | None, rules: Rules
) -> Tensor:
    """As `_attend_group`, with a window, a soft cap or sinks."""
    qs, ks, vs = _padded(group, q), _padded(group, k), _padded(group, v)
    if before is not None:
        far_k, far_v = (t.transpose(0, 1).expand(group.count, -1, -1, -1) for t in before)
        ks, vs = torch.cat([far_k, ks], 1), torch.cat([far_v, vs], 1)
    out = attend_causal(qs, ks, vs, scale, rules).reshape(group.count * group.longest, -1)
    return out if group.scatter is None else out.index_select(0, group.scatter)


def _scores(group: _Group, q: Tensor, k: Tensor, scale: float) -> Tensor:
    if group.mask is None:
        return torch.bmm(q, k.mT).mul_(scale)
    if group.mask.shape[0] == 1:
        return torch.baddbmm(group.mask, q, k.mT, alpha=scale)
    scores = torch.bmm(q, k.mT).mul_(scale)
    scores.view(group.count, -1, *scores.shape[1:]).add_(group.mask[:, None])
    return scores


def attend_rows(
    q: Tensor, k: Tensor, v: Tensor, before: tuple[Tensor, Tensor] | None, scale: float, mask: Tensor
) -> Tensor:
    """One query of each row against the row's own keys and a shared prefix.

    Args:
        q: [rows, heads, dim].
        k, v: [rows * kv_heads, length, dim], padded to the longest row.
        before: the prefix's keys and values [kv_heads, length, dim], or None.
        scale: query-key products are multiplied by it.
        mask: additive [rows, 1, 1, length], hides the padding.

    Returns:
        [rows, heads * dim]
    """
    rows, heads, dim = q.shape
    # Scaling the few queries is also the copy that makes them contiguous.
    folded = torch.mul(q, scale).view(k.shape[0], -1, dim)
    if before is None:
        near = torch.bmm(folded, k.mT).view(rows, -1, folded.shape[1], k.shape[1]).add_(mask)
        out = torch.bmm(torch.softmax(near, -1).view(folded.shape[0], -1, k.shape[1]), v)
    else:
        out = _with_prefix(folded, k, v, before, mask)
    return out.view(rows, heads * dim)


def attend_rows_by_rules(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    before: tuple[Tensor, Tensor] | None,
    scale: float,
    places: Tensor,
    rules: Rules,
) -> Tensor:
    """As `attend_rows`, with a window, a soft cap or sinks.

    Args:
        k, v: [rows, kv_heads, length, dim].
        places: long [rows], where each row's newest token is among its own.
    """
    near = torch.arange(k.shape[2], device=k.device)[None]
    far = 0 if before is None else before[0].shape[1]
    ks, vs = k.transpose(1, 2), v.transpose(1, 2)
    if before is not None:
        far_k, far_v = (t.transpose(0, 1).expand(len(q), -1, -1, -1) for t in before)
        ks, vs = torch.cat([far_k, ks], 1), torch.cat([far_v, vs], 1)
    key = torch.cat([torch.arange(-far, 0, device=k.device)[None], near], 1)
    hidden = key > places[:, None]
    if rules.window:
        hidden |= key <= places[:, None] - rules.window
    return attend(q[:, None].contiguous(), ks, vs, scale, hidden[:, None], rules)[:, 0]


def _with_prefix(q: Tensor, k: Tensor, v: Tensor, before: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
    """Own keys and the prefix's under one softmax.

    `q` [batch * kv_heads, rows, dim], scaled; `k` and `v` [batch * kv_heads, own, dim]; prefix [kv_heads, length, dim];
    `mask` additive, broadcast to [batch, kv_heads, rows, own].
    """
    keys, values = before
    kv_heads, length, dim = keys.shape
    rows, own = q.shape[1], k.shape[1]
    batch = q.shape[0] // kv_heads
    across = q if batch == 1 else q.view(batch, kv_heads, rows, dim).transpose(0, 1).reshape(kv_heads, -1, dim)
    # By key head first, so that the prefix's part of the weights needs no copy to be multiplied.
    scores = q.new_empty(kv_heads, batch, rows, length + own)
    scores[..., :length] = torch.bmm(across, keys.mT).view(kv_heads, batch, rows, length)
    near = torch.bmm(q, k.mT).view(batch, kv_heads, rows, own)
    place = scores[..., length:].transpose(0, 1)
    if mask is None:
        place.copy_(near)
    else:
        torch.add(near, mask, out=place)
    weights = torch.softmax(scores, -1)
    far = torch.bmm(weights[..., :length].view(kv_heads, -1, length), values)
    out = torch.bmm(weights[..., length:].transpose(0, 1).reshape(-1, rows, own), v)
    return out.add_(far.view(kv_heads, batch, rows, dim).transpose(0, 1).reshape(out.shape))


def _flash(q: Tensor, k: Tensor, v: Tensor, scale: float, before: tuple[Tensor, Tensor] | None) -> Tensor:
    """One long sequence by torch's own kernels; a prefix goes in front of its keys, with a mask by position."""
    tokens, heads, dim = q.shape
    fold = heads // k.shape[1]
    qs, ks, vs = q.transpose(0, 1)[None], k.transpose(0, 1), v.transpose(0, 1)
    mask = None
    if before is not None:
        ks, vs = torch.cat([before[0], ks], 1), torch.cat([before[1], vs], 1)
        length = before[0].shape[1]
        mask = q.new_zeros(tokens, length + tokens)
        mask[:, length:] = torch.full((tokens, tokens), float("-inf"), device=q.device, dtype=q.dtype).triu_(1)
    if fold > 1:
        ks, vs = ks.repeat_interleave(fold, 0), vs.repeat_interleave(fold, 0)
    out = functional.scaled_dot_product_attention(
        qs, ks[None], vs[None], attn_mask=mask, is_causal=mask is None, scale=scale
    )
    return out[0].transpose(0, 1).reshape(tokens, heads * dim)


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


class SharedPacked:
    """`Attention` for one micro-batch, differentiable.

    Args:
        layout: where its rows are.
        fold: query heads over key heads; they are folded into the query length.
    """

    def __init__(self, layout: Layout, fold: int, device: torch.device, dtype: torch.dtype) -> None:
        self._fold = fold
        self._layout = layout
        self.lengths = layout.sequences
        heights = fold if max(layout.shared, *layout.sequences) <= MAX_EXPLICIT else 1
        self._long = heights != fold or max(layout.shared, *layout.sequences) > MAX_EXPLICIT
        runs = _sequences(layout) if self._long else _runs(layout)
        self._groups = tuple(_training_group(*run, heights, device, dtype) for run in runs)

    def __call__(
        self,
        layer: int,  # noqa: ARG002
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: float,
        rules: Rules | None = None,
    ) -> Tensor:
        """[N, heads, head_dim], twice [N, kv_heads, head_dim] -> [N, heads * head_dim]."""
        rules = rules.within(self._layout.shared + max(self._layout.sequences)) if rules is not None else None
        if rules is not None:
            return torch.cat([_row_by_rules(run, q, k, v, scale, rules) for run in _sequences(self._layout)])
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


def _row_by_rules(run: _Run, q: Tensor, k: Tensor, v: Tensor, scale: float, rules: Rules) -> Tensor:
    """One sequence after the shared beginning, with a window, a soft cap or sinks -> [tokens, heads * head_dim]."""
    start, shared, (length,), forks = run
    if not forks:
        ks, vs = (torch.cat([t[:shared], t[start : start + length]])[None] for t in (k, v))
        return attend_causal(q[None, start : start + length], ks, vs, scale, rules)[0]
    # The second completion stands in the packed tokens behind the first, and has its place behind the prompt.
    (trunk, first), index = forks[0], torch.arange(length, device=q.device)
    second = index >= trunk + first
    place = torch.where(second, index - first, index) + shared
    keys = torch.cat([torch.arange(shared, device=q.device), place])
    order = torch.cat([torch.arange(-shared, 0, device=q.device), index])
    hidden = order[None] > index[:, None]
    hidden |= second[:, None] & (order[None] >= trunk) & (order[None] < trunk + first)
    if rules.window:
        hidden |= keys[None] <= place[:, None] - rules.window
    ks, vs = (torch.cat([t[:shared], t[start : start + length]])[None] for t in (k, v))
    return attend(q[None, start : start + length], ks, vs, scale, hidden[None], rules)[0]


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


def _training_group(
    start: int,
    shared: int,
    lengths: Sequence[int],
    forks: Sequence[tuple[int, int]],
    fold: int,
    device: torch.device,
    dtype: torch.dtype,
) -> _Group:
    own = _causal_mask(max(lengths), None, dtype)
    if forks:
        own = own.repeat(len(lengths), 1, 1)
        for number, (trunk, first) in enumerate(forks):
            own[number, trunk + first :, trunk : trunk + first] = float("-inf")
    mask = functional.pad(own, (shared, 0)).repeat_interleave(fold, 1).to(device)
    return _group(start, lengths, mask, device, shared)


def _keys(group: _Group, k: Tensor) -> Tensor:
    """-> [count * kv_heads, shared + longest, dim]"""
    own = _padded(group, k)
    if group.shared:
        own = torch.cat([k[: group.shared].expand(group.count, -1, -1, -1), own], 1)
    return _fold_keys(own)


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
        kv_heads = k.shape[1]
        out = q.new_empty(q.shape)
        kept: list[Tensor] = []
        for group in groups:
            qf, kf, vf = _fold_queries(_padded(group, q), kv_heads), _keys(group, k), _keys(group, v)
            p = torch.softmax(_scores(group, qf, kf, scale), -1)
            _put(group, _unfold_queries(group, torch.bmm(p, vf)), out)
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
            _put(group, _unfold_queries(group, dqf), dq)
            _put_keys(group, dkf, dk)
            _put_keys(group, dvf, dv)
        return None, dq, dk, dv, None


def _gradient(group: _Group, grad: Tensor, kv_heads: int) -> Tensor:
    """As the folded queries, but zero in padded places, whose output was dropped."""
    if group.scatter is None:
        return _fold_queries(_padded(group, grad), kv_heads)
    padded = grad.new_zeros(group.count * group.longest, *grad.shape[1:])
    padded.index_copy_(0, group.scatter, grad[group.start : group.stop])
    return _fold_queries(padded.view(group.count, group.longest, *grad.shape[1:]), kv_heads)


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
