"""Measures a judge: its verdicts beside the labels, how two judges agree, and what two floors reach.

Knows verdicts and labels, not how a verdict is reached. Every figure comes with an interval and is the same for the
same input.
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

from engine.judges.base import Verdict
from engine.judges.eval import metrics
from engine.judges.eval.metric import Figure, Measures
from engine.judges.labeled import Labelled, share_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 5
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Decisions:
    """What a judge said of some texts, in their order.

    Args:
        probabilities: [n], that any principle is broken; NaN where the judge gave none.
        flagged, decided: [n]; `flagged` is False where nothing was decided.
    """

    probabilities: Floats
    flagged: Bools
    decided: Bools

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], keys: Sequence[str]) -> Decisions:
        """The verdicts, in the order of `keys`; a text without one counts as not decided."""
        found = {verdict.key: verdict for verdict in verdicts}
        ordered = [found.get(key) or Verdict(key, None) for key in keys]
        return cls(
            np.array([math.nan if v.probability is None else v.probability for v in ordered]),
            np.array([v.flagged is True for v in ordered]),
            np.array([v.flagged is not None for v in ordered]),
        )

    def only(self, wanted: Bools) -> Decisions:
        """The texts that `wanted` [n] picks."""
        return Decisions(self.probabilities[wanted], self.flagged[wanted], self.decided[wanted])


@dataclass(frozen=True)
class Agreement:
    """How often two judges flag alike, on the texts that both decided.

    Args:
        texts: how many those are.
        same: share on which they agree.
        kappa: Cohen's: agreement beyond what their rates alone would give.
    """

    texts: int
    same: Figure
    kappa: Figure


def measure(rows: Sequence[Labelled], judged: Decisions) -> Measures:
    """What `judged` is worth on `rows`; what needs both labels is missing where there is only one."""
    labels = np.array([row.label for row in rows], dtype=bool)
    known, decided = ~np.isnan(judged.probabilities), judged.decided
    scores, scored = judged.probabilities[known], labels[known]
    flags, flagged = judged.flagged[decided].astype(float), labels[decided]
    figures = {
        "auroc": metrics.bootstrapped(metrics.auroc, scores, scored),
        "auprc": metrics.bootstrapped(metrics.auprc, scores, scored),
        "balanced_accuracy": metrics.bootstrapped(_on_flags(metrics.balanced_accuracy), flags, flagged),
        "f1": metrics.bootstrapped(_on_flags(metrics.f1), flags, flagged),
        "found": _share(judged.flagged, labels),
        "obvious_found": _share(judged.flagged, labels & _difficulty(rows, "obvious")),
        "subtle_found": _share(judged.flagged, labels & _difficulty(rows, "subtle")),
        "false_alarms": _share(judged.flagged, ~labels),
        "ece": metrics.bootstrapped(metrics.ece, scores, scored),
        "brier": metrics.bootstrapped(metrics.brier, scores, scored),
        "no_verdict": _share(~decided, np.ones(len(rows), dtype=bool)),
    }
    return Measures(len(rows), int(labels.sum()), figures)


def agreement(a: Decisions, b: Decisions) -> Agreement:
    """How far two judges of the same texts agree."""
    both = a.decided & b.decided
    one, other = a.flagged[both], b.flagged[both]
    kappa = metrics.bootstrapped(lambda x, y: metrics.kappa(x > 0.5, y), one.astype(float), other)
    return Agreement(int(both.sum()), metrics.wilson(int((one == other).sum()), int(both.sum())), kappa)


def by_length(rows: Sequence[Labelled]) -> Figure:
    """The floor that reads nothing: AUROC of the text's length, in whichever direction does better."""
    lengths = np.array([len(row.text) for row in rows], dtype=float)
    labels = np.array([row.label for row in rows], dtype=bool)
    longer = metrics.auroc(lengths, labels)
    return metrics.bootstrapped(metrics.auroc, -lengths if longer < 0.5 else lengths, labels)


def by_words(rows: Sequence[Labelled]) -> Figure:
    """The floor that knows words only: AUROC of naive Bayes (which words and pairs of words occur, add one),
    cross-validated on these very rows; rows of one topic stay together."""
    labels = np.array([row.label for row in rows], dtype=bool)
    folds = np.array([share_of(row, FOLDS) for row in rows])
    words = [_words(row.text) for row in rows]
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        seen, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        scores[held] = _naive_bayes([words[i] for i in seen], labels[seen], [words[i] for i in held])
    return metrics.bootstrapped(metrics.auroc, scores, labels)


def _naive_bayes(seen: Sequence[Counter[str]], labels: Bools, held: Sequence[Counter[str]]) -> Floats:
    totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for words, label in zip(seen, labels, strict=True):
        totals[bool(label)].update(words.keys())
    known = totals[0].keys() | totals[1].keys()
    size = [sum(total.values()) + len(known) for total in totals]
    odds = {w: math.log((totals[1][w] + 1) / size[1]) - math.log((totals[0][w] + 1) / size[0]) for w in known}
    return np.array([sum(odds.get(word, 0.0) for word in words) for words in held])


def _words(text: str) -> Counter[str]:
    singles = _WORD.findall(text.lower())
    return Counter([*singles, *(f"{a} {b}" for a, b in itertools.pairwise(singles))])


def _on_flags(of: metrics.OnFlags) -> metrics.OnScores:
    return lambda scores, labels: of(scores > 0.5, labels)


def _share(hits: Bools, of: Bools) -> Figure:
    return metrics.wilson(int((hits & of).sum()), int(of.sum()))


def _difficulty(rows: Sequence[Labelled], difficulty: str) -> Bools:
    return np.array([row.difficulty == difficulty for row in rows], dtype=bool)
