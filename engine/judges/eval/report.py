"""What is known of how good a judge is: what is shown of it, in whatever way the judge itself came to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.judges.base import Judge
from engine.judges.eval.cache import recall, sentence
from engine.judges.eval.metric import Measures


@dataclass(frozen=True)
class Rating:
    """How good a judge was measured to be.

    Args:
        name: the judge's.
        accuracy: a sentence; "" where it was never measured.
        measures: set of texts -> figures with intervals; empty where there are none.
        measured_as: by which `redraft judge bench` keeps what it measures; "" where the judge's own file holds it.
    """

    name: str
    accuracy: str = ""
    measures: Mapping[str, Measures] = field(default_factory=dict)
    measured_as: str = ""

    def to_data(self) -> dict[str, Any]:
        """For the journal and for reports."""
        measures = {name: one.to_data() for name, one in self.measures.items()}
        return {"name": self.name, "accuracy": self.accuracy, "measures": measures}


def rating(judge: Judge) -> Rating:
    """The rating of a judge, or of the one that decides inside it; judges need to know nothing of this. One that has a
    name to be `measured_as` is rated by what was measured under it, one that has figures of its own by those."""
    own = getattr(judge, "rating", None)
    if isinstance(own, Rating):
        return own
    measured_as = getattr(judge, "measured_as", "")
    if measured_as:
        known = recall(measured_as)
        return Rating(judge.name, sentence(known), known, measured_as)
    return Rating(judge.name, getattr(judge, "accuracy", ""), getattr(judge, "measures", {}))
