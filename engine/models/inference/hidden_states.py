"""Hidden states of given texts, pooled to one vector per text and layer, for judges.

Sequences are packed by length, and what several share at their beginning is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.control import Control, InFlight
from engine.errors import InputError
from engine.models.inference.prefix_cache import Shared, compute_prefix, find_shared
from engine.models.nn.attention import CausalPacked, Prefix
from engine.models.nn.decoder import DecoderOutput, LanguageDecoder, pack

Pooling = Literal["last", "mean", "mean+last"]

_BATCH_TOKENS = 1024
"""Tokens of one pass: matrix products are at their best from about 640 rows on, and a stop is obeyed after each."""


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


def hidden_states(
    decoder: LanguageDecoder,
    sequences: Sequence[Sequence[int]],
    layers: Sequence[int],
    control: Control,
    *,
    pooling: Pooling = "last",
    starts: Sequence[int] | None = None,
) -> Tensor:
    """One vector a sequence and layer, from the residual stream; nothing is computed above the highest layer.

    Args:
        decoder: the model.
        sequences: token lists, none empty.
        layers: as transformers numbers `hidden_states`: 0 is the embedding, `config.num_layers` the last,
            after the final norm.
        control: `check` is called once a pass.
        pooling: "last" takes the last token's state, "mean" the mean over tokens from `starts` on, "mean+last" the
            mean of all from there on but the last, and the last behind it.
        starts: first token of each sequence that counts for the mean; all count where None.

    Returns:
        fp32 [sequences, layers, width] on the CPU; twice the width for "mean+last".

    Raises:
        InputError: if a sequence is empty or longer than the context; names it.
        Stopped: if asked to.
    """
    _check(decoder, sequences, sequences)
    if not all(0 <= layer <= decoder.config.num_layers for layer in layers):
        raise ValueError(f"layers {list(layers)} of a model with {decoder.config.num_layers}")
    firsts = [len(s) - 1 if pooling == "last" else 0 for s in sequences] if starts is None else list(starts)
    if pooling == "last":
        firsts = [len(s) - 1 for s in sequences]
    both = pooling == "mean+last"
    out = torch.zeros(len(sequences), len(layers), decoder.config.hidden_size * (1 + both))
    # A shared beginning may not reach into what is pooled.
    before = [s[: max(1, first + 1)] for s, first in zip(sequences, firsts, strict=True)]
    tokens_read, tokens = 0, sum(len(s) for s in sequences)
    for piece in _pieces(decoder, sequences, before, control):
        control.check()
        read = len(sequences) * tokens_read / tokens
        control.report(lambda read=read: InFlight(read=read))  # type: ignore[misc]
        tokens_read += sum(len(sequences[member]) for member in piece.members)
        with torch.inference_mode():
            states = _forward(decoder, piece, layers).layers
            kept = torch.stack([states[layer] for layer in layers], 1).float()
            at = 0
            for member, own in zip(piece.members, piece.own, strict=True):
                first = min(firsts[member] - piece.start, len(own) - 1)
                end = at + len(own)
                pooled = kept[at + first : max(end - both, at + first + 1)].mean(0)
                out[member] = (torch.cat([pooled, kept[end - 1]], -1) if both else pooled).cpu()
                at = end
    return out


def _check(decoder: LanguageDecoder, sequences: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]]) -> None:
    context = decoder.config.context
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
    decoder: LanguageDecoder,
    sequences: Sequence[Sequence[int]],
    prompts: Sequence[Sequence[int]],
    control: Control,
) -> Iterator[_Piece]:
    """Batches of like length after one prefix; only `prompts` share prefixes. Empty sequences are left out."""
    wanted = [i for i, sequence in enumerate(sequences) if sequence]
    alike = find_shared([prompts[i] for i in wanted]) if decoder.packs else [Shared(tuple(range(len(wanted))), 0)]
    for shared in alike:
        members = sorted((wanted[i] for i in shared.members), key=lambda i: len(sequences[i]))
        prefix = None
        if shared.length:
            prefix = compute_prefix(decoder, prompts[members[0]][: shared.length], control)
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


def _forward(decoder: LanguageDecoder, piece: _Piece, layers: Sequence[int]) -> DecoderOutput:
    tokens, positions = pack(piece.own, start=piece.start, device=decoder.device)
    attention = CausalPacked(
        [len(own) for own in piece.own],
        decoder.config.group,
        prefix=piece.prefix,
        device=decoder.device,
        dtype=decoder.dtype,
    )
    return decoder.forward(tokens, positions, attention, layers=layers, only_layers=True)
