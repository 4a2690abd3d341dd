"""Scores given texts: log-probabilities of completions and hidden states of layers, for judges and for DPO.

Sequences are packed by length, what several share at their beginning is computed once, and the head sees the positions
of completions alone, a few at a time: no logits tensor over prompts is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.control import Control
from engine.errors import InputError
from engine.models.inference.prefix_cache import compute_prefix, find_shared
from engine.models.nn.attention import CausalPacked, Prefix
from engine.models.nn.decoder import Decoder, Hidden, pack
from engine.models.nn.lora_weights import Adapter

Pooling = Literal["last", "mean", "mean+last"]

_BATCH_TOKENS = 1024
"""Tokens of one pass: matrix products are at their best from about 640 rows on, and a stop is obeyed after each."""
_HEAD_ROWS = 64
"""Positions whose logits are in memory at a time: 12 MB at 49,152 tokens, which stays in the processor's cache."""


@dataclass(frozen=True)
class _Piece:
    """Sequences that go through the decoder together.

    Args:
        members: their places in the caller's list.
        own: each one's tokens after the prefix.
        prefix: what comes before, or None.
    """

    members: list[int]
    own: list[Sequence[int]]
    prefix: Prefix | None

    @property
    def start(self) -> int:
        return self.prefix.length if self.prefix is not None else 0


def logprobs(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    control: Control,
    *,
    adapter: Adapter | None = None,
) -> list[Tensor]:
    """Log-probability of each token of each completion after its prompt, without temperature.

    Args:
        decoder: the model.
        prompts: token lists, none empty.
        completions: token lists, one a prompt; may be empty.
        control: `check` is called once a pass.
        adapter: low-rank changes to add, or None.

    Returns:
        fp32 [tokens of the completion] on the CPU, in the order given.

    Raises:
        InputError: if a prompt is empty, or a prompt with its completion is longer than the context; names it.
        Stopped: if asked to.
    """
    if len(prompts) != len(completions):
        raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
    whole = [[*p, *c] for p, c in zip(prompts, completions, strict=True)]
    _check(decoder, whole, prompts)
    out: list[Tensor] = [torch.empty(0)] * len(whole)
    # The last token of a sequence predicts nothing, and what comes before the prompt's last token needs no head.
    inputs = [sequence[:-1] if completion else [] for sequence, completion in zip(whole, completions, strict=True)]
    for piece in _pieces(decoder, inputs, prompts, control, adapter):
        control.check()
        with torch.inference_mode():
            hidden = _forward(decoder, piece, adapter).last
            rows: list[int] = []
            targets: list[int] = []
            at = 0
            for member, own in zip(piece.members, piece.own, strict=True):
                count = len(completions[member])
                rows += range(at + len(own) - count, at + len(own))
                targets += completions[member]
                at += len(own)
            scored = _gather(decoder, hidden[torch.tensor(rows, device=hidden.device)], targets)
        parts = torch.split(scored, [len(completions[member]) for member in piece.members])
        for member, part in zip(piece.members, parts, strict=True):
            out[member] = part.clone()
    return out


