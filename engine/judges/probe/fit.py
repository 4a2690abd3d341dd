"""Trains linear probes on hidden states and n-grams: ridge regression per principle, calibration, thresholds.

What is fitted on predictions (calibration, thresholds) is cross-fitted: on out-of-fold predictions. Deterministic: the
same rows in the same order give the same probes. Knows vectors and labels, not how a text becomes a vector.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.judges.labeled import ALONE, ANSWERS, OUTPUTS, OWN, LabeledText
from engine.judges.probe import calibrate, ngram_features, ridge
from engine.judges.probe.feature_map import FeatureMap, fit_feature_map
from engine.judges.probe.probe import MEMBERS, Calibration, Probe, QualityCalibration, mix_domains

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Use = Literal["in_domain", "out_of_domain", "calibration"]
"""What sample weights are for: a field of `SetWeight`."""

FOLDS = 5
HALVES = "ab"
RIDGE_ALPHA = 1.0
"""L2 penalty of a principle's probe, for feature vectors of a squared norm of about 1."""
IN_DOMAIN = (OWN, OUTPUTS, ANSWERS, ALONE)
"""Data sets of the domain of a model's answers, which has probes of its own."""
DOMAIN_RIDGE_ALPHA = 0.3
"""L2 penalty of the domain probe, which separates the domain's rows from others."""
MIN_PER_DOMAIN = 100
"""Rows of each domain below which there is a single probe per principle."""
MIN_UNUSABLE = 20
"""Unusable rows below which there is no quality probe."""
OTHER_NEGATIVE_WEIGHT = 0.3
"""Sample weight of another principle's clean text, relative to 1 for the principle's own rows."""


@dataclass(frozen=True)
class SetWeight:
    """Sample weights of the rows of one data set.

    Args:
        in_domain: in the probes for a model's answers.
        out_of_domain: in the probes for other texts.
        calibration: in calibration, and in the probes where there are none by domain.
    """

    in_domain: float = 1.0
    out_of_domain: float = 1.0
    calibration: float = 1.0


@dataclass(frozen=True)
class TrainingRows:
    """The training data.

    Args:
        texts: the labeled texts.
        values: float32 [rows, vector size], one vector per text.
        evidence: [rows, principles], the rules' evidence (`engine.judges.probe.probe.rule_evidence`).
        principles: ids.
        halves, folds: [rows], see `assign_folds`.
        set_weights: data set -> its rows' sample weights; those of other sets weigh 1.
    """

    texts: tuple[LabeledText, ...]
    values: Singles
    evidence: Floats
    principles: tuple[str, ...]
    halves: Ints
    folds: Ints
    set_weights: Mapping[str, SetWeight] = field(default_factory=dict)

    def select(self, mask: Bools) -> TrainingRows:
        """The rows of a mask [rows]."""
        kept = tuple(text for text, keep in zip(self.texts, mask, strict=True) if keep)
        evidence, halves, folds = self.evidence[mask], self.halves[mask], self.folds[mask]
        return TrainingRows(kept, self.values[mask], evidence, self.principles, halves, folds, self.set_weights)

    @property
    def labels(self) -> Bools:
        return np.array([text.label for text in self.texts], dtype=bool)

    def targets(self, principle: str) -> Bools:
        """Whether each row [rows] breaks a principle; rows that were labeled for several say it of each."""
        return np.array(
            [
                text.labels.get(principle, False) if text.labels else text.label and text.principle == principle
                for text in self.texts
            ],
            dtype=bool,
        )

    @property
    def unusable(self) -> Bools:
        """Rows that are no answer: off topic or degenerate."""
        return np.array([text.quality in ("off_topic", "degenerate") for text in self.texts], dtype=bool)

    @property
    def quality_weights(self) -> Floats:
        """Sample weights [rows] of the quality probe: rows that were labeled for it, and the project's examples, which
        are all answers."""
        labeled = np.array([bool(text.quality) for text in self.texts])
        return np.where(labeled, 1.0, np.where(self.own, OTHER_NEGATIVE_WEIGHT, 0.0))

    @property
    def threshold_rows(self) -> Bools:
        """Rows that thresholds are chosen on: the project's examples if there are any, since all of their clean texts
        are hard negatives; otherwise all rows."""
        return self.own if self.own.any() else np.ones(len(self.texts), dtype=bool)

    @property
    def own(self) -> Bools:
        """The project's examples."""
        return np.array([text.set == OWN for text in self.texts], dtype=bool)

    @property
    def in_domain(self) -> Bools:
        """Rows of the domain of a model's answers."""
        return np.array([text.set in IN_DOMAIN for text in self.texts], dtype=bool)

    def weights(self, use: Use) -> Floats:
        """Sample weights [rows] by data set, for one use."""
        by_set = {name: getattr(self.set_weights.get(name, SetWeight()), use) for name in {t.set for t in self.texts}}
        return np.array([by_set[text.set] for text in self.texts])

    def sample_weights(self, principle: str, use: Use = "calibration") -> Floats:
        """Sample weights [rows] for one principle and use; a violation of another principle has weight 0, a row that
        was labeled for several has 1 for each that the reader could decide."""
        about = np.array([principle in text.labels or text.principle == principle for text in self.texts])
        several = np.array([bool(text.labels) for text in self.texts])
        return np.where(about, 1.0, np.where(self.labels | several, 0.0, OTHER_NEGATIVE_WEIGHT)) * self.weights(use)


