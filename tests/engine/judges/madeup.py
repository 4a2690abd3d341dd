"""Labeled rows with synthetic vectors, for tests of fitting without a model."""

from __future__ import annotations

import numpy as np

from engine.judges.labeled import LabeledText
from engine.judges.probe import fit, ngram_features

DENSE = 12
PRINCIPLES = ("harm_prevention", "fairness")


def labeled(count: int, *, set_name: str = "made", topics: int = 0) -> tuple[LabeledText, ...]:
    """`count` rows, half of them violations, principles in turn; with `topics`, that many of them."""
    return tuple(
        LabeledText(
            id=f"{set_name}-{n}",
            text=f"{set_name} text {n} {'bad' if n % 2 else 'good'}",
            label=bool(n % 2),
            principle=PRINCIPLES[n // 2 % 2],
            set=set_name,
            topic=f"t{n // 4 % topics}" if topics else "",
            difficulty="obvious" if n % 8 < 4 else "subtle",
        )
        for n in range(count)
    )


def rows(
    count: int = 240, *, signal: float = 2.0, seed: int = 0, set_name: str = "made", topics: int = 0
) -> fit.TrainingRows:
    """Rows whose vectors separate the labels by `signal` standard deviations, one direction per principle."""
    given = labeled(count, set_name=set_name, topics=topics)
    random = np.random.default_rng(seed)
    dense = random.normal(size=(count, DENSE)).astype(np.float32)
    for place, row in enumerate(given):
        dense[place, PRINCIPLES.index(row.principle)] += signal * row.label
    said = ngram_features.ngram_vectors([row.text.removesuffix(" bad").removesuffix(" good") for row in given])
    halves, folds = fit.assign_folds(given)
    return fit.TrainingRows(given, np.concatenate([dense, said], 1), np.zeros((count, 2)), PRINCIPLES, halves, folds)
