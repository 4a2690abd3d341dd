"""All event classes, and the class that a record of a journal belongs to."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

from engine.events import comparison, generation, notices, run, training, verdicts
from engine.events.base import Record
from engine.events.compat import RENAMED, upgrade
from engine.events.schema import Event, name_pattern, schema

EVENTS: tuple[type[Event], ...] = (
    run.RunStart,
    run.RunResumed,
    run.ModelLoading,
    run.ModelLoaded,
    run.JudgesChosen,
    run.StageStart,
    run.StageProgress,
    run.StageEnd,
    verdicts.EvalInput,
    verdicts.EvalModelResponse,
    verdicts.EvalDecision,
    generation.TrainingExample,
    generation.Draft,
    generation.DraftSample,
    generation.Demonstration,
    verdicts.DraftVerdict,
    generation.Critique,
    generation.RevisionCandidate,
    verdicts.CandidateVerdict,
    generation.Revision,
    verdicts.RevisionVerdict,
    verdicts.PairVerdict,
    generation.PairDecided,
    training.TrainStart,
    training.TrainStep,
    training.TrainSample,
    training.TrainHealth,
    training.HealthAlarm,
    training.HealthDecision,
    training.EpochEnd,
    training.TrainEnd,
    comparison.Answer,
    verdicts.AnswerVerdict,
    verdicts.SecondVerdict,
    comparison.Comparison,
    comparison.Diff,
    comparison.SideEffects,
    comparison.ComparisonSummary,
    run.RunComplete,
    run.RunStopped,
    run.RunPaused,
    run.RunContinued,
    notices.TornRecord,
    notices.RowTruncated,
    notices.Failure,
    notices.Notice,
    notices.RunError,
)
"""In the order of the reference. Of several classes of one stage, a record belongs to the first whose required keys it
has."""


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a stage that this version does not know; its members are all in `unknown`."""

    stage: str = ""

    @property
    def stage_name(self) -> str:
        return self.stage


def parse(record: Record) -> Event:
    """The typed event of a record; an `UnknownEvent` where its stage is unknown.

    Raises:
        DamagedEvent: the record is not what its stage declares.
    """
    classes = find(record.stage)
    if not classes:
        return UnknownEvent(
            stage=record.stage,
            item=record.item,
            summary=record.summary,
            level=record.level,
            unknown=record.data,
            unknown_texts=record.texts,
            unknown_raw=record.raw,
        )
    if record.stage in RENAMED:
        record = dataclasses.replace(record, data=upgrade(record.stage, record.data))
    for cls in classes[:-1]:
        if schema(cls).required <= record.data.keys():
            return cls.from_record(record)
    return classes[-1].from_record(record)


def find(stage: str) -> tuple[type[Event], ...]:
    """The classes of a stage's name as it stands in a record; empty where it is unknown."""
    fixed, numbered = _stages()
    found = fixed.get(stage) or fixed.get(stage.partition(" ")[0])
    if found is not None:
        return found
    for cls, classes in numbered:
        if name_pattern(cls).fullmatch(stage):
            return classes
    return ()


@functools.cache
def _stages() -> tuple[dict[str, tuple[type[Event], ...]], tuple[tuple[type[Event], tuple[type[Event], ...]], ...]]:
    """Classes by name, and those with numbers inside their names."""
    by_stage: dict[str, list[type[Event]]] = {}
    for cls in EVENTS:
        by_stage.setdefault(cls.STAGE, []).append(cls)
    heads = {stage: stage.partition(" ")[0] for stage in by_stage}
    fixed = {head: tuple(by_stage[stage]) for stage, head in heads.items() if "{" not in head}
    numbered = tuple((found[0], tuple(found)) for stage, found in by_stage.items() if "{" in heads[stage])
    return fixed, numbered
