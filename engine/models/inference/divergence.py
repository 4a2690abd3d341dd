"""How far one model is from another on given texts: KL divergence and cross-entropy, one forward pass of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.control import Control
from engine.models.nn.decoder import LanguageDecoder, pack

_BATCH_TOKENS = 1024
_CHUNK = 128
"""Rows of logits of each model that exist at once."""


@dataclass(frozen=True)
class Divergence:
    """Two models on one text, means over its tokens but the first, which nothing predicts.

    Args:
        tokens: tokens that were predicted.
        kl: KL(one || other) over the whole vocabulary, nats per token.
        cross_entropy: of the text under the first model, nats per token.
        other_cross_entropy: under the second.
    """

    tokens: int
    kl: float
    cross_entropy: float
    other_cross_entropy: float


def divergences(
    one: LanguageDecoder, other: LanguageDecoder, sequences: Sequence[Sequence[int]], control: Control
) -> list[Divergence]:
    """The divergence of two models of one vocabulary on each text.

    Args:
        one, other: the base and the trained model.
        sequences: token lists of two tokens or more, none longer than the context.
        control: `check` is called once a batch.

    Raises:
        ValueError: a text has fewer than two tokens.
        Stopped: if asked to.
    """
    if any(len(sequence) < 2 for sequence in sequences):
        raise ValueError("a text of fewer than two tokens has nothing to predict")
    found: list[Divergence] = []
    for batch in _batches(sequences):
        control.check()
        with torch.inference_mode():
            found += _measure(one, other, batch)
    return found


def _batches(sequences: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    batch: list[Sequence[int]] = []
    tokens = 0
    for sequence in sequences:
        if batch and tokens + len(sequence) > _BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(sequence)
        tokens += len(sequence)
    if batch:
        yield batch


def _measure(one: LanguageDecoder, other: LanguageDecoder, batch: Sequence[Sequence[int]]) -> Iterator[Divergence]:
    """Divergences of the texts of one batch, in order."""
    lengths = [len(sequence) for sequence in batch]
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    # A text's last token predicts nothing that is in the text.
    places = [at for end, length in zip(ends, lengths, strict=True) for at in range(end - length, end - 1)]
    targets = torch.tensor([token for sequence in batch for token in sequence[1:]], dtype=torch.long)
    states = [_states(decoder, batch, lengths, places) for decoder in (one, other)]
    rows = torch.cat(
        [
            _rows(one, other, states[0][start : start + _CHUNK], states[1][start : start + _CHUNK], part)
            for start, part in zip(range(0, len(places), _CHUNK), torch.split(targets, _CHUNK), strict=True)
        ],
        1,
    )
    for text in torch.split(rows, [length - 1 for length in lengths], 1):
        kl, first, second = text.mean(1).tolist()
        yield Divergence(text.shape[1], kl, first, second)


def _states(decoder: LanguageDecoder, batch: Sequence[Sequence[int]], lengths: list[int], places: list[int]) -> Tensor:
    """[places, width]: the final states that predict."""
    tokens, positions = pack(batch, device=decoder.device)
    last = decoder.forward(tokens, positions, decoder.causal(lengths)).last
    return last.index_select(0, torch.tensor(places, device=decoder.device))


def _rows(one: LanguageDecoder, other: LanguageDecoder, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
    """float64 [3, N] on the CPU: KL and the two negative log-likelihoods of each token."""
    logps = [
        torch.log_softmax(decoder.logits(states).float(), -1) for decoder, states in ((one, first), (other, second))
    ]
    # Rounding can bring a divergence of 0 slightly below it.
    kl = (logps[0].exp() * (logps[0] - logps[1])).sum(-1).clamp_min(0)
    column = targets.to(first.device)[:, None]
    losses = [-one_logps.gather(1, column).squeeze(1) for one_logps in logps]
    return torch.stack([kl, *losses]).cpu().double()
