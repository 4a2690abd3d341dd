"""Fits probes: lines through hidden states, their combination with the rules, thresholds, and how well all that does.

The same rows in the same order give the same probes. Knows vectors and labels, not how a text becomes a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.judge import calibrate, metrics
from engine.judge.labelled import OWN, Labelled
from engine.judge.logistic import Line, fit_line
from engine.judge.probe import Combination, Probe

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 5
STRENGTHS = (3.0, 10.0, 30.0, 100.0)
"""Inverse penalties that are tried, for features scaled to mean 0 and a squared length of about 1."""
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
    """

    labelled: tuple[Labelled, ...]
    values: Singles
    evidence: Floats
    principles: tuple[str, ...]

    def only(self, wanted: Bools) -> Rows:
        """The rows that `wanted` [rows] picks."""
        kept = tuple(row for row, keep in zip(self.labelled, wanted, strict=True) if keep)
        return Rows(kept, self.values[wanted], self.evidence[wanted], self.principles)

    @property
    def labels(self) -> Bools:
        return np.array([row.label for row in self.labelled])

    @property
    def own(self) -> Bools:
        return np.array([row.set == OWN for row in self.labelled])

    def about(self, principle: str) -> Bools:
        return np.array([row.principle == principle for row in self.labelled])

    def weights(self, principle: str) -> Floats:
        """How much each row counts for a principle; a violation of another one tells nothing about this one."""
        about = self.about(principle)
        return np.where(about, 1.0, np.where(self.labels, 0.0, OTHERS))


@dataclass(frozen=True)
class Fitted:
    """A probe with its predictions on the rows that it was fitted on, each by a line that did not see it.

    Args:
        logits, combined: [rows, principles].
        strengths: one a principle.
    """

    probe: Probe
    logits: Floats
    combined: Floats
    strengths: tuple[float, ...]


def divide(rows: Sequence[Labelled]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the half (0 or 1) and the fold that its group falls into: topics in turn, single texts by hash."""

    def number(group: str) -> int:
        return int(hashlib.sha256(group.encode()).hexdigest()[:12], 16)

    topics = sorted({row.group for row in rows if row.topic}, key=number)
    places = {topic: place for place, topic in enumerate(topics)}
    numbers = [places[row.group] if row.topic else number(row.group) for row in rows]
    values = np.array(numbers, dtype=np.int64)
    return values % 2, values // 2 % FOLDS


def fit(name: str, rows: Rows, folds: NDArray[np.int64]) -> Fitted:
    """Fit one member on rows; `folds` [rows] says what is predicted together.

    For each principle: the penalty by cross-validated AUROC (mean over sets), the combination with the rules on the
    same held-out predictions, cross-fitted once more for the figures; thresholds so that clean texts are rarely
    flagged.
    """
    count = len(rows.principles)
    logits = np.zeros((len(rows.labelled), count))
    combined = np.zeros_like(logits)
    lines: list[Line] = []
    scales: list[tuple[float, float, float]] = []
    alone: list[tuple[float, float]] = []
    strengths: list[float] = []
    target = rows.labels.astype(np.float64)
    for place, principle in enumerate(rows.principles):
        weights = rows.weights(principle)
        strength, logits[:, place] = _strength(rows, principle, folds)
        strengths.append(strength)
        lines.append(_line(rows.values, target, weights, strength))
        for fold in range(FOLDS):
            seen, held = (folds != fold) & (weights > 0), folds == fold
            part = calibrate.combine(logits[seen, place], rows.evidence[seen, place], target[seen], weights[seen])
            combined[held, place] = calibrate.probability(logits[held, place], rows.evidence[held, place], part)
        used = weights > 0
        scales.append(calibrate.combine(logits[used, place], rows.evidence[used, place], target[used], weights[used]))
        alone.append(calibrate.platt(logits[used, place], target[used], weights[used]))
    chosen = rows.own if rows.own.any() else np.ones(len(rows.labelled), dtype=bool)
    limits = calibrate.thresholds(combined, chosen & ~rows.labels)
    lows = calibrate.bands(combined[chosen], limits)
    probe = Probe(
        name=name,
        principles=rows.principles,
        weight=np.stack([line.weight for line in lines]),
        bias=np.array([line.bias for line in lines]),
        combinations=tuple(
            Combination(
                probe=round(scales[i][0], 6),
                rules=round(scales[i][1], 6),
                offset=round(scales[i][2], 6),
                alone_scale=round(alone[i][0], 6),
                alone_offset=round(alone[i][1], 6),
                threshold=float(limits[i]),
                low=float(lows[i]),
            )
            for i in range(count)
        ),
        accuracy=sentence(rows, combined),
    )
    return Fitted(probe, logits, combined, tuple(strengths))


def predict(probe: Probe, rows: Rows) -> Floats:
    """The probe's combined probabilities, [rows, principles]."""
    return probe.combined(probe.logits(rows.values), rows.evidence)


def sentence(rows: Rows, probabilities: Floats) -> str:
    """How well probabilities of texts that were not fitted on tell violations, for people."""
    chosen = rows.own if rows.own.any() else np.ones(len(rows.labelled), dtype=bool)
    figure = metrics.bootstrapped(metrics.auroc, probabilities[chosen].max(1), rows.labels[chosen])
    kind = "of the project's own texts" if rows.own.any() else "labelled texts"
    return (
        f"AUROC {figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}] on {int(chosen.sum())} {kind}, "
        "none of them fitted on"
    )


def _strength(rows: Rows, principle: str, folds: NDArray[np.int64]) -> tuple[float, Floats]:
    """The best penalty and its held-out logits; of equally good ones the strongest penalty."""
    target, weights = rows.labels.astype(np.float64), rows.weights(principle)
    best: tuple[float, float, Floats] | None = None
    for strength in STRENGTHS:
        logits = np.zeros(len(target))
        for fold in range(FOLDS):
            seen, held = (folds != fold) & (weights > 0), folds == fold
            logits[held] = _line(rows.values[seen], target[seen], weights[seen], strength).logits(rows.values[held])
        score = _ranking(rows, principle, logits)
        if best is None or score > best[0] + 0.002:
            best = score, strength, logits
    assert best is not None
    return best[1], best[2]


def _ranking(rows: Rows, principle: str, logits: Floats) -> float:
    """Mean AUROC over the sets that test the principle; sets weigh by the root of their size."""
    about = rows.about(principle)
    sets = np.array([row.set for row in rows.labelled])
    total = weight = 0.0
    for name in sorted(set(sets[about])):
        part = about & (sets == name)
        value = metrics.auroc(logits[part], rows.labels[part])
        if not np.isnan(value):
            size = float(np.sqrt(part.sum()))
            total, weight = total + size * value, weight + size
    return total / weight if weight else 0.5


def _line(values: Singles, target: Floats, weights: Floats, strength: float) -> Line:
    """A line through features as they are: their scaling is folded into it."""
    mean, spread = values.mean(0), values.std(0) + 1e-3
    scale = (1.0 / (spread * np.sqrt(values.shape[1]))).astype(np.float32)
    line = fit_line((values - mean) * scale, target, weights, strength)
    weight = line.weight * scale
    return Line(weight, line.bias - float(mean.astype(np.float64) @ weight.astype(np.float64)))
