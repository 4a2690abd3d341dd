"""What is known of how good a judge is: what is shown of it, in whatever way the judge itself came to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.judge.figures import Measures
from engine.judge.verdict import Judge


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
    """The rating of a judge, or of the one that decides inside it; judges need to know nothing of this."""
    own = getattr(judge, "rating", None)
    if isinstance(own, Rating):
        return own
    members = {name: getattr(judge, name) for name in ("accuracy", "measures", "measured_as") if hasattr(judge, name)}
    return Rating(judge.name, **members)
