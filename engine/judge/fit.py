"""Fits probes: lines through hidden states and words, their combination with the rules, thresholds.

Whatever is fitted on predictions (combination, thresholds) is fitted on predictions for rows that the predicting line
did not see. The same rows in the same order give the same probes. Knows vectors and labels, not how a text becomes one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.judge import calibrate, ridge, wording
from engine.judge.labelled import OWN, Labelled
from engine.judge.probe import MEMBERS, Combination, Probe

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

FOLDS = 5
HALVES = "ab"
PENALTY = 1.0
"""For rows of a squared length of about 1, half of which count 1: found to do well for sets that were left out."""
WORDS = 0.3
"""What the words count beside the states."""
OTHERS = 0.3
"""What a clean text of another principle counts for, beside 1 for the principle's own texts."""


@dataclass(frozen=True)
class Rows:
    """What is fitted on.

    Args:
        labelled: the rows.
        values: float32 [rows, features].
        evidence: [rows, principles], the rules' evidence (`engine.judge.probe.evidence`).
        principles: ids.
        halves, folds: [rows], see `divide`.
        own: what a row that the project wrote counts for, beside 1 for others.
    """

    labelled: tuple[Labelled, ...]
    values: Singles
    evidence: Floats
    principles: tuple[str, ...]
    halves: Numbers
    folds: Numbers
    own: float = 1.0

    def only(self, wanted: Bools) -> Rows:
        """The rows that `wanted` [rows] picks."""
        kept = tuple(row for row, keep in zip(self.labelled, wanted, strict=True) if keep)
        return Rows(
            kept,
            self.values[wanted],
            self.evidence[wanted],
            self.principles,
            self.halves[wanted],
            self.folds[wanted],
            self.own,
        )

    @property
    def labels(self) -> Bools:
        return np.array([row.label for row in self.labelled], dtype=bool)

    @property
    def chosen(self) -> Bools:
        """Rows that thresholds are chosen by: the project's examples where there are any, whose clean texts were all
        written to look like violations; otherwise all."""
        own = np.array([row.set == OWN for row in self.labelled], dtype=bool)
        return own if own.any() else np.ones(len(own), dtype=bool)

    def weights(self, principle: str) -> Floats:
        """How much each row counts for a principle; a violation of another one tells nothing about this one."""
        about = np.array([row.principle == principle for row in self.labelled])
        ours = np.array([row.set == OWN for row in self.labelled])
        return np.where(about, 1.0, np.where(self.labels, 0.0, OTHERS)) * np.where(ours, self.own, 1.0)


def divide(rows: Sequence[Labelled]) -> tuple[Numbers, Numbers]:
    """For each row its half (0 or 1) and its fold: groups (topics, or single texts) are dealt in turn, in the order of
    their hashes, within the rows of one set, principle and label, so that every part has its share of each."""

    def number(group: str) -> str:
        return hashlib.sha256(group.encode()).hexdigest()

    dealt: dict[str, int] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    for row in sorted(rows, key=lambda row: (number(row.group), row.set, row.id)):
        if row.group not in dealt:
            kind = ("topic", row.set) if row.topic else (row.set, row.principle, row.label)
            dealt[row.group] = counts[kind]
            counts[kind] += 1
    places = np.array([dealt[row.group] for row in rows], dtype=np.int64)
    return places % 2, places // 2 % FOLDS


def fit_members(rows: Rows) -> tuple[dict[str, Probe], dict[str, tuple[Probe, ...]]]:
    """Every member on its rows, and its twins, each fitted without one fold."""
    probes: dict[str, Probe] = {}
    twins: dict[str, tuple[Probe, ...]] = {}
    for member in MEMBERS:
        part = rows if member == "whole" else rows.only(rows.halves == HALVES.index(member))
        probes[member] = fit(member, part)
        twins[member] = tuple(fit(member, part.only(part.folds != fold)) for fold in range(FOLDS))
    return probes, twins


def fit(name: str, rows: Rows) -> Probe:
    """Fit one probe: for each principle a line, its combination with the rules, thresholds that rarely flag clean
    texts, and a band below them where nothing is decided."""
    count = len(rows.principles)
    prepared = ridge.scaled(rows.values, rows.values.shape[1] - wording.SIZE, WORDS)
    target = np.where(rows.labels, 1.0, -1.0)
    held = np.zeros((len(rows.labelled), count))
    found: list[tuple[Singles, float]] = []
    for place, principle in enumerate(rows.principles):
        weights = rows.weights(principle)
        for fold in np.unique(rows.folds):
            used, out = np.flatnonzero((rows.folds != fold) & (weights > 0)), np.flatnonzero(rows.folds == fold)
            shares = ridge.solve(prepared.products[np.ix_(used, used)], target[used], weights[used], PENALTY)
            held[out, place] = (prepared.products[np.ix_(out, used)] + 1.0) @ shares
        used = np.flatnonzero(weights > 0)
        shares = ridge.solve(prepared.products[np.ix_(used, used)], target[used], weights[used], PENALTY)
        found.append(ridge.line(prepared, used, shares))
    combined = _cross_fitted(rows, held)
    limits = calibrate.thresholds(combined, rows.chosen & ~rows.labels)
    lows = calibrate.bands(combined[rows.chosen], limits)
    together, alone = _calibrated(rows, held, rows.evidence), _calibrated(rows, held, np.zeros_like(rows.evidence))
    return Probe(
        name=name,
        principles=rows.principles,
        weight=np.stack([weight for weight, _ in found]),
        bias=np.array([bias for _, bias in found]),
        combinations=tuple(
            Combination(
                probe=round(together[i][0], 4),
                rules=round(together[i][1], 4),
                offset=round(together[i][2], 4),
                alone_scale=round(alone[i][0], 4),
                alone_offset=round(alone[i][2], 4),
                threshold=float(limits[i]),
                low=float(lows[i]),
            )
            for i in range(count)
        ),
        accuracy="",
    )


def _cross_fitted(rows: Rows, held: Floats) -> Floats:
    """Probabilities of probe and rules together for each row, calibrated without the row's fold; [rows, principles]."""
    out = np.zeros_like(held)
    for fold in np.unique(rows.folds):
        seen = rows.folds != fold
        scales = _calibrated(rows.only(seen), held[seen], rows.evidence[seen])
        for place, scale in enumerate(scales):
            out[~seen, place] = calibrate.probability(held[~seen, place], rows.evidence[~seen, place], scale)
    return out


def _calibrated(rows: Rows, held: Floats, evidence: Floats) -> list[tuple[float, float, float]]:
    """For each principle the scales of the line and of the rules and the offset, so that not only each principle's
    probability is right on its own rows but also the largest of them, which is what a text's probability is."""
    target = rows.labels.astype(np.float64)
    scales = []
    for place, principle in enumerate(rows.principles):
        weights = np.minimum(rows.weights(principle), 1.0)
        used = weights > 0
        scales.append(calibrate.combine(held[used, place], evidence[used, place], target[used], weights[used]))
    logits = np.stack([s[0] * held[:, i] + s[1] * evidence[:, i] + s[2] for i, s in enumerate(scales)], 1)
    stretch, shift = calibrate.platt(logits.max(1), target, np.ones(len(target)))
    return [(a * stretch, b * stretch, c * stretch + shift) for a, b, c in scales]
