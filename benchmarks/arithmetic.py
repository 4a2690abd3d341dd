"""How much arithmetic a model's work needs, counted from shapes, and how fast this machine does just that.

Counted are the products with the model's own matrices: of a layer, forward for every token that goes through, and in
training once more for the gradient of the input (the matrices are frozen, so they need none; the first layer's query,
key and value matrix needs no gradient of its input either); of the vocabulary's matrix, at the positions whose tokens
are scored or learned. One product of [rows, inner] by [inner, columns] is 2 * rows * inner * columns FLOP. Attention,
adapters, normalisation, sampling and the optimizer are not counted: their time is overhead, so the share is a strict
one. The limit is the time that these products alone take on this machine, each at the rate of its own shape.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Stopwatch
from benchmarks.work import Product, TrainingRow
from engine.models.inference.prefix_cache import find_shared
from engine.models.nn.decoder import Decoder
from engine.models.nn.linear import Linear, Projection
from engine.training.config import TrainConfig
from engine.training.data import Row, Sampler, split

_PASS = 1024
"""Rows of a product in scoring; the machine's rate does not rise with more."""


def of_training(decoder: Decoder, rows: Sequence[Row], batch: int, micro_tokens: int) -> list[Product]:
    """The products of one pass of SFT over the rows, in micro-batches of their mean size."""
    steps = Sampler([row.tokens for row in rows], batch, TrainConfig().seed).order(0)
    micros = sum(len(split([rows[i] for i in step], micro_tokens)) for step in steps)
    # The last token of a row predicts nothing and does not go in.
    through, learned = sum(row.tokens - 1 for row in rows), sum(row.targets for row in rows)
    return [*_layers(decoder, through, micros, backward=True), *_head(decoder, learned, micros, backward=True)]


def of_scoring(decoder: Decoder, rows: Sequence[TrainingRow]) -> list[Product]:
    """The products of scoring the chosen completions; what prompts share at their beginning is counted once."""
    through = 0
    for shared in find_shared([row["prompt"] for row in rows]):
        own = sum(len(rows[i]["prompt"]) + len(rows[i]["chosen"]) - 1 - shared.length for i in shared.members)
        through += shared.length + own
    passes = max(1, round(through / _PASS))
    scored = sum(len(row["chosen"]) for row in rows)
    return [*_layers(decoder, through, passes, backward=False), *_head(decoder, scored, passes, backward=False)]


def _layers(decoder: Decoder, tokens: int, passes: int, backward: bool) -> list[Product]:
    rows = max(1, round(tokens / passes))
    found: list[Product] = []
    for linear in decoder.blocks[0].linears():
        times = len(decoder.blocks) * tokens / rows
        found.append(Product(rows, linear.in_features, linear.out_features, times))
        if backward:
            spared = tokens / rows if linear is decoder.blocks[0].qkv else 0.0
            found.append(Product(rows, linear.out_features, linear.in_features, times - spared))
    return found


def _head(decoder: Decoder, tokens: int, passes: int, backward: bool) -> list[Product]:
    rows = max(1, round(tokens / passes))
    vocabulary, width = decoder.head.out_features, decoder.head.in_features
    found = [Product(rows, width, vocabulary, tokens / rows)]
    return [*found, Product(rows, vocabulary, width, tokens / rows)] if backward else found


def machine_rate(products: Sequence[Product], dtype: torch.dtype, seconds: float) -> dict[str, Any]:
    """A sample whose units are the products' FLOP and whose seconds are what they take alone."""
    with Stopwatch() as watch, torch.inference_mode():
        each = [_seconds(product, dtype, seconds) for product in products]
    needed = sum(p.times * once for p, once in zip(products, each, strict=True))
    return watch.sample(sum(p.flop for p in products), seconds=needed)


def _seconds(product: Product, dtype: torch.dtype, seconds: float) -> float:
    """Of one product, by the faster of torch's own way and oneDNN's packed one; the median of many."""
    x = torch.randn(product.rows, product.inner).to(dtype)
    weight = torch.randn(product.columns, product.inner).to(dtype)
    packed = Linear(weight, None, [Projection("measured", 0, product.columns)])
    ways: list[Callable[[], Tensor]] = [lambda: functional.linear(x, weight), lambda: packed.linear(x)]
    return min(_median(way, seconds / len(ways)) for way in ways)


def _median(work: Callable[[], Tensor], seconds: float) -> float:
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
