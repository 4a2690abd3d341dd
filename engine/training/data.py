"""Training rows as token ids, the rules by which long ones are cut, and the order in which they are learned.

Ids come from `LocalModel.encode_pair`: the prompt as it is sent, and the answer with the end of its turn, which is
learned with it. Knows nothing of torch or tokenizers.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engine.errors import InputError

LEAST_COMPLETION = 2
"""Minimum tokens of a completion that must fit after the prompt; a row with room for fewer is left out."""


@dataclass(frozen=True)
class SftRow:
    """A prompt and the completion that is learned, as token ids. The loss is on the completion only."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    key: str = ""

    @property
    def tokens(self) -> int:
        """Tokens that go through the model."""
        return len(self.prompt) + len(self.completion)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence in the row."""
        return self.tokens

    @property
    def targets(self) -> int:
        """Tokens that the loss is on."""
        return len(self.completion)


@dataclass(frozen=True)
class PairRow:
    """A prompt with the completion to prefer and the one to avoid, as token ids."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    key: str = ""

    @property
    def tokens(self) -> int:
        """Tokens that go through the model: the prompt once, both completions."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def longest(self) -> int:
        """Tokens of the longer of the row's two sequences."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def targets(self) -> int:
        """Tokens that the loss is on."""
        return len(self.chosen) + len(self.rejected)


Row = SftRow | PairRow
R = TypeVar("R", SftRow, PairRow)


@dataclass(frozen=True)
class Cut:
    """What was cut from a row, or that it was left out.

    Args:
        key: the row's.
        what: "completion", "chosen" or "rejected": its end was cut, and with it the end-of-turn token, so that the
            model does not learn to stop in the middle; "row": the prompt leaves no room, or there is nothing to learn,
            and the row is left out.
        tokens: how many tokens went.
    """

    key: str
    what: str
    tokens: int


def fit(rows: Sequence[R], max_length: int) -> tuple[tuple[R, ...], tuple[Cut, ...]]:
    """The rows with no sequence longer than `max_length`, and what was cut to get there.

    Completions lose their end; prompts are never cut (half a chat template teaches nonsense). Rows whose prompt is
    empty or leaves no room, whose completion is empty, or whose two completions became equal, are left out.
    """
    kept: list[R] = []
    cuts: list[Cut] = []
    for row in rows:
        room = max_length - len(row.prompt)
        parts = {"completion": row.completion} if isinstance(row, SftRow) else _both(row)
        short: dict[str, Any] = {name: ids[:room] for name, ids in parts.items()}
        twins = len(set(short.values())) < len(short)
        if not row.prompt or room < LEAST_COMPLETION or twins or not all(short.values()):
            cuts.append(Cut(row.key, "row", row.tokens))
            continue
        cuts += [Cut(row.key, name, len(ids) - room) for name, ids in parts.items() if len(ids) > room]
        kept.append(replace(row, **short))
    return tuple(kept), tuple(cuts)


def _both(row: PairRow) -> dict[str, tuple[int, ...]]:
    return {"chosen": row.chosen, "rejected": row.rejected}


def fingerprint(rows: Sequence[Row]) -> str:
    """SHA-256 over all token ids, in order: names a data set in checkpoints and stored reference values."""
    digest = hashlib.sha256()
    for row in rows:
        parts = (row.prompt, row.completion) if isinstance(row, SftRow) else (row.prompt, row.chosen, row.rejected)
        for ids in parts:
            digest.update(struct.pack(f"<q{len(ids)}i", len(ids), *ids))
    return digest.hexdigest()


class Sampler:
    """The order of the rows: shuffled by seed and epoch, then grouped so that a batch holds rows of similar length.

    Rows are grouped inside windows of a few batches only, so batches stay random mixtures. The order is a pure function
    of seed, epoch and lengths: the state is two numbers.
    """

    WINDOW = 8

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        if not lengths:
            raise InputError("there is nothing to train on: no row is left.", next_step="Give more or shorter rows.")
        self._lengths = tuple(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self.epoch = 0
        self.position = 0
        self._order = self.order(0)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    def order(self, epoch: int) -> tuple[tuple[int, ...], ...]:
        """The batches of an epoch, as indices of rows; the shortest batch is the one left over."""
        source = random.Random(f"{self._seed}:{epoch}")
        ids = list(range(len(self._lengths)))
        source.shuffle(ids)
        window, size = self.WINDOW * self._batch_size, self._batch_size
        batches: list[tuple[int, ...]] = []
        for start in range(0, len(ids), window):
            near = sorted(ids[start : start + window], key=lambda i: self._lengths[i])
            batches += [tuple(near[i : i + size]) for i in range(0, len(near), size)]
        source.shuffle(batches)
        return tuple(batches)

    @property
    def batch(self) -> tuple[int, ...] | None:
        """The rows of the present step; None where the epoch is over."""
        return self._order[self.position] if self.position < len(self._order) else None

    def advance(self) -> None:
        """The present step is done."""
        self.position += 1

    def next_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch += 1
        self.position = 0
        self._order = self.order(self.epoch)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON."""
        return {"epoch": self.epoch, "position": self.position, "seed": self._seed, "rows": len(self._lengths)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to a position that `state` returned.

        Raises:
            InputError: if it belongs to other rows or another seed.
        """
        if state.get("seed") != self._seed or state.get("rows") != len(self._lengths):
            raise InputError(
                "the checkpoint belongs to other training rows or another seed.",
                next_step="Start the training anew, or resume with the rows and the seed that it began with.",
            )
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._order = self.order(self.epoch)


def split(rows: Sequence[Row], micro_batch_tokens: int) -> tuple[tuple[Row, ...], ...]:
    """Rows of one step in as few micro-batches as `micro_batch_tokens` allows, none much smaller than the others:
    neighbors in length together, so that attention pads little."""
    even = sum(row.tokens for row in rows) / max(1, -(-sum(row.tokens for row in rows) // micro_batch_tokens))
    micro: list[list[Row]] = []
    held = 0
    for row in sorted(rows, key=lambda r: r.tokens):
        if micro and held + row.tokens <= micro_batch_tokens and held + row.tokens / 2 <= even:
            micro[-1].append(row)
            held += row.tokens
        else:
            micro.append([row])
            held = row.tokens
    return tuple(tuple(rows) for rows in micro)


def share(rows: Sequence[Row], process: int, processes: int) -> tuple[Row, ...]:
    """The rows of one step that fall to a process: dealt out from the longest, each to the one with least to do."""
    if processes == 1:
        return tuple(rows)
    load = [0] * processes
    mine: list[Row] = []
    for row in sorted(rows, key=lambda r: -r.tokens):
        to = load.index(min(load))
        load[to] += row.tokens
        if to == process:
            mine.append(row)
    return tuple(mine)