def hidden_states(
    decoder: Decoder,
    sequences: Sequence[Sequence[int]],
    layers: Sequence[int],
    control: Control,
    *,
    pooling: Pooling = "last",
    starts: Sequence[int] | None = None,
    adapter: Adapter | None = None,
) -> Tensor:
    """One vector a sequence and layer, from the residual stream; nothing is computed above the highest layer.

    Args:
        decoder: the model.
        sequences: token lists, none empty.
        layers: as transformers numbers `hidden_states`: 0 is the embedding, `architecture.layers` the last, after the
            final norm.
        control: `check` is called once a pass.
        pooling: "last" takes the last token's state, "mean" the mean over tokens from `starts` on, "mean+last" the
            mean of all from there on but the last, and the last behind it.
        starts: first token of each sequence that counts for the mean; all count where None.
        adapter: low-rank changes to add, or None.

    Returns:
        fp32 [sequences, layers, width] on the CPU; twice the width for "mean+last".

    Raises:
        InputError: if a sequence is empty or longer than the context; names it.
        Stopped: if asked to.
    """
    _check(decoder, sequences, sequences)
    if not all(0 <= layer <= decoder.architecture.layers for layer in layers):
        raise ValueError(f"layers {list(layers)} of a model with {decoder.architecture.layers}")
    firsts = [len(s) - 1 if pooling == "last" else 0 for s in sequences] if starts is None else list(starts)
    if pooling == "last":
        firsts = [len(s) - 1 for s in sequences]
    both = pooling == "mean+last"
    out = torch.zeros(len(sequences), len(layers), decoder.architecture.width * (1 + both))
    # A shared beginning may not reach into what is pooled.
    before = [s[: max(1, first + 1)] for s, first in zip(sequences, firsts, strict=True)]
    for piece in _pieces(decoder, sequences, before, control, adapter):
        control.check()
        with torch.inference_mode():
            states = _forward(decoder, piece, adapter, layers).layers
            kept = torch.stack([states[layer] for layer in layers], 1).float()
            at = 0
            for member, own in zip(piece.members, piece.own, strict=True):
                first = min(firsts[member] - piece.start, len(own) - 1)
                end = at + len(own)
                pooled = kept[at + first : max(end - both, at + first + 1)].mean(0)
                out[member] = (torch.cat([pooled, kept[end - 1]], -1) if both else pooled).cpu()
                at = end
    return out


def _check(decoder: Decoder, sequences: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]]) -> None:
    context = decoder.architecture.context
    for number, (sequence, prompt) in enumerate(zip(sequences, prompts, strict=True), 1):
        if not prompt:
            raise InputError("a text to be scored is empty.", where=f"text {number}")
        if len(sequence) > context:
            raise InputError(
                f"a text to be scored has {len(sequence):,} tokens; the model's context holds {context:,}.",
                where=f"text {number}",
                next_step="Shorten it or choose a model with a longer context.",
            )


def _pieces(
    decoder: Decoder,
    sequences: Sequence[Sequence[int]],
    prompts: Sequence[Sequence[int]],
    control: Control,
    adapter: Adapter | None,
) -> Iterator[_Piece]:
    """Batches of like length after one prefix; only `prompts` share prefixes. Empty sequences are left out."""
    wanted = [i for i, sequence in enumerate(sequences) if sequence]
    for shared in find_shared([prompts[i] for i in wanted]):
        members = sorted((wanted[i] for i in shared.members), key=lambda i: len(sequences[i]))
        prefix = None
        if shared.length:
            prefix = compute_prefix(decoder, prompts[members[0]][: shared.length], control, adapter=adapter)
        batch: list[int] = []
        tokens = 0
        for member in members:
            own = len(sequences[member]) - shared.length
            if batch and tokens + own > _BATCH_TOKENS:
                yield _Piece(batch, [sequences[i][shared.length :] for i in batch], prefix)
                batch, tokens = [], 0
            batch.append(member)
            tokens += own
        if batch:
            yield _Piece(batch, [sequences[i][shared.length :] for i in batch], prefix)


def _forward(decoder: Decoder, piece: _Piece, adapter: Adapter | None, layers: Sequence[int] = ()) -> Hidden:
    tokens, positions = pack(piece.own, start=piece.start, device=decoder.device)
    attention = CausalPacked(
        [len(own) for own in piece.own],
        decoder.architecture.group,
        prefix=piece.prefix,
        device=decoder.device,
        dtype=decoder.dtype,
    )
    return decoder.forward(tokens, positions, attention, adapter=adapter, layers=layers, only_layers=bool(layers))


def _gather(decoder: Decoder, hidden: Tensor, targets: Sequence[int]) -> Tensor:
    """The targets' log-probabilities, fp32 [rows] on the CPU."""
    wanted = torch.tensor(targets, dtype=torch.long, device=hidden.device)[:, None]
    parts = [
        torch.log_softmax(decoder.logits(rows), -1, dtype=torch.float32).gather(1, tokens)[:, 0]
        for rows, tokens in zip(torch.split(hidden, _HEAD_ROWS), torch.split(wanted, _HEAD_ROWS), strict=True)
    ]
    return torch.cat(parts).cpu()
