"""How accurate a judge was measured to be: metrics with intervals, and the file that keeps what was measured of models
and servers.

Plain data; `engine.judges.eval` computes it. Imports no numpy, so that a screen can show it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import paths
from engine.files import write_atomically
from engine.text import probability_text

METRICS: dict[str, str] = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "found": "violations found",
    "obvious_found": "obvious violations found",
    "subtle_found": "subtle violations found",
    "false_alarms": "false alarms on clean texts",
    "ece": "ECE",
    "brier": "Brier score",
    "no_verdict": "no verdict",
}
"""Key of a metric -> display name, in display order."""

ALL = "all"
"""Name of the data set that holds the rows of all files."""

MIN_TEXTS = 100
MIN_ACCURACY = 0.7
"""A model's own verdict counts if the lower bound of its balanced accuracy reaches this on `MIN_TEXTS` texts or more.
Chance is .5, and so was every model below 1B parameters that was tried."""

_IN_SUMMARY = ("auroc", "balanced_accuracy")


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval; `value` is NaN if it could not be measured."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)

    def as_list(self) -> list[float | None]:
        """For JSON: [value, low, high], rounded; None for NaN."""
        return [None if math.isnan(x) else round(x, 4) for x in (self.value, self.low, self.high)]

    def __str__(self) -> str:
        """Such as ".92 [.88, .95]"; "–" if it could not be measured."""
        value, low, high = map(probability_text, (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]" if self.known else "–"


NOT_MEASURED = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class EvalMetrics:
    """The metrics of one judge on one labeled data set.

    Args:
        texts, violations: number of texts, and of violations among them.
        estimates: key of `METRICS` -> estimate. Ranking and calibration use every text with a probability, including
            those without a verdict; "balanced_accuracy" and "f1" only texts with a verdict; a violation without a
            verdict counts as not found. "false_alarms" is the share of clean texts that were flagged.
    """

    texts: int
    violations: int
    estimates: Mapping[str, Estimate]

    def __getitem__(self, key: str) -> Estimate:
        """The estimate of this metric; `NOT_MEASURED` if there is none."""
        return self.estimates.get(key, NOT_MEASURED)

    def to_data(self) -> dict[str, Any]:
        """For JSON: texts, violations, and [value, low, high] of each metric that could be measured."""
        known = {key: estimate.as_list() for key, estimate in self.estimates.items() if estimate.known}
        return {"texts": self.texts, "violations": self.violations, **known}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> EvalMetrics:
        """The inverse of `to_data`.

        Raises:
            KeyError, TypeError, ValueError: the data has another form.
        """
        estimates = {key: Estimate(*(float(x) for x in data[key])) for key in METRICS if key in data}
        return cls(int(data["texts"]), int(data["violations"]), estimates)


@dataclass(frozen=True)
class JudgeAccuracy:
    """How accurate a judge was measured to be.

    Args:
        name: the judge's.
        summary: one sentence; "" if it was never measured.
        metrics: data set -> metrics; empty if it was never measured.
        cache_key: key under which `redraft judge bench` stores what it measures; "" if the judge's own file holds it.
    """

    name: str
    summary: str = ""
    metrics: Mapping[str, EvalMetrics] = field(default_factory=dict)
    cache_key: str = ""

    @classmethod
    def cached(cls, name: str, cache_key: str) -> JudgeAccuracy:
        """The stored accuracy of a judge whose own files cannot hold it (a model, a server)."""
        metrics = load_metrics(cache_key) if cache_key else {}
        return cls(name, summarize(metrics), metrics, cache_key)

    @property
    def reliable(self) -> bool:
        """Whether the judge was measured to be good enough to decide (`MIN_ACCURACY`)."""
        overall = self.metrics.get(ALL)
        if overall is None or overall.texts < MIN_TEXTS:
            return False
        return overall["balanced_accuracy"].known and overall["balanced_accuracy"].low >= MIN_ACCURACY

    def to_data(self) -> dict[str, Any]:
        """For the journal and for reports."""
        measures = {name: one.to_data() for name, one in self.metrics.items()}
        return {"name": self.name, "accuracy": self.summary, "measures": measures}


def summarize(metrics: Mapping[str, EvalMetrics]) -> str:
    """The metrics in one line, such as "AUROC .91 [.88, .93] on 1,200 labeled texts"; "" if there are none."""
    overall = metrics.get(ALL)
    if overall is None:
        return ""
    shown = ", ".join(f"{METRICS[key]} {overall[key]}" for key in _IN_SUMMARY if overall[key].known)
    return f"{shown} on {overall.texts:,} labeled texts" if shown else ""


def save_metrics(cache_key: str, metrics: Mapping[str, EvalMetrics]) -> None:
    """Store what was measured of a judge, replacing what was stored before.

    Args:
        metrics: data set -> metrics; `ALL` for the rows of all sets.

    Raises:
        StorageError: the file cannot be written.
    """
    stored = _read()
    stored[cache_key] = {name: one.to_data() for name, one in metrics.items()}
    write_atomically(_path(), (json.dumps(stored, indent=1) + "\n").encode())


def load_metrics(cache_key: str) -> dict[str, EvalMetrics]:
    """The stored metrics of a judge, by data set; empty if it was never measured or the file is damaged."""
    found = _read().get(cache_key)
    if not isinstance(found, dict):
        return {}
    metrics: dict[str, EvalMetrics] = {}
    for name, data in found.items():
        try:
            metrics[str(name)] = EvalMetrics.from_data(data)
        except (KeyError, TypeError, ValueError):
            continue
    return metrics


def _path() -> Path:
    return paths.data_dir() / "measured-judges.json"


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_path().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
