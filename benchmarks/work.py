"""What both sides of a comparison are given, as plain JSON: texts to write, rows to train on. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from engine.models.inference.requests import Request, Sampling


class Ask(TypedDict):
    """A completion that is wanted. `exact` is the number of tokens to write whatever the model would like; 0 lets the
    model end it, `max_tokens` at the latest."""

    prompt: str
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    exact: int


class TrainingRow(TypedDict):
    """Token ids. `rejected` is empty for SFT."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def ask(prompt: str, sampling: Sampling, seed: int, exact: int = 0) -> Ask:
    return Ask(
        prompt=prompt,
        max_tokens=exact or sampling.max_tokens,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        seed=seed,
        exact=exact,
    )


def fixed(asks: Sequence[Ask], tokens: int) -> list[Ask]:
    """The same asks with a fixed number of tokens each."""
    return [{**a, "max_tokens": tokens, "exact": tokens} for a in asks]


def to_request(wanted: Ask, key: str) -> Request:
    sampling = Sampling(
        max_tokens=wanted["max_tokens"],
        temperature=wanted["temperature"],
        top_k=wanted["top_k"],
        top_p=wanted["top_p"],
    )
    return Request(key, wanted["prompt"], sampling, wanted["seed"])


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` places of `count`, evenly spread; the middle of each part, so that a sample of a sorted list has the
    list's mean."""
    wanted = min(wanted, count)
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]


@dataclasses.dataclass(frozen=True)
class Product:
    """A matrix product [rows, inner] x [inner, columns] that is needed `times` times."""

    rows: int
    inner: int
    columns: int
    times: float

    @property
    def flop(self) -> float:
        return 2.0 * self.rows * self.inner * self.columns * self.times

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Product:
        return cls(int(values["rows"]), int(values["inner"]), int(values["columns"]), float(values["times"]))
