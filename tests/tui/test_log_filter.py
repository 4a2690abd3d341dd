"""A prompt's story, the stages that are shown, and jumps to violations, kept pairs and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from recorded import Recorder
from test_app import settle, text_of, until

from engine.worker import WorkerStatus
from tui.app import RedraftApp
from tui.services.log_filter import GROUPS, TARGETS, LogFilter, Target
from tui.services.log_search import Filter, Scan
from tui.services.session import Session

pytestmark = pytest.mark.usefixtures("own_home")

SIZE = (120, 40)


def shown_stages(app: RedraftApp) -> list[str]:
    view = app.run_screen.log_box.view
    return [view.store.event(number).stage for number in view.viewport.shown]


async def test_enter_on_a_prompt_shows_its_story_and_escape_all_records(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        view = app.run_screen.log_box.view
        total = len(view.viewport.shown)
        await pilot.press("5", "down", "down", "enter")
        await settle(pilot)
        assert app.focused is view
        stages = shown_stages(app)
        assert stages[0] == "TRAINING-EXAMPLE 3/20"
        assert stages[-1] == "TRAINING-PAIR-CREATED"
        assert {"INITIAL-GENERATION", "INITIAL-EVALUATION", "CRITIQUE-GENERATION"} <= set(stages)
        assert len({view.store.event(number).item for number in view.viewport.shown}) == 1
        assert " P " in text_of(app).splitlines()[1]
        await pilot.press("escape")
        assert len(view.viewport.shown) == total


async def test_enter_on_a_record_shows_the_story_of_its_prompt_and_enter_again_all(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        view = app.run_screen.log_box.view
        total = len(view.viewport.shown)
        await pilot.press("slash", *"training-pair", "enter")
        await settle(pilot)
        marked = view.marked
        assert marked is not None
        await pilot.press("enter")
        await settle(pilot)
        assert view.marked == marked
        assert view.filter.item == view.store.event(marked).item
        assert shown_stages(app).count("TRAINING-PAIR-CREATED") == 1
        await pilot.press("enter")
        await settle(pilot)
        assert len(view.viewport.shown) == total
        assert view.marked == marked


async def test_a_story_grows_while_the_run_continues(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    recorder.start()
    recorder.drafts(until=3)
    app = RedraftApp(recorder.folder, host=RecordingHost(recorder.folder, WorkerStatus.RUNNING))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("5", "enter")
        await settle(pilot)
        before = len(shown_stages(app))
        recorder("REVISION-EVALUATION", 2, "score 0.0", item=recorder.prompts[0].id, texts={"reasoning": "later"})
        recorder("REVISION-EVALUATION", 2, "score 0.0", item=recorder.prompts[1].id, texts={"reasoning": "other"})
        await settle(pilot)
        assert len(shown_stages(app)) == before + 1
        recorder.writer.close()


async def test_stages_are_chosen_from_a_list_and_combine_with_words(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("S")
        await settle(pilot)
        await pilot.press(*["down"] * (1 + list(GROUPS).index("pairs")), "enter")
        await settle(pilot)
        assert shown_stages(app) == ["TRAINING-PAIR-CREATED"] * 20
        assert " S pairs " in text_of(app)
        await pilot.press("slash", *"dropped", "enter", "h")
        await settle(pilot)
        assert shown_stages(app) == ["TRAINING-PAIR-CREATED"] * 4
        assert " h “dropped” " in text_of(app)
        await pilot.press("escape")
        assert len(shown_stages(app)) > 100


async def test_a_principle_is_chosen_from_those_that_the_judge_named(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("R")
        await settle(pilot)
        assert "autonomy" in text_of(app)
        await pilot.press(*["down"] * (1 + list(app.session.state.principles).index("fairness")), "enter")
        await settle(pilot)
        assert shown_stages(app) == ["INITIAL-EVALUATION"] * 20
        assert " R fairness " in text_of(app)
        await pilot.press("escape")
        assert len(shown_stages(app)) > 100


async def test_no_principle_can_be_chosen_before_a_verdict(tmp_path: Path) -> None:
    app = RedraftApp(host=RecordingHost(), runs=tmp_path)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("R")
        await until(pilot, "No text was judged yet.")


async def test_keys_jump_to_violations_kept_pairs_and_errors(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        view = app.run_screen.log_box.view

        async def jumped(key: str) -> tuple[int, str]:
            await pilot.press(key)
            await settle(pilot)
            assert view.marked is not None
            return view.marked, view.store.event(view.marked).stage

        await pilot.press("home")
        first, stage = await jumped("full_stop")
        assert stage == "INITIAL-EVALUATION"
        second, _ = await jumped("full_stop")
        assert second > first
        assert (await jumped("comma"))[0] == first
        pair, stage = await jumped("right_parenthesis")
        assert stage == "TRAINING-PAIR-CREATED"
        assert view.store.event(pair).data["kept"] is True
        await pilot.press("exclamation_mark")
        await until(pilot, "no error at this verbosity")


def test_a_jump_stays_inside_the_filter(finished: Path) -> None:
    session = Session()
    session.open(finished)
    while session.poll(1.0):
        pass
    store = session.store
    item = store.event(next(n for n in range(len(store)) if store.event(n).stage == "TRAINING-PAIR-CREATED")).item
    target = TARGETS["pair"]
    inside = Target(target.name, target.pattern, target.matches, LogFilter(item=item))
    hits = Scan(store, inside, 2, 0).run(5.0, limit=100)
    assert [store.event(number).item for number in hits] == [item]
    assert len(Scan(store, target, 2, 0).run(5.0, limit=100)) == 16
    session.close()


@pytest.mark.parametrize("group", GROUPS)
def test_a_filter_by_stages_finds_what_a_look_at_every_record_finds(finished: Path, group: str) -> None:
    session = Session()
    session.open(finished)
    while session.poll(1.0):
        pass
    store = session.store
    found = Filter(store, LogFilter(group=group), 3, 50)
    while not found.done:
        found.run(1.0)
    expected = [n for n in range(len(store)) if store.event(n).stage.startswith(GROUPS[group])]
    assert [found[place] for place in range(len(found))] == expected
    session.close()


@pytest.mark.parametrize(("principle", "expected"), [("autonomy_respect", 80), ("fairness", 20), ('no "such"', 0)])
def test_a_filter_by_principle_finds_verdicts_and_critiques_on_it(
    finished: Path, principle: str, expected: int
) -> None:
    session = Session()
    session.open(finished)
    while session.poll(1.0):
        pass
    found = Filter(session.store, LogFilter(principle=principle), 3, 50)
    while not found.done:
        found.run(1.0)
    # Of autonomy: 20 drafts' verdicts, their 20 critiques, and one answer of each of 40 compared prompts.
    assert len(found) == expected
    session.close()


def test_every_stage_belongs_to_a_group() -> None:
    from engine.events.registry import EVENTS

    names = [cls.STAGE for cls in EVENTS if cls.STAGE]
    prefixes = tuple(prefix for group in GROUPS.values() for prefix in group)
    assert [name for name in names if not name.startswith(prefixes) and name != "PROGRESS"] == []
