"""Event classes are schema, writer and reader: strict about declared members, tolerant of all others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.base import Record
from engine.events.generation import Draft, PairDecided, Revision
from engine.events.notices import Failure, Notice, RowTruncated, TornRecord
from engine.events.registry import EVENTS, UnknownEvent, find, parse
from engine.events.run import JudgesChosen, StageStart
from engine.events.schema import DamagedEvent, Event, Members, schema
from engine.events.training import TrainSample, TrainStep
from engine.events.verdicts import DraftVerdict
from engine.judges.base import Finding, Verdict


def record(stage: str, data: Mapping[str, Any] | None = None, **members: Any) -> Record:
    return Record(0, 1.0, stage, 2, "s", data=data or {}, **members)


def values(kind: str, members: type[Members] | None) -> st.SearchStrategy[Any]:
    """Values of a member of this type, as the reference names it."""
    plain: dict[str, st.SearchStrategy[Any]] = {
        "boolean": st.booleans(),
        "integer": st.integers(0, 10**9),
        "number": st.integers(-1000, 1000).map(float),
        "string": st.text(max_size=5),
        "any": st.text(max_size=3),
    }
    kind = kind.removeprefix("(").removesuffix(")") if kind.startswith("(") else kind
    if kind.endswith(" or null"):
        return st.none() | values(kind.removesuffix(" or null"), members)
    if kind.startswith("list of "):
        return st.lists(values(kind.removeprefix("list of "), members), max_size=2).map(tuple)
    if kind.startswith("object of "):
        return st.dictionaries(st.text(max_size=5), values(kind.removeprefix("object of "), members), max_size=2)
    if kind == "object":
        return objects(members) if members else st.dictionaries(st.text(max_size=5), st.integers(), max_size=2)
    return plain[kind]


def objects(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Any object of an event class or of a class of members."""
    known = schema(cls)
    fields: dict[str, st.SearchStrategy[Any]] = {
        member.name: values(member.kind, member.members) for member in (*known.data, *known.texts, *known.raw)
    }
    fields |= {member.name: st.integers(0, 999) for member in known.stage}
    if issubclass(cls, Event):
        fields |= {"item": st.text(max_size=5), "summary": st.text(max_size=5), "level": st.integers(1, 3)}
    return st.builds(cls, **fields)


@pytest.mark.parametrize("cls", EVENTS)
def test_what_an_event_class_writes_it_reads(cls: type[Event]) -> None:
    @given(objects(cls))
    def check(event: Event) -> None:
        made = parse(event.to_record(0, 1.0))
        assert made == event
        assert type(made) is cls

    check()


@pytest.mark.parametrize("cls", EVENTS)
def test_every_field_says_what_it_means(cls: type[Event]) -> None:
    assert cls.STAGE
    assert (cls.__doc__ or "").endswith(".")
    known = schema(cls)
    declared = {member.name for member in (*known.data, *known.texts, *known.raw, *known.stage)}
    envelope = {field.name for field in dataclasses.fields(Event)}
    assert {field.name for field in dataclasses.fields(cls)} - envelope == declared
    assert all(len(member.doc) > 5 for member in (*known.data, *known.texts, *known.raw, *known.stage))


def test_unknown_members_and_labels_are_kept_and_written_back() -> None:
    found = record(
        "STAGE-START", {"name": "draft", "total": 3, "done": 0, "new": [1]}, texts={"a": "b"}, raw={"c": "d"}
    )
    event = parse(found)
    assert isinstance(event, StageStart)
    assert (event.unknown, event.unknown_texts, event.unknown_raw) == ({"new": [1]}, {"a": "b"}, {"c": "d"})
    assert event.to_record(0, 1.0) == found


def test_a_record_of_an_unknown_stage_is_kept_whole() -> None:
    found = record("SOMETHING-NEW 1/2", {"x": 1}, texts={"a": "b"})
    event = parse(found)
    assert isinstance(event, UnknownEvent)
    assert event.to_record(0, 1.0) == found


