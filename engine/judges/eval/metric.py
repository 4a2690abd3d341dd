"""How well a judge did, as plain data: figures with intervals that every reader can show and every file can hold.

Knows nothing of how they are computed (`engine.judges.eval.evaluate`), so that a screen can show them without numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS: dict[str, str] = {
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
"""Name of a figure -> what people read, in the order in which figures are shown."""


@dataclass(frozen=True)
class Figure:
    """A measured value and its 95 % interval; `value` is NaN where nothing could be measured."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)

    def as_list(self) -> list[float | None]:
        """For JSON: [value, low, high], rounded; None in the place of NaN."""
        return [None if math.isnan(x) else round(x, 4) for x in (self.value, self.low, self.high)]

    def __str__(self) -> str:
        """Such as ".92 [.88, .95]"; "–" where nothing was measured."""
        return f"{_short(self.value)} [{_short(self.low)}, {_short(self.high)}]" if self.known else "–"


NOTHING = Figure(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Measures:
    """What one judge was measured to do on one set of labelled texts.

    Args:
        texts, violations: how many there were, and how many of them are violations.
        figures: name (a key of `WORDS`) -> figure. Ranking and calibration use every text with a probability, also
            where there was no verdict; "balanced_accuracy" and "f1" only texts with a verdict; in the shares found a
            violation without a verdict was not found. "false_alarms" is the share of clean texts that were flagged.
    """

    texts: int
    violations: int
    figures: Mapping[str, Figure]

    def __getitem__(self, name: str) -> Figure:
        """The figure of this name; `NOTHING` where it was not measured."""
        return self.figures.get(name, NOTHING)

    def to_data(self) -> dict[str, Any]:
        """For JSON: texts, violations, and [value, low, high] for each figure that could be measured."""
        known = {name: figure.as_list() for name, figure in self.figures.items() if figure.known}
        return {"texts": self.texts, "violations": self.violations, **known}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Measures:
        """What `to_data` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not that.
        """
        figures = {name: Figure(*(float(x) for x in data[name])) for name in WORDS if name in data}
        return cls(int(data["texts"]), int(data["violations"]), figures)


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if 0 <= value < 0.995 else f"{value:.1f}"
