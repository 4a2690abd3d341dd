"""The next token of each row of a batch, exactly as its settings say, without sorting the vocabulary.

With a top-k the candidates are found by block maxima: the k likeliest tokens lie in the k blocks with the largest
maxima, so only those blocks are looked into. Top-p and min-p alone are met by drawing from the whole vocabulary and
drawing again where the token turns out not to be among those that stay: at 0.95 that is one more draw in twenty.
(64 rows of 49,152 tokens, top-p, one core: sort 182 ms, top-k with widening 3 to 60 ms, this 2.5 ms.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.inference.requests import Sampling

_BLOCK = 64
_DRAWS = 16
"""Draws before the rows that are left are sorted after all."""
_TIE = 1 + 1e-5
"""Tokens whose probabilities differ by less than this factor count as equally likely: rounding could order them."""
_MASK = (1 << 64) - 1


def uniform(seed: int, step: int, draw: int = 0) -> float:
    """A number in [0, 1) that depends on nothing else: splitmix64 (Steele, Lea and Flood, 2014) of its arguments."""
    return (_mix(_mix(seed & _MASK) ^ _mix(((step + 1) * _DRAWS * 4 + draw) * _SPREAD & _MASK)) >> 40) * 2.0**-24


_SPREAD = 0xD1342543DE82EF95


def _mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


@dataclass(frozen=True)
class _Group:
    """Rows of a batch that are sampled in the same way.

    Args:
        rows: their places in the batch, or None where that is all of it.
        order: the same as a tuple.
        inverse_temperature, top_k, top_p, min_p: fp32 [rows, 1]; the first None where all are 1.
        limited: whether any of them leaves tokens out.
        width: the largest top-k.
    """

    rows: Tensor | None
    order: tuple[int, ...]
    inverse_temperature: Tensor | None
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    limited: bool
    width: int


class Sampler:
    """Chooses tokens for a batch of fixed membership; make a new one when rows come or go.

    Order of operations as in transformers: temperature, then top-k, then top-p over what top-k left, then min-p
    relative to the likeliest. Among the tokens that are left one is drawn by inverting their cumulative distribution
    at `uniform(seed, step)`.

    Args:
        settings: one a row.
        seeds: one a row.
    """

    def __init__(self, settings: Sequence[Sampling], seeds: Sequence[int], device: torch.device | None = None) -> None:
        self._seeds = list(seeds)
        self._device = device
        self._count = len(settings)
        greedy = [i for i, s in enumerate(settings) if s.temperature <= 0]
        few = [i for i, s in enumerate(settings) if s.temperature > 0 and s.top_k > 0]
        free = [i for i, s in enumerate(settings) if s.temperature > 0 and s.top_k <= 0]
        groups = [(self._greedy, greedy), (self._sample_top_k, few), (self._sample_full, free)]
        self._groups = [(draw, self._group(settings, rows)) for draw, rows in groups if rows]

    def __call__(self, logits: Tensor, steps: Sequence[int]) -> Tensor:
        """Logits [rows, vocab] and each row's number of tokens so far -> tokens, long [rows]."""
        if len(self._groups) == 1:
            draw, group = self._groups[0]
            return draw(logits, group, steps)
        tokens = torch.empty(self._count, dtype=torch.long, device=logits.device)
        for draw, group in self._groups:
            assert group.rows is not None
            tokens[group.rows] = draw(logits[group.rows], group, steps)
        return tokens

    def _group(self, settings: Sequence[Sampling], order: list[int]) -> _Group:
        chosen = [settings[i] for i in order]

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]

        temperatures = [s.temperature for s in chosen]
        return _Group(
            rows=None if len(order) == len(settings) else torch.tensor(order, device=self._device),
            order=tuple(order),
            inverse_temperature=None
            if set(temperatures) <= {0.0, 1.0}
            else column([1 / (t or 1) for t in temperatures]),
            top_k=column([float(s.top_k) for s in chosen]),
            # 2 is more than any sum of probabilities: rounding must not leave a token out where nothing is limited.
            top_p=column([s.top_p if s.top_p < 1 else 2.0 for s in chosen]),
            min_p=column([s.min_p for s in chosen]),
            limited=any(s.top_p < 1 or s.min_p > 0 for s in chosen),
            width=max(s.top_k for s in chosen),
        )

    def _uniforms(
        self, group: _Group, steps: Sequence[int], draw: int = 0, among: Sequence[int] | None = None
    ) -> Tensor:
        """[rows, 1], for those of the group's rows whose places are `among`."""
        rows = group.order if among is None else [group.order[i] for i in among]
        numbers = [uniform(self._seeds[row], steps[row], draw) for row in rows]
        return torch.tensor(numbers, dtype=torch.float32, device=self._device)[:, None]

    @staticmethod
    def _greedy(logits: Tensor, _group: _Group, _steps: Sequence[int]) -> Tensor:
        """The first of the likeliest tokens."""
        # A reduction over bf16 is many times slower than the same over fp32.
        blocks = _blocks(logits.float(), float("-inf"))
        block = blocks.amax(-1).argmax(-1)
        inside = blocks[torch.arange(blocks.shape[0], device=logits.device), block]
        return inside.argmax(-1) + block * _BLOCK

    def _sample_top_k(self, logits: Tensor, group: _Group, steps: Sequence[int]) -> Tensor:
        """From the k likeliest tokens, likeliest first."""
        values, tokens = top_k_blocks(logits.float(), group.width)
        if group.inverse_temperature is not None:
            values = values * group.inverse_temperature
        inside = torch.arange(values.shape[1], device=values.device) < group.top_k
        weights = torch.softmax(values.masked_fill(~inside, float("-inf")), -1)
        if group.limited:
            weights = _limit(weights, group.top_p, group.min_p)
        return tokens.gather(1, _inverse_cdf(weights, self._uniforms(group, steps))[:, None])[:, 0]

    def _sample_full(self, logits: Tensor, group: _Group, steps: Sequence[int]) -> Tensor:
        """From the whole vocabulary; again for the rows whose token does not stay."""
        weights = _probabilities(logits, group.inverse_temperature)
        tokens = _draw(weights, self._uniforms(group, steps))
        if not group.limited:
            return tokens
        places = list(range(len(group.order)))
        stays = _nucleus_mask(weights, tokens, group.top_p, group.min_p)
        for draw in range(1, _DRAWS + 1):
            places = [place for place, stay in zip(places, stays.tolist(), strict=True) if not stay]
            if not places:
                return tokens
            rows = torch.tensor(places, device=logits.device)
            hotter = None if group.inverse_temperature is None else group.inverse_temperature[rows]
            weights = _probabilities(logits[rows], hotter)
            u = self._uniforms(group, steps, draw, places)
            if draw == _DRAWS:
                ordered = weights.sort(-1, descending=True)
                kept = _limit(ordered.values, group.top_p[rows], group.min_p[rows])
                tokens[rows] = ordered.indices.gather(1, _inverse_cdf(kept, u)[:, None])[:, 0]
                return tokens
            tokens[rows] = drawn = _draw(weights, u)
            stays = _nucleus_mask(weights, drawn, group.top_p[rows], group.min_p[rows])
        return tokens


