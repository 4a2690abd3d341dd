"""Keys and values of the rows that are being generated, in one block of memory, and attention over them.

Rows occupy slots 0 to `count` without holes. A slot belongs to a prefix (or none): neighbouring slots with one prefix
and like lengths are attended to together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.models.nn.attention import CausalPacked, Prefix, attend_rows, attend_rows_by_rules
from engine.models.nn.attention_rules import Rules
from engine.models.nn.config import ModelConfig

_GROWTH = 32
_RUN_COST = 1500
"""What one more run of slots costs a layer, in cached tokens that could be read meanwhile (measured: .05 ms)."""


@dataclass(frozen=True)
class _Run:
    """KVCache `start:stop` that are attended to together, with their longest length and additive mask."""

    start: int
    stop: int
    prefix: Prefix | None
    length: int
    mask: Tensor


class KVCache:
    """The cache. `lengths[i]` own tokens (prefix not counted) are stored in slot i.

    Rows have room for the longest of them, by `_GROWTH` tokens at a time, and keys are read up to its end: a slice
    would be copied before it is multiplied (measured: 6 times the time of the product). All of it lies in one block
    that is large enough from the beginning, laid out anew when rows need more room: tensors that grow one after
    another leave holes that none of them fits into (measured: 2.9 GB where 1.5 are in use).

    Args:
        slots: most rows at a time.
        capacity: most own tokens of a row.
    """

    def __init__(
        self, config: ModelConfig, slots: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        a = config
        self.group = a.group
        self.heads = a.num_kv_heads
        self.device = device
        self.dtype = dtype
        self.slots = slots
        self.capacity = capacity
        self._block = _zeros(2 * a.num_layers, slots * a.num_kv_heads * capacity * a.head_dim, dtype, device)
        self._shape = (slots, a.num_kv_heads, a.head_dim)
        self.keys, self.values = self._views(0)
        self.lengths: list[int] = []
        self.prefixes: list[Prefix | None] = []
        self._hidden = torch.full((slots, 0), float("-inf"), dtype=dtype, device=device)
        self._runs: list[tuple[int, int]] | None = None

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def _room(self) -> int:
        return self._hidden.shape[1]

    def add(self, lengths: Sequence[int], prefix: Prefix | None) -> list[int]:
        """Take the next slots for rows with so many own tokens, which are about to be stored; gives their numbers."""
        self._fit(max([*self.lengths, *lengths]))
        numbers = list(range(self.count, self.count + len(lengths)))
        for slot, length in zip(numbers, lengths, strict=True):
            self.lengths.append(length)
            self.prefixes.append(prefix)
            self._hidden[slot, :length] = 0
            self._hidden[slot, length:] = float("-inf")
        self._runs = None
        return numbers

    def copy(self, source: int, targets: Sequence[int]) -> None:
        """Give slots that were just `add`ed what `source` stores: their prompts are the same."""
        length = self.lengths[source]
        for store in (*self.keys, *self.values):
            # A clone: torch refuses to copy one row inside one tensor if the row fills all of its room.
            store[list(targets), :, :length] = store[source, :, :length].clone()

    def remove(self, slot: int) -> int | None:
        """Free a slot. The last row moves into it: gives that row's old slot, or None where nothing moved."""
        last = self.count - 1
        if slot != last:
            length = self.lengths[last]
            for store in (*self.keys, *self.values):
                store[slot, :, :length] = store[last, :, :length]
            self._hidden[slot] = self._hidden[last]
            self.lengths[slot], self.prefixes[slot] = length, self.prefixes[last]
        self.lengths.pop()
        self.prefixes.pop()
        self._runs = None
        return last if slot != last else None

    def fill(self, slot: int, prefix: Prefix, start: int) -> None:
        """Store the keys and values of `prefix` from its token `start` on as a row's own."""
        length = prefix.length - start
        for store, found in ((self.keys, prefix.keys), (self.values, prefix.values)):
            for layer, kept in enumerate(store):
                kept[slot, :, :length] = found[layer][:, start:]

    def _fit(self, length: int) -> None:
        """Have room for rows of this many own tokens, and not for more than twice as many."""
        wanted = min(-(-length // _GROWTH) * _GROWTH, self.capacity)
        old = self._room
        if length <= old < 2 * wanted + _GROWTH:
            return
        kept, count = min(old, wanted), self.count
        before = [*self.keys, *self.values]
        self.keys, self.values = self._views(wanted)
        for source, target in zip(before, [*self.keys, *self.values], strict=True):
            # Both lie in the same memory.
            target[:count, :, :kept] = source[:count, :, :kept].clone()
        hidden = self._hidden[:, :kept]
        self._hidden = functional.pad(hidden, (0, wanted - kept), value=float("-inf"))

    def _views(self, room: int) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values of each layer, [slots, heads, room, head_dim] without gaps."""
        slots, heads, dim = self._shape
        views = [flat[: slots * heads * room * dim].view(slots, heads, room, dim) for flat in self._block.unbind()]
        return views[: len(views) // 2], views[len(views) // 2 :]

    def advance(self) -> Tensor:
        """Make room for one more token in every row; gives the place of each, long [count]."""
        self._fit(max(self.lengths) + 1)
        places = torch.tensor(self.lengths, device=self.device)
        self._hidden[torch.arange(self.count, device=self.device), places] = 0
        self.lengths = [length + 1 for length in self.lengths]
        return places

    def runs(self) -> list[_Run]:
        """The slots in runs, for one step."""
        if self._runs is None:
            self._runs = _cheapest_runs(self.lengths, self.prefixes)
        out: list[_Run] = []
        for start, stop in self._runs:
            length = max(self.lengths[start:stop])
            if length > self._room // 2:
                length = self._room
            out.append(_Run(start, stop, self.prefixes[start], length, self._hidden[start:stop, None, None, :length]))
        return out


def _zeros(layers: int, numbers: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[layers, numbers]. Zeros, because what is not yet written is masked, but 0 times a NaN of fresh memory would
    still be a NaN. On a CPU by numpy, whose zeros cost no memory until they are written to: room that no row needs is
    free."""
    if device.type != "cpu":
        return torch.zeros(layers, numbers, dtype=dtype, device=device)
    raw = torch.from_numpy(np.zeros(layers * numbers * dtype.itemsize, dtype=np.uint8))
    return raw.view(dtype).view(layers, numbers)


def _cheapest_runs(lengths: Sequence[int], prefixes: Sequence[Prefix | None]) -> list[tuple[int, int]]:
    """Cut the slots so that padding to each run's longest plus the cost of a run is least (dynamic programming)."""
    best: list[tuple[int, int]] = [(0, 0)]
    for stop in range(1, len(lengths) + 1):
        longest, choice = 0, (1 << 62, 0)
        for start in range(stop - 1, -1, -1):
            if prefixes[start] is not prefixes[stop - 1]:
                break
            longest = max(longest, lengths[start])
            choice = min(choice, (best[start][0] + longest * (stop - start) + _RUN_COST, start))
        best.append(choice)
    runs: list[tuple[int, int]] = []
    stop = len(lengths)
    while stop:
        runs.append((best[stop][1], stop))
        stop = best[stop][1]
    return runs[::-1]


@dataclass(frozen=True)
class _Keep:
    """Stores the keys and values of new rows' prompts at `places`. Not a method of `StepAttention`: the cycle of
    references would keep the whole cache in memory after its batch has ended."""

    slots: KVCache
    places: tuple[Tensor, Tensor, Tensor]

    def __call__(self, layer: int, k: Tensor, v: Tensor) -> None:
        self.slots.keys[layer].index_put_(self.places, k)
        self.slots.values[layer].index_put_(self.places, v)


class StepAttention:
    """One step: a token of every row in `slots` (first in the packed order), then the prompts of new rows.

    Args:
        slots: the cache, `advance`d for the rows that continue and `add`ed to for the new ones.
        places: what `advance` gave, or None where no row continues.
        fresh: (slot, tokens) of each new row, in packed order.
        prefix: the prefix that all new rows follow.
        runs: `slots.runs()` from before the new rows were added.
    """

    def __init__(
        self,
        slots: KVCache,
        places: Tensor | None,
        runs: Sequence[_Run],
        fresh: Sequence[tuple[int, int]] = (),
        prefix: Prefix | None = None,
    ) -> None:
        self._slots = slots
        self._places = places
        self._runs = runs
        self.lengths = (*(1 for _ in slots.lengths[: 0 if places is None else len(places)]), *(n for _, n in fresh))
        self._rows = 0 if places is None else places.shape[0]
        device = slots.device
        self._heads = torch.arange(slots.heads, device=device)[None]
        self._row = torch.arange(self._rows, device=device)[:, None]
        self._prompts: CausalPacked | None = None
        if fresh:
            slot = torch.tensor([s for s, n in fresh for _ in range(n)], device=device)[:, None]
            place = torch.tensor([p for _, n in fresh for p in range(n)], device=device)[:, None]
            self._prompts = CausalPacked(
                [n for _, n in fresh],
                slots.group,
                prefix=prefix,
                store=_Keep(slots, (slot, self._heads, place)),
                device=device,
                dtype=slots.dtype,
            )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, rules: Rules | None = None) -> Tensor:
        n = self._rows
        if not n:
            assert self._prompts is not None
            return self._prompts(layer, q, k, v, scale, rules)
        keys, values = self._slots.keys[layer], self._slots.values[layer]
        assert self._places is not None
        where = (self._row, self._heads, self._places[:, None])
        keys.index_put_(where, k[:n])
        values.index_put_(where, v[:n])
        outs = [self._attend_run(run, layer, q, scale, rules) for run in self._runs]
        if self._prompts is not None:
            outs.append(self._prompts(layer, q[n:], k[n:], v[n:], scale, rules))
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def _attend_run(self, run: _Run, layer: int, q: Tensor, scale: float, rules: Rules | None) -> Tensor:
        q = q[run.start : run.stop]
        keys = self._slots.keys[layer][run.start : run.stop, :, : run.length]
        values = self._slots.values[layer][run.start : run.stop, :, : run.length]
        before = None if run.prefix is None else (run.prefix.keys[layer], run.prefix.values[layer])
        if rules is not None:
            rules = rules.within(run.length + (run.prefix.length if run.prefix is not None else 0))
        if rules is None:
            return attend_rows(q, keys.flatten(0, 1), values.flatten(0, 1), before, scale, run.mask)
        assert self._places is not None
        return attend_rows_by_rules(q, keys, values, before, scale, self._places[run.start : run.stop], rules)
