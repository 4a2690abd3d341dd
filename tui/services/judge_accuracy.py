"""How good the judges are, for the window that shows it: from the run's own record, or of the judge that the settings
name, where nothing was judged yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import RedraftError
from engine.settings import RunConfig
from tui.views.pieces import Pieces
from tui.views.verdict import agreement, figures, paragraph, rated

Map = Mapping[str, Any]

_ROLES = (("shown", "Judge of the texts"), ("comparison", "Judge of the comparison"))


def of(config: RunConfig, folder: Path | None) -> Map:
    """Ratings as a JUDGES event has them: from the report of a run without one, else of the settings' judge. Takes a
    moment, as a probe's file is read; loads no model."""
    from engine.judges.registry import configured_accuracy
    from engine.pipeline.prepare import load_constitution
    from engine.runs.store import read_report

    try:
        report = read_report(folder) if folder is not None else {}
    except RedraftError:
        report = {}
    judge = report.get("judge") if isinstance(report, Mapping) else None
    if isinstance(judge, Mapping):
        return {"comparison": judge}
    try:
        return {"shown": configured_accuracy(config, load_constitution(config)).to_data()}
    except RedraftError as error:
        return {"shown": {"name": config.judge, "accuracy": str(error)}}


def lines(judges: Map, agreed: Any, width: int) -> list[Pieces]:
    """All ratings, with what each judge is for."""
    return [*_lines(judges, agreed, width)]


def _lines(judges: Map, agreed: Any, width: int) -> Iterator[Pieces]:
    known = [(words, judges[name]) for name, words in _ROLES if isinstance(judges.get(name), Mapping)]
    for words, rating in known:
        yield from rated(words, rating, width)
        yield []
    if isinstance(judges.get("independent"), bool) and isinstance(judges.get("comparison"), Mapping):
        apart = (
            "The judge of the comparison is neither the model that is trained nor the one that chose the pairs."
            if judges["independent"]
            else "The judge of the comparison chose the pairs, too: a run cannot be confirmed by it."
        )
        yield from paragraph(apart, "text" if judges["independent"] else "warn", width)
        yield []
    found = agreement(agreed, width)
    yield from [*found, []] if found else []
    yield from paragraph(
        "Below, [a, b] is the 95 % interval. AUROC: chance that a violation is scored above a clean text, .5 is "
        "guessing. ECE: how far probabilities are from frequencies, 0 is best.",
        "dim",
        width,
    )
    for words, rating in known:
        yield from figures(words, rating)
