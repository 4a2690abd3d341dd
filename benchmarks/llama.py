"""The same texts by llama.cpp through llama-cpp-python: one at a time, and all together by its batched decoding.

Both write exactly as many tokens as are asked for, whatever the model would like, so no time goes into looking for
ends; texts are not turned back from tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llama_cpp

from benchmarks.measure import Stopwatch

Ask = dict[str, Any]


class LlamaCpp:
    """llama.cpp on the CPU.

    Args:
        gguf: the model's file, with the numbers as they are stored there.
        threads: as many as Redraft uses.
    """

    def __init__(self, gguf: str, threads: int) -> None:
        self._one = llama_cpp.Llama(gguf, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
        self._threads = threads

    def warm(self) -> None:
        """Write a few tokens, so that nothing is done for the first time when it is measured."""
        self.each([{"prompt": "a", "temperature": 0.7, "top_k": 50, "top_p": 0.95, "exact": 4}])

    def each(self, asks: Sequence[Ask]) -> dict[str, Any]:
        """One after another, by the loop under `create_completion`; units are tokens."""
        written = 0
        with Stopwatch() as watch:
            for ask in asks:
                tokens = self._tokens(ask)
                found = self._one.generate(
                    tokens,
                    top_k=ask["top_k"],
                    top_p=ask["top_p"],
                    min_p=0.0,
                    temp=ask["temperature"],
                    repeat_penalty=1.0,
                )
                written += sum(1 for _ in itertools.islice(found, ask["exact"]))
        return watch.sample(written)

    def together(self, asks: Sequence[Ask], rows: int) -> dict[str, Any]:
        """`rows` at a time, each a sequence of one context; units are tokens."""
        prompts = [self._tokens(ask) for ask in asks]
        longest = max(len(prompt) + ask["exact"] for prompt, ask in zip(prompts, asks, strict=True))
        # The context is made beforehand: a server makes one for all its requests.
        with _context(self._one.model, min(rows, len(asks)), longest, self._threads) as context, Stopwatch() as watch:
            for at in range(0, len(asks), rows):
                llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
                _decode_all(context, prompts[at : at + rows], asks[at : at + rows])
        return watch.sample(sum(ask["exact"] for ask in asks))

    def best_rows(self, asks: Sequence[Ask], tokens: int) -> int:
        """How many sequences in a batch are the fastest here, found by writing `tokens` tokens of each ask."""
        short = [{**ask, "exact": tokens} for ask in asks]
        counts = sorted({min(rows, len(asks)) for rows in _ROWS})
        seconds = {rows: self.together(short, rows)["seconds"] for rows in counts}
        return min(counts, key=lambda rows: seconds[rows])

    def _tokens(self, ask: Ask) -> list[int]:
        found: list[int] = self._one.tokenize(ask["prompt"].encode(), add_bos=False, special=True)
        return found


_ROWS = (4, 8, 16, 32, 64)
"""Sequences in a batch that are tried: on a CPU more are not always faster."""
_BATCH = 2048
"""Tokens of one call: prompts are processed in pieces of that many."""


@contextmanager
def _context(model: Any, rows: int, longest: int, threads: int) -> Iterator[Any]:
    """A context that holds `rows` sequences of `longest` tokens."""
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = rows * (-(-longest // 32) * 32)
    settings.n_batch = _BATCH
    settings.n_seq_max = rows
    settings.n_threads = settings.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise MemoryError("llama.cpp could not make its context")
    try:
        yield context
    finally:
        llama_cpp.llama_free(context)


def _decode_all(context: Any, prompts: Sequence[Sequence[int]], asks: Sequence[Ask]) -> None:
    """Every row's prompt, then a token of every row at a time until each has as many as it asks for."""
    batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
    samplers = [_sampler(ask) for ask in asks]
    last = [0] * len(prompts)
    try:
        for rows in _groups([len(prompt) for prompt in prompts]):
            batch.n_tokens = 0
            ends = {}
            for row in rows:
                for place, token in enumerate(prompts[row]):
                    _add(batch, token, place, row, logits=place == len(prompts[row]) - 1)
                ends[row] = batch.n_tokens - 1
            _decode(context, batch)
            for row, end in ends.items():
                last[row] = llama_cpp.llama_sampler_sample(samplers[row], context, end)
        for step in range(1, max(ask["exact"] for ask in asks)):
            rows = [row for row, ask in enumerate(asks) if ask["exact"] > step]
            batch.n_tokens = 0
            for row in rows:
                _add(batch, last[row], len(prompts[row]) + step - 1, row, logits=True)
            _decode(context, batch)
            for place, row in enumerate(rows):
                last[row] = llama_cpp.llama_sampler_sample(samplers[row], context, place)
    finally:
        for sampler in samplers:
            llama_cpp.llama_sampler_free(sampler)
        llama_cpp.llama_batch_free(batch)


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows whose prompts go into one call."""
    rows: list[int] = []
    for row, length in enumerate(lengths):
        if rows and sum(lengths[r] for r in rows) + length > _BATCH:
            yield rows
            rows = []
        rows.append(row)
    yield rows


def _add(batch: Any, token: int, place: int, row: int, logits: bool) -> None:
    at = batch.n_tokens
    batch.token[at], batch.pos[at], batch.logits[at] = token, place, logits
    batch.n_seq_id[at] = 1
    batch.seq_id[at][0] = row
    batch.n_tokens += 1


def _decode(context: Any, batch: Any) -> None:
    code = llama_cpp.llama_decode(context, batch)
    if code:
        raise RuntimeError(f"llama_decode gave {code}")


def _sampler(ask: Ask) -> Any:
    """top-k, top-p, temperature, draw: in llama.cpp's own order."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    if ask["temperature"] <= 0:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
        return chain
    parts = [
        llama_cpp.llama_sampler_init_top_k(ask["top_k"]),
        llama_cpp.llama_sampler_init_top_p(ask["top_p"], 1),
        llama_cpp.llama_sampler_init_temp(ask["temperature"]),
        llama_cpp.llama_sampler_init_dist(ask["seed"]),
    ]
    for part in parts:
        llama_cpp.llama_sampler_chain_add(chain, part)
    return chain
