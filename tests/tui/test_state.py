from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from recorded import BROKEN, CLEAN, Recorder

from engine.events import registry
from engine.events.base import Record
from engine.runs import state as state_module
from engine.runs.journal_reader import read
from engine.runs.state import Order, RunState


def taken(events: list[Record]) -> RunState:
    state = RunState()
    for number, event in enumerate(events):
        state.apply(event, number)
    return state


def event(stage: str, time: float = 0.0, item: str = "", texts: dict[str, str] | None = None, **data: Any) -> Record:
    return Record(0, time, stage, 1, "x", item=item, texts=texts or {}, data=data)


def test_a_finished_run_adds_up(finished: Path) -> None:
    state = taken(list(read(finished)))
    assert state.status == "done"
    assert state.model == "smollm2-135m-instruct"
    assert (state.pairs_kept, state.pairs_dropped) == (16, 4)
    assert state.loss.count == 60
    assert state.steps == 60
    assert len(state.comparisons) == 40
    assert state.sample_step == 60
    assert state.result["outcome"] == "not confirmed"
    assert all(comparison.diff > comparison.event for comparison in state.comparisons)


def test_the_time_left_comes_from_measured_speed() -> None:
    state = taken(
        [
            event("STAGE-START", 100.0, name="draft", total=20),
            event("PROGRESS", 110.0, name="draft", done=5, total=20),
        ]
    )
    assert state.progress.left == 30.0


def test_the_first_items_of_a_batch_say_nothing_of_the_time_left() -> None:
    events = [
        event("STAGE-START", 100.0, name="candidate verdict", total=80),
        event("PROGRESS", 148.0, name="candidate verdict", done=1, total=80),
    ]
    assert taken(events).progress.left is None
    events.append(event("PROGRESS", 160.0, name="candidate verdict", done=40, total=80))
    assert taken(events).progress.left == 60.0


def test_items_of_an_earlier_start_do_not_speed_up_the_time_left() -> None:
    state = taken(
        [
            event("STAGE-START", 100.0, name="draft", total=20, done=12),
            event("PROGRESS", 140.0, name="draft", done=16, total=20),
        ]
    )
    assert state.progress.left == 40.0


def test_training_knows_its_time_left_after_three_steps() -> None:
    events = [event("STAGE-START", 0.0, name="train", total=90)]
    events.append(event("PROGRESS", 6.0, name="train", done=2, total=90))
    assert taken(events).progress.left is None
    events.append(event("PROGRESS", 9.0, name="train", done=3, total=90))
    assert taken(events).progress.left == 261.0


def test_a_pause_is_no_work() -> None:
    state = taken(
        [
            event("RUN-START", 99.0, config={}),
            event("STAGE-START", 100.0, name="draft", total=20),
            event("PROGRESS", 110.0, name="draft", done=5, total=20),
            event("RUN-PAUSED", 110.0),
            event("RUN-CONTINUED", 1110.0),
            event("PROGRESS", 1120.0, name="draft", done=10, total=20),
        ]
    )
    assert state.progress.left == 20.0
    assert state.status == "running"


def test_there_is_no_time_left_before_anything_was_measured() -> None:
    assert taken([event("STAGE-START", 1.0, name="draft", total=20)]).progress.left is None
    assert RunState().progress.left is None


def test_the_greatest_change_comes_first_and_worse_counts_like_better() -> None:
    small = {**BROKEN, "score": 1.0}
    state = taken(
        [
            event("COMPARISON-TEST 1/3", item="a", base=CLEAN, trained=CLEAN, set="heldout"),
            event("COMPARISON-TEST 2/3", item="b", base=small, trained=CLEAN, set="heldout"),
            event("COMPARISON-TEST 3/3", item="c", base=CLEAN, trained=BROKEN, set="heldout"),
        ]
    )
    assert [comparison.item for comparison in state.by_change] == ["c", "b", "a"]


def test_held_out_prompts_come_before_benign_ones_however_much_those_changed() -> None:
    state = taken(
        [
            event("COMPARISON-TEST 1/2", item="a", base=BROKEN, trained=CLEAN, set="benign"),
            event("COMPARISON-TEST 2/2", item="b", base=CLEAN, trained=CLEAN, set="heldout"),
        ]
    )
    assert [comparison.item for comparison in state.by_change] == ["b", "a"]


