"""Fits probes: lines through hidden states and words, their combination with the rules, thresholds.

Whatever is fitted on predictions (combination, thresholds) is fitted on predictions for rows that the predicting line
did not see. The same rows in the same order give the same probes. Knows vectors and labels, not how a text becomes one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.judges.labeled import OWN, REGISTERS, Labelled
from engine.judges.probe import calibrate, feature_map, ngram_features, ridge
from engine.judges.probe.feature_map import Space
from engine.judges.probe.probe import MEMBERS, Combination, Probe, in_one

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

FOLDS = 5
HALVES = "ab"
PENALTY = 1.0
"""For rows of a squared length of about 1."""
NEAR, FAR = 6.0, 0.5
"""What one of the project's examples counts for, beside 1 for a row from elsewhere, in the line for texts like them and
in the line for others. The examples' clean texts were written to look like violations, and tell them apart only where
they count for much; elsewhere they must not."""
LIKENESS = 0.3
"""Penalty of the line that tells the two kinds of text apart."""
LEAST_OF_EACH = 100
"""Rows of the project's, and from elsewhere, without which there is one line a principle."""
BREADTH = 0.3
"""What one of the project's texts in the ways of elsewhere counts for: there are many of them, and they are a guess at
texts that other rows may really show."""
OTHERS = 0.3
"""What a clean text of another principle counts for, beside 1 for the principle's own texts."""


@dataclass(frozen=True)
class Rows:
    """What is fitted on.

    Args:
        labelled: the rows.
        values: float32 [rows, features].
        evidence: [rows, principles], the rules' evidence (`engine.judges.probe.probe.evidence`).
        principles: ids.
        halves, folds: [rows], see `divide`.
    """

    labelled: tuple[Labelled, ...]
    values: Singles
    evidence: Floats
    principles: tuple[str, ...]
    halves: Numbers
    folds: Numbers

    def only(self, wanted: Bools) -> Rows:
        """The rows that `wanted` [rows] picks."""
        kept = tuple(row for row, keep in zip(self.labelled, wanted, strict=True) if keep)
        evidence, halves, folds = self.evidence[wanted], self.halves[wanted], self.folds[wanted]
        return Rows(kept, self.values[wanted], evidence, self.principles, halves, folds)

    @property
    def labels(self) -> Bools:
        return np.array([row.label for row in self.labelled], dtype=bool)

    @property
    def chosen(self) -> Bools:
        """Rows that thresholds are chosen by: the project's examples where there are any, whose clean texts were all
        written to look like violations; otherwise all."""
        return self.own if self.own.any() else np.ones(len(self.labelled), dtype=bool)

    @property
    def own(self) -> Bools:
        """The project's examples."""
        return np.array([row.set == OWN for row in self.labelled], dtype=bool)

    def weights(self, principle: str, own: float = 1.0) -> Floats:
        """How much each row counts for a principle, the project's examples `own` times as much; a violation of another
        one tells nothing about this one."""
        about = np.array([row.principle == principle for row in self.labelled])
        kind = np.where(self.own, own, np.where([row.set == REGISTERS for row in self.labelled], BREADTH, 1.0))
        return np.where(about, 1.0, np.where(self.labels, 0.0, OTHERS)) * kind


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
    """Every member on its rows, and its twins, each fitted without one fold. Twins share their member's space, which is
    fitted without labels."""
    probes: dict[str, Probe] = {}
    twins: dict[str, tuple[Probe, ...]] = {}
    for member in MEMBERS:
        lines = Lines.of(rows if member == "whole" else rows.only(rows.halves == HALVES.index(member)))
        probes[member] = lines.probe(member)
        twins[member] = tuple(lines.probe(member, without=fold) for fold in range(FOLDS))
    return probes, twins


