"""Causal attention over packed tokens, with or without a prefix that every sequence shares.

Queries, keys and values come as [N, heads, head_dim], sequences one after another without padding. Grouped-query heads
are folded into the query length, so keys and values are never expanded. Short sequences use explicit matrix products,
long ones torch's flash kernel. The prefix is attended to by all queries as one matrix product and joined with a
sequence's own keys under one softmax (Hydragen, Juravsky et al., 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

SCORE_NUMBERS = 1 << 22
"""Most query-key products of one group at a time: bounds the memory of the explicit form."""
_LONG = 640
"""Sequences above this many tokens use the flash kernel: the explicit form computes the masked half too."""


class Attention(Protocol):
    """What the decoder asks of whatever holds keys and values."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """[N, heads, head_dim], twice [N, kv_heads, head_dim] -> [N, heads * head_dim]."""
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
    """Neighbouring sequences that are attended to together, padded to the longest.

    `gather` [count * longest] names the packed token (of the group) of every padded place, and `scatter` [tokens] the
    padded place of every token; both None where all are of one length. `mask` is added to the scores: [1, rows, keys].
    """

    start: int
    stop: int
    count: int
    longest: int
    gather: Tensor | None
    scatter: Tensor | None
    mask: Tensor | None


class CausalPacked:
    """Each sequence attends to itself, causally, and to all of `prefix`. For generating and scoring; training has
    `engine.training.attention.SharedPacked`, whose backward pass costs less.

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
        self._prefix = prefix if prefix is not None and prefix.length else None
        self._store = store
        self._fold = group
        before = prefix.length if prefix is not None else 0
        self._groups = [_make_group(run, group, device, dtype) for run in _partition(lengths, before)]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        if self._store is not None:
            self._store(layer, k, v)
        before = None if self._prefix is None else (self._prefix.keys[layer], self._prefix.values[layer])
        outs = [_attend_group(g, q, k, v, scale, before) for g in self._groups]
        return outs[0] if len(outs) == 1 else torch.cat(outs)


class Store(Protocol):
    def __call__(self, layer: int, k: Tensor, v: Tensor) -> None: ...


def _partition(lengths: Sequence[int], before: int) -> Iterable[tuple[int, list[int]]]:
    """Runs of sequences: (first token, lengths), so that padding stays under a quarter and scores under the bound."""
    start = 0
    run: list[int] = []
    for length in lengths:
        longest, count = max([*run, length]), len(run) + 1
        wasteful = longest * count > 1.25 * (sum(run) + length) + 32
        large = longest * count * (longest + before) > SCORE_NUMBERS // 8 or longest > _LONG
        if run and (wasteful or large):
            yield start, run
            start, run = start + sum(run), []
        run.append(length)
    if run:
        yield start, run


def _make_group(run: tuple[int, list[int]], fold: int, device: torch.device | None, dtype: torch.dtype) -> _Group:
    start, lengths = run
    total, count, longest = sum(lengths), len(lengths), max(lengths)
    mask = None
    if 1 < longest <= _LONG:
        own = torch.full((longest, longest), float("-inf"), device=device, dtype=dtype).triu_(1)
        mask = own.repeat_interleave(fold, 0)[None] if fold > 1 else own[None]
    if min(lengths) == longest:
        return _Group(start, start + total, count, longest, None, None, mask)
    place = torch.arange(longest)
    sizes = torch.tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    valid = place[None] < sizes[:, None]
    # Padded places read the sequence's last token: finite numbers that the causal mask hides from every real query.
    gather = starts[:, None] + torch.minimum(place[None], sizes[:, None] - 1)
    scatter = valid.flatten().nonzero().flatten()
    return _Group(start, start + total, count, longest, gather.flatten().to(device), scatter.to(device), mask)


def _attend_group(
    group: _Group, q: Tensor, k: Tensor, v: Tensor, scale: float, before: tuple[Tensor, Tensor] | None
) -> Tensor:
    whole = group.start == 0 and group.stop == q.shape[0]
    if not whole:
        q, k, v = (t[group.start : group.stop] for t in (q, k, v))
    keys = group.longest + (before[0].shape[1] if before is not None else 0)
    if group.longest > _LONG or group.longest * keys > SCORE_NUMBERS // 2:
        return _flash(q, k, v, scale, before)
    qf, kf, vf = _fold(group, q, k.shape[1]), _spread(group, k), _spread(group, v)
    if before is None:
        out = torch.bmm(_probabilities(group, qf, kf, scale), vf)
    else:
        out = _with_prefix(qf.mul_(scale) if group.gather is not None else qf * scale, kf, vf, before, group.mask)
    return _unfold(group, out, q.shape)


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


def _probabilities(group: _Group, q: Tensor, k: Tensor, scale: float) -> Tensor:
    if group.mask is None:
        return torch.softmax(torch.bmm(q, k.mT).mul_(scale), -1)
    return torch.softmax(torch.baddbmm(group.mask, q, k.mT, alpha=scale), -1)


def _fold(group: _Group, q: Tensor, kv_heads: int) -> Tensor:
    """[tokens, heads, dim] -> [count * kv_heads, longest * fold, dim]"""
    if group.gather is not None:
        q = q.index_select(0, group.gather)
    q = q.view(group.count, group.longest, kv_heads, -1, q.shape[-1]).transpose(1, 2)
    return q.reshape(group.count * kv_heads, -1, q.shape[-1])


def _spread(group: _Group, k: Tensor) -> Tensor:
    """[tokens, kv_heads, dim] -> [count * kv_heads, longest, dim]"""
    if group.gather is not None:
        k = k.index_select(0, group.gather)
    k = k.reshape(group.count, group.longest, -1, k.shape[-1]).transpose(1, 2)
    return k.reshape(-1, group.longest, k.shape[-1])


def _unfold(group: _Group, out: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_fold`, heads joined: -> [tokens, heads * dim]"""
    _, heads, dim = shape
    kv_heads = out.shape[0] // group.count
    out = out.view(group.count, kv_heads, group.longest, heads // kv_heads, dim).transpose(1, 2)
    out = out.reshape(group.count * group.longest, heads * dim)
    return out if group.scatter is None else out.index_select(0, group.scatter)


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