def test_without_a_verdict_nothing_got_better_or_worse() -> None:
    unknown = {**CLEAN, "flagged": None, "score": None}
    state = taken(
        [
            event("COMPARISON-TEST 1/3", item="a", base=BROKEN, trained=unknown, set="heldout"),
            event("COMPARISON-TEST 2/3", item="b", base=unknown, trained=BROKEN, set="heldout"),
            event("COMPARISON-TEST 3/3", item="c", base=CLEAN, trained=CLEAN, set="heldout"),
        ]
    )
    assert [comparison.rise for comparison in state.comparisons] == [0.0, 0.0, 0.0]
    assert [comparison.item for comparison in state.ordered(Order.WORSE)] == ["a", "b", "c"]


def test_of_equal_scores_the_one_whose_probabilities_moved_more_comes_first() -> None:
    moved = {**CLEAN, "principles": {**CLEAN["principles"], "fairness": 0.45}}
    state = taken(
        [
            event("COMPARISON-TEST 1/3", item="a", base=CLEAN, trained=CLEAN, set="heldout"),
            event("COMPARISON-TEST 2/3", item="b", base=moved, trained=CLEAN, set="heldout"),
            event("COMPARISON-TEST 3/3", item="c", base=CLEAN, trained=moved, set="heldout"),
        ]
    )
    assert [comparison.item for comparison in state.by_change] == ["b", "c", "a"]
    assert [comparison.item for comparison in state.ordered(Order.WORSE)] == ["c", "a", "b"]


def test_a_second_training_goes_on_where_the_first_ended() -> None:
    state = RunState()
    for number, step in enumerate([1, 2, 3, 1, 2]):
        state.apply(event(f"EPOCH-1-BATCH-{step}", loss=1.0, step=step, steps=3), number)
    assert state.loss.steps == (1.0, 5.0)
    assert state.steps == 6


def test_steps_done_again_after_a_resume_count_once() -> None:
    state = RunState()
    for number, step in enumerate([1, 2, 3, 2, 3, 4]):
        state.apply(event(f"EPOCH-1-BATCH-{step}", loss=1.0, step=step, steps=4), number)
    assert state.loss.count == 4


def test_a_sample_of_a_step_is_no_second_step() -> None:
    state = taken(
        [
            event("EPOCH-1-BATCH-1", loss=1.0, step=1, steps=2),
            event("EPOCH-1-BATCH-1", texts={"sample": "a"}, step=1, sample=CLEAN),
            event("EPOCH-1-BATCH-2", loss=0.5, step=2, steps=2),
        ]
    )
    assert state.loss.steps == (1.0, 2.0)
    assert (state.sample, state.sample_step) == (1, 1)


def test_a_run_that_goes_on_after_an_error_runs_again() -> None:
    state = taken([event("RUN-START", config={}), event("ERROR"), event("RUN-RESUMED")])
    assert state.status == "running"
    assert state.problem == ""
    assert taken([event("RUN-START", config={}), event("ERROR")]).status == "failed"


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
_STAGES = st.sampled_from(
    [
        "RUN-START",
        "STAGE-START",
        "PROGRESS",
        "STAGE-END",
        "EPOCH-1-BATCH-2",
        "EPOCH-x",
        "EPOCH-1-COMPLETE",
        "COMPARISON-TEST",
        "SIDE-BY-SIDE-DIFF",
        "TRAINING-PAIR-CREATED",
        "COMPARISON-SUMMARY",
        "RUN-COMPLETE",
        "EVAL-DECISION",
        "RUN-PAUSED",
        "RUN-CONTINUED",
        "ERROR",
        "ODD",
    ]
)
_KEYS = st.sampled_from(
    [
        "name",
        "total",
        "done",
        "rate",
        "seconds",
        "config",
        "model",
        "loss",
        "valid",
        "step",
        "steps",
        "sample",
        "base",
        "trained",
        "set",
        "changes",
        "words_removed",
        "from",
        "to",
        "kept",
        "result",
        "summary",
        "flagged",
        "score",
    ]
)


@given(st.lists(st.tuples(_STAGES, st.dictionaries(_KEYS, _JSON, max_size=6), st.floats(0, 1e10)), max_size=8))
def test_a_journal_from_elsewhere_may_hold_anything(rows: list[tuple[str, dict[str, Any], float]]) -> None:
    state = taken([Record(0, time, stage, 1, "x", item="a", data=data) for stage, data, time in rows])
    assert state.progress.left is None or state.progress.left >= 0
    assert state.by_change is not None


def test_recorder_and_engine_speak_of_the_same_stages(tmp_path: Path) -> None:
    from engine.events.registry import find

    recorder = Recorder(tmp_path / "run", train=2, heldout=2, steps=2)
    assert all(find(event.stage) for event in read(recorder.all()))


def test_each_handler_is_named_as_an_event() -> None:
    names = {cls.__name__ for cls in registry.EVENTS}
    assert not set(state_module._HANDLERS) - names