@dataclass(frozen=True)
class Lines:
    """Everything that is fitted on one member's rows, from which the member and its twins follow.

    Args:
        space: turns vectors into features.
        features: float32 [rows, features].
        products: [rows, rows], each row's features times each other's.
        solutions: one a principle; or, where there are enough rows like the project's and from elsewhere, one a
            principle for the former, one a principle for the latter, and one that tells which a text is like.
        known: folds -> the lines that are fitted without them, as far as they were asked for.
    """

    rows: Rows
    space: Space
    features: Singles
    products: Floats
    solutions: tuple[ridge.Solution, ...]
    known: dict[frozenset[int], Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Rows) -> Lines:
        place = feature_map.fitted(rows.values, rows.values.shape[1] - ngram_features.SIZE)
        features = place.features(rows.values)
        products = (features @ features.T).astype(np.float64)
        target = np.where(rows.labels, 1.0, -1.0)
        both = LEAST_OF_EACH <= rows.own.sum() <= len(rows.labelled) - LEAST_OF_EACH
        solutions = [
            ridge.solve(products, target, rows.weights(principle, own), PENALTY)
            for own in ((NEAR, FAR) if both else (1.0,))
            for principle in rows.principles
        ]
        if both:
            alike = np.where(rows.own, 1.0, -1.0)
            solutions.append(ridge.solve(products, alike, np.ones(len(target)), LIKENESS))
        return cls(rows, place, features, products, tuple(solutions))

    def probe(self, name: str, without: int | None = None) -> Probe:
        """The probe of all rows, or of all but one fold: lines, their combination with the rules, thresholds that
        rarely flag clean texts, and a band below them where nothing is decided."""
        out = frozenset[int]() if without is None else frozenset((without,))
        kept = ~self._in(out)
        shares = self._shares(out)
        rows, held = self.rows.only(kept), self._held(out)[kept]
        combined = _cross_fitted(rows, held)
        limits = calibrate.thresholds(combined, rows.chosen & ~rows.labels)
        lows = calibrate.bands(combined[rows.chosen], limits)
        together, alone = _calibrated(rows, held, rows.evidence), _calibrated(rows, held, np.zeros_like(rows.evidence))
        return Probe(
            name=name,
            principles=rows.principles,
            space=self.space,
            # As it will be stored.
            weight=(shares.T.astype(np.float32) @ self.features).astype(np.float16).astype(np.float32),
            bias=shares.sum(0),
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
                for i in range(len(rows.principles))
            ),
            accuracy="",
        )

    def _in(self, folds: frozenset[int]) -> Bools:
        """The rows that these folds hold."""
        return np.isin(self.rows.folds, list(folds))

    def _shares(self, out: frozenset[int]) -> Floats:
        """What each row adds to each line that is fitted without these folds, [rows, lines]. The lines without two
        folds serve the twins of both."""
        if out not in self.known:
            self.known[out] = np.stack([solution.without(self._in(out)) for solution in self.solutions], 1)
        return self.known[out]

    def _held(self, out: frozenset[int]) -> Floats:
        """What lines that were fitted without a row's fold, and without the folds that are `out`, say of each row that
        is left; [rows, principles], 0 for the rows of those folds."""
        held = np.zeros((len(self.rows.labelled), len(self.solutions)))
        for fold in set(self.rows.folds.tolist()) - out:
            here = self.rows.folds == fold
            for place, shares in enumerate(self._shares(out | {fold}).T):
                held[here, place] = ridge.predicted(self.products[here], np.ascontiguousarray(shares))
        return in_one(held, len(self.rows.principles))


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
        weights = rows.weights(principle)
        used = weights > 0
        scales.append(calibrate.combine(held[used, place], evidence[used, place], target[used], weights[used]))
    logits = np.stack([s[0] * held[:, i] + s[1] * evidence[:, i] + s[2] for i, s in enumerate(scales)], 1)
    stretch, shift = calibrate.platt(logits.max(1), target, np.ones(len(target)))
    return [(a * stretch, b * stretch, c * stretch + shift) for a, b, c in scales]