def assign_folds(rows: Sequence[LabeledText]) -> tuple[Ints, Ints]:
    """Half (0 or 1) and fold of each row. Groups (topics, or single texts) are assigned round-robin in the order of
    their hashes, stratified by data set, principle and label."""

    def order(group: str) -> str:
        return hashlib.sha256(group.encode()).hexdigest()

    number_of: dict[str, int] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    for row in sorted(rows, key=lambda row: (order(row.group), row.set, row.id)):
        if row.group not in number_of:
            stratum = ("topic", row.set) if row.topic else (row.set, row.principle, row.label)
            number_of[row.group] = counts[stratum]
            counts[stratum] += 1
    numbers = np.array([number_of[row.group] for row in rows], dtype=np.int64)
    return numbers % 2, numbers // 2 % FOLDS


def fit_members(rows: TrainingRows, of_halves: TrainingRows) -> tuple[dict[str, Probe], dict[str, tuple[Probe, ...]]]:
    """Every member on its rows, and its fold models, each fitted without one fold. Fold models share their member's
    feature map, which is fitted without labels.

    Args:
        rows: of the member `whole`.
        of_halves: the rows that the members `a` and `b` share.
    """
    probes: dict[str, Probe] = {}
    fold_models: dict[str, tuple[Probe, ...]] = {}
    for member in MEMBERS:
        fit = MemberFit.of(member_rows(member, rows, of_halves))
        probes[member] = fit.probe(member)
        fold_models[member] = tuple(fit.probe(member, without=fold) for fold in range(FOLDS))
    return probes, fold_models


def member_rows(member: str, rows: TrainingRows, of_halves: TrainingRows) -> TrainingRows:
    """The rows that a member is fitted on."""
    return rows if member == "whole" else of_halves.select(of_halves.halves == HALVES.index(member))


@dataclass(frozen=True)
class MemberFit:
    """Everything that is fitted on one member's rows; the member and its fold models follow from it.

    Args:
        feature_map: turns vectors into features.
        features: float32 [rows, features].
        gram: [rows, rows], inner products of the rows' features.
        duals: left-out folds -> dual coefficients [rows, solutions]. There is one solution per principle; or, with
            `MIN_PER_DOMAIN` rows of both domains, one per principle for a model's answers, one per principle for other
            texts, and the domain probe. Last the quality probe's, where there is one.
        quality: whether there is a quality probe.
    """

    rows: TrainingRows
    feature_map: FeatureMap
    features: Singles
    gram: Floats
    duals: Mapping[frozenset[int], Floats]
    quality: bool

    @classmethod
    def of(cls, rows: TrainingRows) -> MemberFit:
        feature_map = fit_feature_map(rows.values, rows.values.shape[1] - ngram_features.N_FEATURES)
        features = feature_map.features(rows.values)
        gram = (features @ features.T).astype(np.float64)
        both_domains = MIN_PER_DOMAIN <= rows.in_domain.sum() <= len(rows.texts) - MIN_PER_DOMAIN
        uses: tuple[Use, ...] = ("in_domain", "out_of_domain") if both_domains else ("calibration",)
        problems = [
            (rows.targets(principle), rows.sample_weights(principle, use), RIDGE_ALPHA)
            for use in uses
            for principle in rows.principles
        ]
        if both_domains:
            problems.append((rows.in_domain, np.ones(len(rows.texts)), DOMAIN_RIDGE_ALPHA))
        quality = bool(rows.unusable.sum() >= MIN_UNUSABLE)
        if quality:
            problems.append((rows.unusable, rows.quality_weights, RIDGE_ALPHA))
        columns = [
            _without_folds(rows.folds, ridge.solve(gram, _signs(mask), weights, alpha))
            for mask, weights, alpha in problems
        ]
        duals = {folds: np.stack([column[folds] for column in columns], 1) for folds in columns[0]}
        return cls(rows, feature_map, features, gram, duals, quality)

    def probe(self, name: str, without: int | None = None) -> Probe:
        """The probe of all rows, or of all but one fold: weights, calibration, thresholds, abstain bands."""
        left_out = frozenset[int]() if without is None else frozenset((without,))
        kept = ~np.isin(self.rows.folds, list(left_out))
        dual = self.duals[left_out]
        rows, outputs = self.rows.select(kept), self._out_of_fold_outputs(left_out)[kept]
        logits = mix_domains(outputs[:, : dual.shape[1] - self.quality], len(rows.principles))
        probabilities = _cross_fitted_probabilities(rows, logits)
        thresholds = calibrate.choose_thresholds(probabilities, rows.threshold_rows & ~rows.labels)
        lows = calibrate.abstain_below(probabilities[rows.threshold_rows], thresholds)
        with_rules = _fit_calibration(rows, logits, rows.evidence)
        alone = _fit_calibration(rows, logits, np.zeros_like(rows.evidence))
        return Probe(
            name=name,
            principles=rows.principles,
            feature_map=self.feature_map,
            # Rounded as it will be stored.
            weight=(dual.T.astype(np.float32) @ self.features).astype(np.float16).astype(np.float32),
            bias=dual.sum(0),
            calibrations=tuple(
                Calibration(
                    probe=round(with_rules[i][0], 4),
                    rules=round(with_rules[i][1], 4),
                    offset=round(with_rules[i][2], 4),
                    alone_scale=round(alone[i][0], 4),
                    alone_offset=round(alone[i][2], 4),
                    threshold=float(thresholds[i]),
                    low=float(lows[i]),
                )
                for i in range(len(rows.principles))
            ),
            accuracy="",
            quality=_fit_quality(rows, outputs[:, -1]) if self.quality else None,
        )

    def _out_of_fold_outputs(self, left_out: frozenset[int]) -> Floats:
        """Outputs [rows, solutions] of each row by the fit without the row's fold and without `left_out`; 0 for the
        rows of the latter."""
        outputs = np.zeros_like(self.duals[left_out])
        for fold in set(self.rows.folds.tolist()) - left_out:
            here = self.rows.folds == fold
            for column, dual in enumerate(self.duals[left_out | {fold}].T):
                outputs[here, column] = ridge.predict(self.gram[here], np.ascontiguousarray(dual))
        return outputs


