"""The rows of a batch: requests on their way, and what is done to a row's logits before its next token is chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.models.inference.requests import Constrained, Request
from engine.models.inference.stop_strings import StopStrings
from engine.models.nn.attention import Prefix


@dataclass
class Row:
    """A request on its way; a row of the batch."""

    request: Request
    prompt: list[int]
    limit: int
    prefix: Prefix | None = None
    written: list[int] = field(default_factory=list)
    stops: StopStrings | None = None
    constraint: Constrained | None = None
    complete: bool = False

    @property
    def suffix(self) -> list[int]:
        """The prompt's tokens that the prefix has not."""
        return self.prompt[self.prefix.length if self.prefix is not None else 0 :]

    @property
    def cache_slots(self) -> int:
        """Places in the cache: the last token written is never read."""
        return len(self.suffix) + self.limit

    def take(self, token: int, ends: Collection[int]) -> bool:
        """Add the next token; whether the row ends with it."""
        self.written.append(token)
        self.complete = self.constraint is not None and self.constraint.accept(token)
        stop = self.complete or token in ends or len(self.written) >= self.limit
        return stop or (self.stops is not None and self.stops.accept(token))


def apply_grammar_mask(logits: Tensor, rows: Sequence[Row | None]) -> None:
    """Leave each row whose answer has a constraint only the tokens that may come next; None for a row that ended."""
    for place, row in enumerate(rows):
        if row is not None and row.constraint is not None:
            forbidden = ~torch.from_numpy(row.constraint.token_mask())
            logits[place, : len(forbidden)].masked_fill_(forbidden.to(logits.device), float("-inf"))


def apply_repetition_penalty(logits: Tensor, rows: Sequence[Row]) -> None:
    """Make tokens less likely that a row's completion has already; equals transformers' processor of that name with
    the prompt ignored."""
    penalized = [(place, row) for place, row in enumerate(rows) if row.request.sampling.repetition_penalty != 1]
    places = [place for place, row in penalized for _ in row.written]
    if not places:
        return
    device = logits.device
    at = (
        torch.tensor(places, device=device),
        torch.tensor([t for _, row in penalized for t in row.written], device=device),
    )
    penalties = [row.request.sampling.repetition_penalty for _, row in penalized for _ in row.written]
    penalty = torch.tensor(penalties, dtype=logits.dtype, device=device)
    found = logits[at]
    # A token that was written twice is read before it is changed: it is penalized once.
    logits[at] = torch.where(found > 0, found / penalty, found * penalty)
