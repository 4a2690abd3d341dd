"""Writes completions for many requests at once: continuous batching over one decoder.

Rows leave the batch as they end and waiting requests enter in the same pass that gives the others their next token
(their prompts ride along as more packed tokens). What requests share at their beginning is computed once and kept once
(`engine.models.inference.prefix_cache`); only the last position of a row reaches the head.

transformers has continuous batching of its own. It is not used: on CPU it gave 36 tokens/s where `generate` in static
batches gave 350 (2 cores, SmolLM2-135M, 64 requests), as its paged attention copies every row's keys and values for
each token; and its random numbers depend on what else is in the batch.

What the same seed promises: a completion is a function of the prompt's tokens, the sampling settings, the seed and the
weights. Random numbers depend on the seed and the number of the token alone (`sampling.uniform`), never on the batch.
What remains is rounding: the batch decides the shapes of matrix products, and so the order of their sums. In fp32 that
moves a probability by about 1e-6 of itself, so a text changes only where a draw falls that close to the border of two
tokens: about one text in a thousand. In bf16 rounding is 1e-2 and the promise does not hold across batches. The same
call on the same machine gives the same texts in either.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from engine.control import Control, InFlight
from engine.models.hub.memory import Trimmer
from engine.models.inference.kv_cache import KVCache, StepAttention
from engine.models.inference.prefix_cache import compute_prefix, find_shared
from engine.models.inference.requests import Completion, Request
from engine.models.inference.rows import Row, apply_grammar_mask, apply_repetition_penalty
from engine.models.inference.sampling import Sampler
from engine.models.inference.static_batches import run_static
from engine.models.inference.stop_strings import StopStrings
from engine.models.nn.decoder import LanguageDecoder
from engine.models.thread_throttle import throttled
from engine.text import sanitize

ROWS = 64
"""Most rows at a time; see docs/log/generation.md for 32 to 128."""
_PROMPT_TOKENS = 512
"""Prompt tokens that may ride along in one step, so that a stop is obeyed soon."""
_LONG_PROMPT = 1024
"""Prompts with more tokens of their own are computed before they enter, in pieces with a check each."""
_MEMORY = 2 << 30


class Codec(Protocol):
    """Text to tokens and back."""

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end a completion."""
        ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Without tokens that have no text (end of text, turn marks)."""
        ...


def generate(
    decoder: LanguageDecoder,
    codec: Codec,
    requests: Sequence[Request],
    control: Control,
    *,
    context: int | None = None,
    rows: int = ROWS,
    memory: int = _MEMORY,
) -> Iterator[Completion]:
    """Each request's completion as it ends, in any order.

    Args:
        decoder: the model, with its adapter merged.
        codec: its tokenizer.
        requests: keys are unique. `max_tokens` is cut to what the context leaves.
        control: `check` is called once a step, and between pieces of a long prompt.
        context: most tokens of prompt and completion; the model's where None.
        rows: most requests at a time.
        memory: bytes that the cache of keys and values may take, shared prefixes left out.

    Raises:
        Stopped: within one step after `control.stop()`.
    """
    start = time.perf_counter()
    limit = min(context or decoder.config.context, decoder.config.context)
    queue: list[Row] = []
    pieces: dict[int, str] = {}
    for request in requests:
        prompt = codec.encode(request.prompt)
        room = limit - len(prompt)
        error = _prompt_error(len(prompt), limit)
        if error or request.sampling.max_tokens <= 0:
            yield Completion(
                request.key, "", "", 0, len(prompt), "error" if error else "length", time.perf_counter() - start, error
            )
            continue
        stops = StopStrings(codec, request.sampling.stop, pieces) if request.sampling.stop else None
        constraint = request.constraint.start() if request.constraint is not None else None
        queue.append(Row(request, prompt, min(request.sampling.max_tokens, room), stops=stops, constraint=constraint))
    if not decoder.packs:
        for row in run_static(decoder, codec.ends, control, queue, rows):
            yield _finished(row, codec, start)
        return
    _share(decoder, queue, control)
    # Rows after one prefix enter one after another; the longest first, so that short ones fill the gaps at the end.
    queue.sort(key=lambda row: (id(row.prefix), -row.cache_slots))
    for row in _Batch(decoder, codec, control, rows, memory).run(queue):
        yield _finished(row, codec, start)


def _prompt_error(tokens: int, context: int) -> str:
    if not tokens:
        return "The prompt is empty."
    if tokens >= context:
        return (
            f"The prompt has {tokens:,} tokens; the model's context holds {context:,}, its answer included. "
            "Shorten the prompt or choose a model with a longer context."
        )
    return ""


def _share(decoder: LanguageDecoder, queue: list[Row], control: Control) -> None:
    """Compute what rows have in common at their beginning, and hand it to them."""
    for shared in find_shared([row.prompt for row in queue]):
        members = [queue[i] for i in shared.members]
        if shared.length:
            prefix = compute_prefix(decoder, members[0].prompt[: shared.length], control)
            for row in members:
                row.prefix = prefix


def _finished(row: Row, codec: Codec, start: float) -> Completion:
    by_model = row.written[-1] in codec.ends
    written = row.written[:-1] if by_model else row.written
    raw = codec.decode(written)
    at = row.stops.found(raw) if row.stops is not None else None
    return Completion(
        key=row.request.key,
        text=sanitize(raw if at is None else raw[:at]),
        raw=raw,
        tokens=len(written),
        prompt_tokens=len(row.prompt),
        finish="stop" if by_model or row.complete or at is not None else "length",
        seconds=time.perf_counter() - start,
    )


class _Batch:
    """Runs rows through the decoder, as many at a time as fit."""

    def __init__(self, decoder: LanguageDecoder, codec: Codec, control: Control, rows: int, memory: int) -> None:
        self._decoder = decoder
        self._codec = codec
        self._ends = codec.ends
        self._control = control
        self._max_rows = rows
        token_bytes = decoder.config.kv_elements * decoder.embedding.element_size()
        self._tokens = max(1, memory // token_bytes)
        self._active: list[Row] = []
        self._waiting: deque[Row] = deque()
        self._last: Tensor | None = None
        self._sampler: Sampler | None = None

    def run(self, queue: Sequence[Row]) -> Iterator[Row]:
        """Each row as it ends. Rows of unlike length run in phases where memory would else allow few at a time."""
        left = deque(sorted(queue, key=lambda row: -row.cache_slots)) if self._tight(queue) else deque(queue)
        while left:
            capacity = max(row.cache_slots for row in left)
            slots = max(1, min(self._max_rows, len(left), self._tokens // capacity))
            phase = deque(left)
            if slots < min(self._max_rows, len(left)):
                phase = deque(row for row in left if row.cache_slots > capacity // 2)
            chosen = {id(row) for row in phase}
            left = deque(row for row in left if id(row) not in chosen)
            self._waiting = phase
            self._slots = KVCache(self._decoder.config, slots, capacity, self._decoder.dtype, self._decoder.device)
            trim = Trimmer()
            with throttled() as tick:
                while self._waiting or self._active:
                    self._control.check()
                    tick()
                    self._control.report(self._in_flight)
                    yield from self._step()
                    trim()

    def _in_flight(self) -> InFlight:
        """How far the active rows are, with the text of the one that has the most tokens."""
        if not self._active:
            return InFlight()
        longest = max(self._active, key=lambda row: len(row.written))
        text = sanitize(self._codec.decode(longest.written)).rstrip("\ufffd")  # the last character may be half there
        return InFlight([len(row.written) for row in self._active], key=longest.request.key, text=text)

    def _tight(self, queue: Sequence[Row]) -> bool:
        return max((row.cache_slots for row in queue), default=0) * min(self._max_rows, len(queue)) > self._tokens

    def _schedule(self) -> list[Row]:
        """Rows that enter with this step: all after the same prefix, together no more prompt tokens than may ride. Rows
        with one prompt (several samples of it) cost its tokens once."""
        new: list[Row] = []
        seen: set[tuple[int, ...]] = set()
        tokens = 0
        while self._waiting and len(self._active) + len(new) < self._slots.slots:
            row = self._waiting[0]
            own = tuple(row.suffix)
            more = 0 if own in seen else len(own)
            if len(own) > _LONG_PROMPT or (new and (row.prefix is not new[0].prefix or tokens + more > _PROMPT_TOKENS)):
                break
            seen.add(own)
            tokens += more
            new.append(self._waiting.popleft())
        return new

    def _prefill_long(self) -> None:
        """Rows with long prompts enter as if they were under way already, with their last token still to be read."""
        while self._waiting and len(self._active) < self._slots.slots and len(self._waiting[0].suffix) > _LONG_PROMPT:
            row = self._waiting.popleft()
            own, shared = row.suffix, row.prefix.length if row.prefix is not None else 0
            prompt = compute_prefix(self._decoder, own[:-1], self._control, before=row.prefix)
            (slot,) = self._slots.add([len(own) - 1], row.prefix)
            self._slots.fill(slot, prompt, shared)
            last = torch.tensor(own[-1:], device=self._decoder.device)
            self._last = last if self._last is None or not self._active else torch.cat([self._last, last])
            self._active.append(row)
            self._sampler = None

    def _step(self) -> list[Row]:
        """One token for every row; gives the rows that ended."""
        self._prefill_long()
        with torch.inference_mode():
            new = self._schedule()
            logits = self._run(new)
            if new:
                self._active += new
                self._sampler = None
            if self._sampler is None:
                self._sampler = Sampler(
                    [row.request.sampling for row in self._active],
                    [row.request.seed for row in self._active],
                    self._decoder.device,
                )
            apply_repetition_penalty(logits, self._active)
            apply_grammar_mask(logits, self._active)
            self._last = self._sampler(logits, [len(row.written) for row in self._active])
            return self._postprocess(self._last.tolist())

    def _run(self, new: list[Row]) -> Tensor:
        """Of the next token of every active row, then of every new one, which is put into the cache."""
        slots, device = self._slots, self._decoder.device
        count = len(self._active)
        before = [row.prefix.length if row.prefix is not None else 0 for row in (*self._active, *new)]
        places, runs = None, []
        tokens: list[Tensor] = []
        positions: list[Tensor] = []
        if count:
            assert self._last is not None
            positions.append(torch.tensor([b + n for b, n in zip(before, slots.lengths, strict=False)], device=device))
            places = slots.advance()
            runs = slots.runs()
            tokens.append(self._last)
        prompts = self._enter(new)
        for own, (first, *_) in prompts.items():
            tokens.append(torch.tensor(own, device=device))
            positions.append(torch.arange(before[first], before[first] + len(own), device=device))
        prefilled = [(first, len(own)) for own, (first, *_) in prompts.items()]
        attention = StepAttention(slots, places, runs, prefilled, new[0].prefix if new else None)
        hidden = self._decoder.forward(torch.cat(tokens), torch.cat(positions), attention).last
        if new:
            ends = dict(zip(prompts, accumulate(map(len, prompts), initial=count - 1), strict=False))
            last = [*range(count), *(ends[own] + len(own) for own in (tuple(row.suffix) for row in new))]
            hidden = hidden[torch.tensor(last, device=device)]
            for first, *others in prompts.values():
                if others:
                    slots.copy(first, others)
        return self._decoder.logits(hidden)

    def _enter(self, new: Sequence[Row]) -> dict[tuple[int, ...], list[int]]:
        """Give new rows their slots: by prompt, whose first slot is computed and copied to the others."""
        prompts: dict[tuple[int, ...], list[int]] = {}
        if new:
            for slot, row in zip(self._slots.add([len(row.suffix) for row in new], new[0].prefix), new, strict=True):
                prompts.setdefault(tuple(row.suffix), []).append(slot)
        return prompts

    def _postprocess(self, tokens: list[int]) -> list[Row]:
        """Hand the new tokens out, take the rows that ended away and close the gaps."""
        ended: list[int] = []
        for slot, (row, token) in enumerate(zip(self._active, tokens, strict=True)):
            if row.take(token, self._ends):
                ended.append(slot)
        gone = [self._active[slot] for slot in ended]
        keep = list(range(len(self._active)))
        for slot in reversed(ended):
            moved = self._slots.remove(slot)
            self._active[slot] = self._active[-1]
            keep[slot] = keep[-1]
            self._active.pop()
            keep.pop()
            assert moved is None or moved == len(keep)
        if ended:
            self._sampler = None
            assert self._last is not None
            self._last = self._last[torch.tensor(keep, dtype=torch.long, device=self._last.device)]
        return gone