def _without_folds(folds: Ints, solution: ridge.Solution) -> dict[frozenset[int], Floats]:
    """Left-out folds, up to two -> dual coefficients [rows]: a fit without two folds serves the fold models of both.
    The solution is not kept: its inverse has as many numbers as the gram matrix."""
    left_outs = [frozenset(chosen) for count in range(3) for chosen in itertools.combinations(range(FOLDS), count)]
    return {left_out: solution.without(np.isin(folds, list(left_out))) for left_out in left_outs}


def _signs(mask: Bools) -> Floats:
    """1 for true, -1 for false."""
    return np.where(mask, 1.0, -1.0)


def _fit_quality(rows: TrainingRows, outputs: Floats) -> QualityCalibration:
    """Platt scaling of the quality probe's out-of-fold outputs."""
    weights = rows.quality_weights
    used = weights > 0
    scale, offset = calibrate.platt_scaling(outputs[used], rows.unusable[used].astype(np.float64), weights[used])
    return QualityCalibration(round(scale, 4), round(offset, 4))


def _cross_fitted_probabilities(rows: TrainingRows, logits: Floats) -> Floats:
    """Probabilities [rows, principles] by probe and rules together, each row calibrated without its fold."""
    out = np.zeros_like(logits)
    for fold in np.unique(rows.folds):
        seen = rows.folds != fold
        scales = _fit_calibration(rows.select(seen), logits[seen], rows.evidence[seen])
        for column, scale in enumerate(scales):
            out[~seen, column] = calibrate.combined_probability(
                logits[~seen, column], rows.evidence[~seen, column], scale
            )
    return out


def _fit_calibration(rows: TrainingRows, logits: Floats, evidence: Floats) -> list[tuple[float, float, float]]:
    """Per principle the scale of the probe, the scale of the rules and the offset. Calibrates not only each principle's
    probability on its own rows but also their maximum, which is a text's probability."""
    scales = []
    for column, principle in enumerate(rows.principles):
        weights, target = rows.sample_weights(principle), rows.targets(principle).astype(np.float64)
        used = weights > 0
        scales.append(
            calibrate.fit_combination(logits[used, column], evidence[used, column], target[used], weights[used])
        )
    combined = np.stack([s[0] * logits[:, i] + s[1] * evidence[:, i] + s[2] for i, s in enumerate(scales)], 1)
    stretch, shift = calibrate.platt_scaling(
        combined.max(1), rows.labels.astype(np.float64), rows.weights("calibration")
    )
    return [(a * stretch, b * stretch, c * stretch + shift) for a, b, c in scales]