def _probabilities(logits: Tensor, inverse_temperature: Tensor | None) -> Tensor:
    """fp32 [rows, vocab], a tensor of its own."""
    if inverse_temperature is None:
        return torch.softmax(logits, -1, dtype=torch.float32)
    return torch.softmax(logits.float() * inverse_temperature, -1)


def _draw(weights: Tensor, u: Tensor) -> Tensor:
    """A token of each row [rows], by probability, in the vocabulary's order: first the block, then the place in it."""
    blocks = _blocks(weights, 0.0)
    sums = blocks.sum(-1)
    ends = sums.cumsum(-1)
    target = u * ends[:, -1:]
    block = _first_above(sums, ends, target)[:, None]
    before = ends.gather(1, block) - sums.gather(1, block)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, _BLOCK))[:, 0]
    return _first_above(inside, inside.cumsum(-1), target - before) + block[:, 0] * _BLOCK


def _nucleus_mask(weights: Tensor, tokens: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Whether each row's token is among those that top-p and min-p leave: all likelier ones sum to less than top-p, and
    it is at least min-p times as likely as the likeliest. Uses `weights` up."""
    own = weights.gather(1, tokens[:, None])
    best = _blocks(weights, 0.0).amax(-1).amax(-1, keepdim=True)
    # In units of the token's own probability one in-place pass leaves the likelier ones alone.
    likelier: Tensor = torch.threshold_(weights.mul_(1 / own), _TIE, 0.0).sum(-1, keepdim=True) * own
    stays: Tensor = (likelier < top_p) & (own >= best * min_p)
    return stays[:, 0]


def _limit(weights: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Probabilities [rows, width], falling, with 0 for those that do not stay."""
    stays = (weights.cumsum(-1) - weights < top_p) & (weights >= weights[:, :1] * min_p)
    return weights * stays


def top_k_blocks(logits: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` largest of each row [rows, vocab], falling, with their places: values and tokens [rows, width]."""
    vocab = logits.shape[1]
    width = min(width, vocab)
    if width * _BLOCK >= vocab // 2:
        values, tokens = torch.topk(logits, width)
        return values, tokens
    blocks = _blocks(logits, float("-inf"))
    best = torch.topk(blocks.amax(-1), width, sorted=False).indices
    inside = blocks.gather(1, best[..., None].expand(-1, -1, blocks.shape[-1])).flatten(1)
    values, places = torch.topk(inside, width)
    return values, best.gather(1, places // _BLOCK) * _BLOCK + places % _BLOCK


def _blocks(x: Tensor, fill: float) -> Tensor:
    """[rows, vocab] -> [rows, blocks, 64], without a copy where the vocabulary is a multiple of 64."""
    rest = -x.shape[1] % _BLOCK
    if rest:
        x = functional.pad(x, (0, rest), value=fill)
    return x.view(x.shape[0], -1, _BLOCK)


def _inverse_cdf(weights: Tensor, u: Tensor) -> Tensor:
    """The place that `u` [rows, 1] in [0, 1) falls on, with places as wide as their `weights` [rows, width]."""
    ends = weights.cumsum(-1)
    return _first_above(weights, ends, u * ends[:, -1:])


def _first_above(weights: Tensor, ends: Tensor, target: Tensor) -> Tensor:
    """The first place of each row where the running sum `ends` [rows, width] exceeds `target` [rows, 1]; the last
    place that has a weight where rounding keeps it below."""
    place = (ends <= target).sum(-1)
    last = (weights > 0).long().mul_(torch.arange(1, weights.shape[1] + 1, device=weights.device)).amax(-1) - 1
    return torch.minimum(place, last.clamp_(min=0))
