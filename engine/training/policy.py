"""A decoder with the adapter under training, asked for the log-probabilities of completions.

What rows have in common goes through the model once: the prompt of a pair, and the beginning of all prompts of a
micro-batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.inference.prefix_cache import shared_prefix_length
from engine.models.nn.attention import Layout, SharedPacked
from engine.models.nn.decoder import LanguageDecoder
from engine.models.nn.lora_weights import Adapter
from engine.training.losses import token_logps

_WORTH_SHARING = 32
"""Tokens that must be saved before a shared beginning becomes a sequence of its own."""

_MULTIPLE = 32
"""Passes of 256 tokens and more are filled up to a multiple of this. oneDNN compiles a kernel for each number of rows:
in bfloat16 with AMX 7 ms where the product itself takes 2, some 50 times a step (docs/log/training.md)."""


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of the tokens of several completions, one completion after another.

    Args:
        logps: [N] float32, differentiable towards the adapter where there is one that learns.
        correct: [N] bool, whether the token was the likeliest.
        lengths: [completions] long, with sum N.
    """

    logps: Tensor
    correct: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Completions:
    """A prompt and one or two completions that follow it, none empty."""

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Policy:
    """The model as training sees it.

    Args:
        decoder: frozen weights.
        adapter: added to them, or None for the bare model.
        learn: whether scores carry gradients.
    """

    decoder: LanguageDecoder
    adapter: Adapter | None = None
    learn: bool = True

    def score(self, rows: Sequence[Completions]) -> Scored:
        """One forward pass over all rows at once; what their prompts begin with in common goes through once.

        Where nothing is learned, the same arithmetic is used: the decoder's fused products without autograd round
        otherwise in bf16, and a reference that is off by that much for a pair would pull at it for the whole training.
        """
        packed = _pack(rows if self.decoder.packs else _apart(rows), self.decoder.packs)
        device = self.decoder.device
        attention = SharedPacked(packed.layout, self.decoder.config.group, device, self.decoder.dtype)
        with torch.enable_grad():
            hidden = self.decoder.forward(
                packed.tokens.to(device), packed.positions.to(device), attention, adapter=self.adapter
            ).last
        if not self.learn:
            hidden = hidden.detach()
        logps, correct = token_logps(
            hidden.index_select(0, packed.before.to(device)), self.decoder.head, packed.targets.to(device)
        )
        return Scored(logps, correct, packed.lengths.to(device))


@dataclass(frozen=True)
class _Packed:
    """Input of one pass: `before` [N] names the packed place whose state predicts each of the `targets` [N];
    `lengths` are those of the completions, `layout` is what attention needs to know."""

    tokens: Tensor
    positions: Tensor
    before: Tensor
    targets: Tensor
    lengths: Tensor
    layout: Layout


def _apart(rows: Sequence[Completions]) -> list[Completions]:
    """Each completion with a prompt of its own, for models whose sequences cannot share one."""
    return [Completions(row.prompt, (completion,)) for row in rows for completion in row.completions]


def _pack(rows: Sequence[Completions], share: bool = True) -> _Packed:
    shared = _worth_sharing([row.prompt for row in rows]) if share else 0
    tokens = list(rows[0].prompt[:shared])
    positions = list(range(shared))
    before: list[int] = []
    targets: list[int] = []
    sequences: list[int] = []
    forks: list[tuple[int, int]] = []
    for row in rows:
        begin, end = len(tokens), len(row.prompt)
        tokens += row.prompt[shared:]
        positions += range(shared, end)
        last = len(tokens) - 1
        for completion in row.completions:
            # The prompt's last token predicts the first of a completion; a completion's own last predicts nothing
            # that is learned, so it does not go in.
            before += [last, *range(len(tokens), len(tokens) + len(completion) - 1)]
            targets += completion
            tokens += completion[:-1]
            positions += range(end, end + len(completion) - 1)
        sequences.append(len(tokens) - begin)
        forks.append((end - shared, len(row.completions[0]) - 1))
    forked = any(len(row.completions) > 1 for row in rows)
    if share:
        extra = _padding(len(tokens))
        # Behind the last sequence: no other token sees them, and nothing is predicted from them.
        tokens += tokens[-1:] * extra
        positions += positions[-1:] * extra
        sequences[-1] += extra
    return _Packed(
        tokens=_long(tokens),
        positions=_long(positions),
        before=_long(before),
        targets=_long(targets),
        lengths=_long([len(completion) for row in rows for completion in row.completions]),
        layout=Layout(shared, tuple(sequences), tuple(forks) if forked else ()),
    )


def _padding(count: int) -> int:
    """Tokens to add, so that few different numbers of them go through the model."""
    return -count % _MULTIPLE if count >= 8 * _MULTIPLE else 0


def _worth_sharing(prompts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all prompts begin with, one of each left over at least; 0 where sharing saves next to nothing."""
    same = shared_prefix_length(prompts)
    return same if same * (len(prompts) - 1) >= _WORTH_SHARING else 0


def _long(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def fingerprint(decoder: LanguageDecoder, adapter: Adapter | None = None) -> str:
    """SHA-256 over sizes, dtype and two sums of every matrix: names a model in checkpoints and in stored
    reference values, without reading a file. Any change that training makes to any matrix changes it."""
    digest = hashlib.sha256(decoder.description().encode())
    matrices = list(decoder.matrices())
    for _, pair in sorted(adapter.pairs.items()) if adapter is not None else ():
        matrices += [pair.a * pair.scale, pair.b]
    with torch.no_grad():
        for matrix in matrices:
            # One probe vector that is the same everywhere: position counts, not only the total.
            wide = matrix.detach().reshape(-1, matrix.shape[-1])
            probe = torch.linspace(0.5, 1.5, wide.shape[-1], dtype=wide.dtype, device=wide.device)
            digest.update((wide @ probe).float().cpu().numpy().tobytes())
    return digest.hexdigest()
