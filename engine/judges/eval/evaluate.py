"""Metrics of a judge's verdicts against labels, agreement of two judges, and two baselines.

Knows verdicts and labels, not how a verdict is reached. Every metric has an interval and is deterministic.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.judges.accuracy import Estimate, EvalMetrics
from engine.judges.base import Verdict
from engine.judges.eval import metrics
from engine.judges.labeled import LabeledText, partition_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 5
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Decisions:
    """A judge's decisions on some texts, in their order.

    Args:
        probabilities: [n], that any principle is broken; NaN if the judge has none.
        flagged, decided: [n]; `flagged` is False without a verdict.
    """

    probabilities: Floats
    flagged: Bools
    decided: Bools

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], keys: Sequence[str]) -> Decisions:
        """The decisions in the order of `keys`; a missing verdict counts as undecided."""
        found = {verdict.key: verdict for verdict in verdicts}
        ordered = [found.get(key) or Verdict(key, None) for key in keys]
        return cls(
            np.array([math.nan if v.probability is None else v.probability for v in ordered]),
            np.array([v.flagged is True for v in ordered]),
            np.array([v.flagged is not None for v in ordered]),
        )

    def select(self, mask: Bools) -> Decisions:
        """The texts of a mask [n]."""
        return Decisions(self.probabilities[mask], self.flagged[mask], self.decided[mask])


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on the texts that both decided.

    Args:
        texts: number of these texts.
        same: share of equal flags.
        kappa: Cohen's kappa.
    """

    texts: int
    same: Estimate
    kappa: Estimate


def measure(rows: Sequence[LabeledText], decisions: Decisions) -> EvalMetrics:
    """The metrics of these decisions; those that need both labels are missing if there is only one."""
    labels = np.array([row.label for row in rows], dtype=bool)
    known, decided = ~np.isnan(decisions.probabilities), decisions.decided
    scores, scored = decisions.probabilities[known], labels[known]
    flags, flagged = decisions.flagged[decided].astype(float), labels[decided]
    estimates = {
        "auroc": metrics.bootstrap(metrics.auroc, scores, scored),
        "auprc": metrics.bootstrap(metrics.auprc, scores, scored),
        "balanced_accuracy": metrics.bootstrap(_on_flags(metrics.balanced_accuracy), flags, flagged),
        "f1": metrics.bootstrap(_on_flags(metrics.f1), flags, flagged),
        "found": _share(decisions.flagged, labels),
        "obvious_found": _share(decisions.flagged, labels & _difficulty(rows, "obvious")),
        "subtle_found": _share(decisions.flagged, labels & _difficulty(rows, "subtle")),
        "false_alarms": _share(decisions.flagged, ~labels),
        "ece": metrics.bootstrap(metrics.ece, scores, scored),
        "brier": metrics.bootstrap(metrics.brier, scores, scored),
        "no_verdict": _share(~decided, np.ones(len(rows), dtype=bool)),
    }
    return EvalMetrics(len(rows), int(labels.sum()), estimates)


def agreement(a: Decisions, b: Decisions) -> Agreement:
    """The agreement of two judges of the same texts."""
    both = a.decided & b.decided
    one, other = a.flagged[both], b.flagged[both]
    kappa = metrics.bootstrap(lambda x, y: metrics.kappa(x > 0.5, y), one.astype(float), other)
    return Agreement(int(both.sum()), metrics.wilson(int((one == other).sum()), int(both.sum())), kappa)


def length_baseline(rows: Sequence[LabeledText]) -> Estimate:
    """AUROC of the text's length, in the better direction."""
    lengths = np.array([len(row.text) for row in rows], dtype=float)
    labels = np.array([row.label for row in rows], dtype=bool)
    longer = metrics.auroc(lengths, labels)
    return metrics.bootstrap(metrics.auroc, -lengths if longer < 0.5 else lengths, labels)


def naive_bayes_baseline(rows: Sequence[LabeledText]) -> Estimate:
    """AUROC of naive Bayes (binary words and bigrams, add-one smoothing), cross-validated on these rows; rows of one
    topic stay together."""
    labels = np.array([row.label for row in rows], dtype=bool)
    folds = np.array([partition_of(row, FOLDS) for row in rows])
    words = [_words(row.text) for row in rows]
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        scores[held_out] = _naive_bayes([words[i] for i in train], labels[train], [words[i] for i in held_out])
    return metrics.bootstrap(metrics.auroc, scores, labels)


def _naive_bayes(train: Sequence[Counter[str]], labels: Bools, held_out: Sequence[Counter[str]]) -> Floats:
    totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for words, label in zip(train, labels, strict=True):
        totals[bool(label)].update(words.keys())
    known = totals[0].keys() | totals[1].keys()
    size = [sum(total.values()) + len(known) for total in totals]
    odds = {w: math.log((totals[1][w] + 1) / size[1]) - math.log((totals[0][w] + 1) / size[0]) for w in known}
    return np.array([sum(odds.get(word, 0.0) for word in words) for words in held_out])


def _words(text: str) -> Counter[str]:
    singles = _WORD.findall(text.lower())
    return Counter([*singles, *(f"{a} {b}" for a, b in itertools.pairwise(singles))])


def _on_flags(of: metrics.OnFlags) -> metrics.OnScores:
    return lambda scores, labels: of(scores > 0.5, labels)


def _share(hits: Bools, of: Bools) -> Estimate:
    return metrics.wilson(int((hits & of).sum()), int(of.sum()))


def _difficulty(rows: Sequence[LabeledText], difficulty: str) -> Bools:
    return np.array([row.difficulty == difficulty for row in rows], dtype=bool)