@pytest.mark.parametrize(
    ("stage", "data"),
    [
        ("STAGE-START", {}),
        ("STAGE-START", {"name": 5}),
        ("STAGE-START", {"name": "draft", "total": -1}),
        ("STAGE-START", {"name": "draft", "total": 1.5}),
        ("STAGE-START", {"name": "draft", "total": True}),
        ("PROGRESS", {"rate": math.nan}),
        ("PROGRESS", {"rate": "fast"}),
        ("PROGRESS", {"done": 10**400}),
        ("CRITIQUE-GENERATION", {}),
        ("INITIAL-EVALUATION", {"flagged": "yes"}),
        ("INITIAL-EVALUATION", {"principles": ["a"]}),
        ("INITIAL-EVALUATION", {"spans": [{"start": 1}]}),
        ("COMPARISON-TEST 1/2", {"set": "heldout", "base": {}, "trained": 5}),
        ("RUN-START", {"config": []}),
    ],
)
def test_a_missing_member_or_one_of_another_type_is_damage(stage: str, data: dict[str, Any]) -> None:
    with pytest.raises(DamagedEvent):
        parse(record(stage, data))


def test_required_members_tell_classes_of_one_stage_apart() -> None:
    for data, cls in (
        ({}, Notice),
        ({"bytes": 3}, TornRecord),
        ({"what": "prompt", "tokens": 3}, RowTruncated),
        ({"type": "ValueError"}, Failure),
    ):
        assert type(parse(record("NOTICE", data))) is cls
    assert type(parse(record("EPOCH-1-BATCH-2", {"loss": None}))) is TrainStep
    sample = parse(record("EPOCH-3-BATCH-2", {"step": 1, "sample": {}}))
    assert isinstance(sample, TrainSample)
    assert (sample.epoch, sample.batch) == (3, 2)


def test_keys_of_0_1_are_read_by_their_names_of_today() -> None:
    event = parse(record("JUDGES", {"shown": {"name": "rules"}, "apart": True}))
    assert isinstance(event, JudgesChosen)
    assert event.independent is True
    assert event.unknown == {}


def test_numbers_are_rounded_and_non_finite_ones_are_null() -> None:
    event = TrainStep(
        loss=math.nan,
        change=0.0,
        step=1,
        steps=1,
        epoch=1,
        batch=1,
        batches=1,
        learning_rate=1e-4,
        grad_norm=math.inf,
        num_tokens=1,
        seconds=0.123456,
        tokens_per_second=12.34,
        skipped=True,
    )
    data = event.to_data()
    assert (data["loss"], data["grad_norm"], data["seconds"], data["tokens_per_second"]) == (None, None, 0.1235, 12.3)
    assert "nll_loss" not in data


def test_a_verdict_is_read_back_as_it_was_written() -> None:
    verdict = Verdict(
        "a",
        True,
        principles={"fairness": 0.75},
        broken=("fairness",),
        score=1.0,
        category="stereotype",
        reasoning="Why.",
        method="rules",
        judge="rules",
        findings=(Finding("fairness", "stereotype", 0, 3, "fairness.x", 0.5),),
        response="yes",
        request="Is it?",
        seconds=0.5,
        note="n",
    )
    event = parse(DraftVerdict.of(verdict, item="a", summary="s").to_record(0, 1.0))
    assert isinstance(event, DraftVerdict)
    assert event.to_verdict("a") == verdict


def test_every_stage_is_found_by_the_names_that_its_records_have() -> None:
    assert find("TRAINING-EXAMPLE 3/20") == find("TRAINING-EXAMPLE")
    assert find("EPOCH-12-BATCH-7") == (TrainStep, TrainSample)
    assert find("INITIAL-GENERATION") == (Draft,)
    for name in ("SOMETHING-NEW", "EPOCH-x", "EPOCH-1-BATCH-", "INITIAL", ""):
        assert find(name) == ()
    for cls in EVENTS:
        assert cls in find(cls.STAGE.replace("{", "").replace("}", "")) or "{" in cls.STAGE


def test_labels_with_a_number_are_read_by_number() -> None:
    event = parse(record("REVISION-GENERATION", raw={"candidate 1": "a", "candidate 12": "b"}))
    assert isinstance(event, Revision)
    assert event.candidate_texts == {"1": "a", "12": "b"}


def test_a_pair_of_0_1_needs_no_key_that_came_later() -> None:
    event = parse(record("TRAINING-PAIR-CREATED", {"kept": False, "from": 1, "to": 0.5}))
    assert isinstance(event, PairDecided)
    assert (event.kept, event.expected_rejected, event.expected_chosen) == (False, 1.0, 0.5)


def test_a_step_has_a_member_for_every_metric_of_every_objective() -> None:
    from engine.training.objective import Dpo, Sft

    known = {member.key for member in schema(TrainStep).data}
    for objective in (Sft, Dpo):
        assert known.issuperset(objective.metrics)
