"""Preference pairs as training rows: the token ids of prompt and completions, and which of them are learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.errors import InputError
from engine.models.inference.requests import Message
from engine.pipeline import chats
from engine.prompts.load import Prompt
from engine.training.data import PairRow, Row, SftRow


class Pair(Protocol):
    """What a row is made of (`engine.pipeline.pairs.PreferencePair`)."""

    @property
    def item(self) -> str: ...
    @property
    def chosen(self) -> str: ...
    @property
    def rejected(self) -> str: ...
    @property
    def chosen_complete(self) -> bool: ...
    @property
    def rejected_complete(self) -> bool: ...


class Encoder(Protocol):
    """Chats to tokens: a loaded model, or its tokenizer alone (`engine.models.prompt_encoder`)."""

    def encode_pair(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]: ...


@dataclass(frozen=True)
class StoredPair:
    """A kept pair as the journal has it."""

    item: str
    chosen: str
    rejected: str
    chosen_complete: bool
    rejected_complete: bool


def encode_rows(
    encoder: Encoder, ends: Collection[int], prompts: Mapping[str, Prompt], pairs: Sequence[Pair], objective: str
) -> list[Row]:
    """A row for each pair, in order.

    Args:
        ends: tokens that end an answer.
        prompts: by id.
        objective: "sft" or "dpo".

    Raises:
        InputError: a row has nothing to learn, or completions lack the token that ends a turn.
    """
    rows: list[Row] = []
    for pair in pairs:
        prompt = prompts[pair.item]
        chat = chats.draft(prompt.text, prompt.messages)
        head, chosen = encoder.encode_pair(chat, pair.chosen)
        _check_learned(pair, chosen, ends)
        chosen = chosen if pair.chosen_complete else without_end(chosen, ends)
        if objective == "sft":
            rows.append(SftRow(tuple(head), tuple(chosen), pair.item))
            continue
        _, rejected = encoder.encode_pair(chat, pair.rejected)
        rejected = rejected if pair.rejected_complete else without_end(rejected, ends)
        rows.append(PairRow(tuple(head), tuple(chosen), tuple(rejected), pair.item))
    return rows


def _check_learned(pair: Pair, chosen: Sequence[int], ends: Collection[int]) -> None:
    if not without_end(chosen, ends):
        raise InputError(
            f"the chosen text of prompt {pair.item} has no token that would be learned.",
            where="training rows",
            next_step="Look at it: `redraft data show RUN`. A text of thoughts alone is not an answer.",
        )
    # A template may write a line break after the token that ends a turn.
    if not any(token in ends for token in chosen[-2:]):
        raise InputError(
            "the answers end without a token that ends a turn, so the model would never learn to stop.",
            where="training rows",
            next_step="Give the model's tokenizer an end token (`eos_token` in tokenizer_config.json), or a chat "
            "template that ends each turn with one.",
        )


def without_end(tokens: Sequence[int], ends: Collection[int]) -> list[int]:
    """A completion that was cut while it was generated, without the tokens that would teach the model to stop there."""
    kept = list(tokens)
    while kept and kept[-1] in ends:
        kept.pop()
    return kept


def stored_pairs(journal: Path) -> list[StoredPair]:
    """The kept pairs of a run, from its journal; none where its texts were not kept."""
    from engine.events.generation import PairDecided
    from engine.events.registry import parse
    from engine.runs.finished import FinishedItems
    from engine.runs.journal_reader import read

    finished = FinishedItems()
    found: list[StoredPair] = []
    for record in read(journal):
        event = parse(record)
        finished.apply(event)
        if isinstance(event, PairDecided) and event.kept and event.chosen:
            item = event.item
            complete = [(item, number) not in finished.cut for number in (event.taken, event.against)]
            found.append(StoredPair(item, event.chosen, event.rejected, *complete))
    return found
