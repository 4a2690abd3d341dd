"""Which token sequences share a beginning that is worth computing once, and its keys and values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.control import Control
from engine.models.nn.attention import CausalPacked, Prefix
from engine.models.nn.decoder import LanguageDecoder, pack
from engine.models.nn.lora_weights import Adapter

MIN_PREFIX_TOKENS = 16
"""Tokens that must be shared for a prefix to be kept apart."""
MIN_SAVED_TOKENS = 128
"""Tokens that a group of its own must save: each takes matrix products of its own at every step."""
MIN_GROUP_ROWS = 16
"""Rows that a group of its own must have: smaller ones cost more per step than their keys, read once each, would save
(80 revisions of 20 drafts: 134 tokens/s in groups of 4, 284 in one)."""
_CHUNK = 512


@dataclass(frozen=True)
class Shared:
    """Sequences that begin alike.

    Args:
        members: their places in the list that was given.
        length: tokens that they share and that are kept apart; always leaves each of them at least one of its own.
    """

    members: tuple[int, ...]
    length: int


def find_shared(sequences: Sequence[Sequence[int]]) -> list[Shared]:
    """Groups that cover every sequence once; the last has length 0 where some share too little with any."""
    order = sorted(range(len(sequences)), key=lambda i: list(sequences[i]))
    found = _split(order, sequences) if order else []
    groups = [s for s in found if s.length >= MIN_PREFIX_TOKENS and len(s.members) > 1]
    apart = tuple(i for s in found if s.length < MIN_PREFIX_TOKENS or len(s.members) < 2 for i in s.members)
    return [*groups, Shared(apart, 0)] if apart else groups


def _split(order: list[int], sequences: Sequence[Sequence[int]]) -> list[Shared]:
    """Cuts a sorted run of sequences where neighbours are least alike, if the parts then save enough more than they do
    together; what no part takes stays at what all share."""
    shared = shared_prefix_length([sequences[i] for i in order])
    alike = [common_prefix_length((sequences[a], sequences[b])) for a, b in itertools.pairwise(order)]
    if not alike or len(order) < 2 * MIN_GROUP_ROWS:
        return [Shared(tuple(order), shared)]
    fewest = min(alike)
    cuts = [0, *(i + 1 for i, common in enumerate(alike) if common == fewest), len(order)]
    found: list[Shared] = []
    rest: list[int] = []
    for begin, end in itertools.pairwise(cuts):
        part = order[begin:end]
        saved = (len(part) - 1) * (shared_prefix_length([sequences[i] for i in part]) - shared)
        if len(part) >= MIN_GROUP_ROWS and saved >= MIN_SAVED_TOKENS:
            found += _split(part, sequences)
        else:
            rest += part
    return [*found, Shared(tuple(rest), shared)] if rest else found


def shared_prefix_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many first tokens all sequences have in common, so that each is left at least one of its own."""
    return max(0, min(common_prefix_length(sequences), min(map(len, sequences)) - 1))


def common_prefix_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many first tokens all sequences have in common; by halving, as comparing slices is quick."""
    lists = [list(sequence) for sequence in sequences]
    # In the order of lists the first and the last are the least alike.
    first, last = min(lists), max(lists)
    low, high = 0, min(len(first), len(last))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == last[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def compute_prefix(
    decoder: LanguageDecoder,
    tokens: Sequence[int],
    control: Control,
    *,
    before: Prefix | None = None,
    adapter: Adapter | None = None,
) -> Prefix:
    """Keys and values of `tokens`, after those of `before`, in pieces of 512 tokens with a `control.check` each.

    Raises:
        Stopped: if asked to.
    """
    whole = before
    start = before.length if before is not None else 0
    for at in range(0, len(tokens), _CHUNK):
        control.check()
        whole = _extend(decoder, tokens[at : at + _CHUNK], start + at, whole, adapter)
    return whole if whole is not None else Prefix((), ())


def _extend(
    decoder: LanguageDecoder, tokens: Sequence[int], start: int, before: Prefix | None, adapter: Adapter | None
) -> Prefix:
    keys: list[torch.Tensor] = []
    values: list[torch.Tensor] = []

    def store(layer: int, k: torch.Tensor, v: torch.Tensor) -> None:
        for kept, new, old in ((keys, k, before and before.keys), (values, v, before and before.values)):
            new = new.transpose(0, 1)
            kept.append(new.contiguous() if not old else torch.cat([old[layer], new], 1))

    with torch.inference_mode():
        packed, positions = pack([tokens], start=start, device=decoder.device)
        attention = CausalPacked(
            [len(tokens)],
            decoder.config.group,
            prefix=before,
            store=store,
            device=decoder.device,
            dtype=decoder.dtype,
        )
        decoder.forward(packed, positions, attention, adapter=adapter)
    return Prefix(tuple(keys), tuple(values))
