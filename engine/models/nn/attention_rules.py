"""Attention with more than a causal mask: sliding windows, soft-capped scores, sinks.

The explicit form for families that need one of them (gemma 2 and 3, phi-3, starcoder2, gpt_oss, ...), differentiable by
autograd. `engine.models.nn.attention` has the fast forms for plain causal attention, and comes here where a rule
changes the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_MAX_SCORES = 1 << 24
"""Query-key products of all heads at a time; longer texts are attended to in blocks of queries."""


@dataclass(frozen=True)
class Rules:
    """What a layer's attention does beyond the causal mask.

    Args:
        window: a query attends to this many tokens, itself included; 0 for all before it.
        softcap: scores s become `softcap * tanh(s / softcap)`; 0 leaves them.
        sinks: [heads], a score by head that takes part in the softmax and brings no value; None for none.
    """

    window: int = 0
    softcap: float = 0.0
    sinks: Tensor | None = None

    def within(self, tokens: int) -> Rules | None:
        """The rules that change anything in texts of so many tokens; None where none does."""
        window = self.window if 0 < self.window < tokens else 0
        if not window and not self.softcap and self.sinks is None:
            return None
        return self if window == self.window else replace(self, window=window)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, hidden: Tensor, rules: Rules) -> Tensor:
    """Explicit attention.

    Args:
        q: [batch, rows, heads, dim].
        k, v: [batch, keys, kv_heads, dim].
        scale: query-key products are multiplied by it.
        hidden: bool, broadcast to [batch, rows, keys]: what a query does not attend to. The window is part of it.
        rules: for soft cap and sinks.

    Returns:
        [batch, rows, heads * dim], in the dtype of `v`.
    """
    batch, rows, heads, dim = q.shape
    kv_heads = k.shape[2]
    folded = q.view(batch, rows, kv_heads, -1, dim).permute(0, 2, 3, 1, 4)
    scores = torch.matmul(folded, k.permute(0, 2, 3, 1)[:, :, None]).mul(scale)
    if rules.softcap:
        scores = torch.tanh(scores / rules.softcap) * rules.softcap
    scores = scores.masked_fill(hidden.expand(batch, rows, -1)[:, None, None], float("-inf"))
    if rules.sinks is not None:
        sinks = rules.sinks.to(scores.dtype).view(1, kv_heads, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sinks], -1)
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(v.dtype)
    if rules.sinks is not None:
        weights = weights[..., :-1]
    out = torch.matmul(weights, v.permute(0, 2, 1, 3)[:, :, None])
    return out.permute(0, 3, 1, 2, 4).reshape(batch, rows, heads * v.shape[-1])


def attend_causal(q: Tensor, k: Tensor, v: Tensor, scale: float, rules: Rules) -> Tensor:
    """Causal attention of the last `rows` of `keys` tokens, in blocks of queries.

    `q` [batch, rows, heads, dim]; `k` and `v` [batch, keys, kv_heads, dim] -> [batch, rows, heads * dim].
    """
    batch, rows, heads, _ = q.shape
    before = k.shape[1] - rows
    block = max(1, _MAX_SCORES // max(1, batch * heads * k.shape[1]))
    outs = []
    for start in range(0, rows, block):
        stop = min(rows, start + block)
        first = max(0, before + start - rules.window + 1) if rules.window else 0
        last = before + stop
        place = torch.arange(before + start, last, device=q.device)[:, None]
        key = torch.arange(first, last, device=q.device)[None]
        hidden = key > place
        if rules.window:
            hidden |= key <= place - rules.window
        outs.append(attend(q[:, start:stop], k[:, first:last], v[:, first:last], scale, hidden[None], rules))
    return outs[0] if len(outs) == 1 else torch.cat(outs, 1)
