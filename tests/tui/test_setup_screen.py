"""The form for the next run: lists with memory, accuracy and previews; what is known of the run before it starts."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_hub import Hub, served, use
from driving import RecordingHost
from recorded import run
from test_app import text_of, until
from textual.pilot import Pilot
from textual.widgets import Input

from engine.models.hub import memory_estimate
from engine.runs.expected_time import expected_time, tokens
from engine.settings import preset, with_profile
from tui.app import RedraftApp
from tui.screens.pick_file import PickFile
from tui.screens.setup import Setup
from tui.services.run_plan import plan_of, proposal

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the gigabytes that are free."""

    def set_free(gigabytes: float) -> None:
        monkeypatch.setattr(memory_estimate, "free", lambda device="cpu": int(gigabytes * 1e9))

    set_free(16)
    return set_free


async def until_screen(pilot: Pilot[None], kind: type) -> None:
    for _ in range(50):
        if isinstance(pilot.app.screen, kind):
            return
        await pilot.pause(0.1)
    raise AssertionError(pilot.app.screen)


def value_of(app: RedraftApp, name: str) -> str:
    return app.screen.query_one(f"#set-{name}", Input).value


async def test_lists_offer_models_that_fit_and_judges_with_their_accuracy(tmp_path: Path) -> None:
    app = RedraftApp(host=RecordingHost(), runs=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "Proposed: embedded.")
        await until(pilot, "Embedded fits: single would need")
        await pilot.press("c")
        await until(pilot, "Memory 2.9 of 16 GB: fits · time is known after a first run")
        assert "detects a change of 0.08 of the score" in text_of(app)
        await pilot.press("tab", "down")
        await until(pilot, "proposed")
        await pilot.press("down", "enter")
        await until(pilot, "does not fit")  # single, in 16 GB
        assert value_of(app, "generator") == "qwen2-1.5b-instruct"
        await pilot.press("tab", "down")
        await until(pilot, "135 M")
        picture = text_of(app)
        assert "does not fit  to fetch" in picture
        assert "fits          here" in picture
        await pilot.press("home", "down", "enter")
        await until_screen(pilot, Setup)
        assert value_of(app, "generator") == "smollm2-360m-instruct"
        await pilot.press("tab", "down")
        await until(pilot, "AUROC .9")
        await pilot.press("home", "down", "enter")
        await until_screen(pilot, Setup)
        assert value_of(app, "judge") == "rules"
        await pilot.press("down")
        await until_screen(pilot, Setup.__mro__[1])
        await pilot.press("escape", "tab", "down")
        assert app.focused is app.screen.query_one("#set-endpoint_model")  # no list: the next field


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_every_hint_and_preset_fits_into_its_line(tmp_path: Path, size: tuple[int, int]) -> None:
    app = RedraftApp(host=RecordingHost(), runs=tmp_path)
    async with app.run_test(size=size) as pilot:
        await pilot.press("c")
        await until_screen(pilot, Setup)
        await pilot.pause(0.2)
        fields = [*app.screen.query(Input)]
        assert len(fields) == 12
        assert [one.placeholder for one in fields if len(one.placeholder) > one.content_size.width] == []
        assert "…" not in text_of(app).partition("Set up the next run")[2].partition("Profile")[0]


async def test_files_are_chosen_with_a_preview_and_checked_as_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    (folder / "more").mkdir(parents=True)
    (folder / "prompts.csv").write_text("prompt\nWhat is the capital of Peru?\nWhy is the sky blue?\n")
    (folder / "bad.csv").write_text("name,value\na,b\n")
    (folder / "picture.png").write_bytes(b"")
    monkeypatch.chdir(folder)
    app = RedraftApp(host=RecordingHost(), runs=tmp_path / "runs")
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("c")
        await until_screen(pilot, Setup)
        app.screen.query_one("#set-train_prompts").focus()
        await pilot.press("f4")
        await until_screen(pilot, PickFile)
        await until(pilot, "more/")
        assert "picture.png" not in text_of(app)
        await pilot.press("end")
        await until(pilot, "2 prompts")
        assert "Why is the sky blue?" in text_of(app)
        await pilot.resize_terminal(80, 24)
        await pilot.press("up")
        await until(pilot, "no column is named")
        await pilot.press("home", "down", "down", "enter")
        await until(pilot, "../")
        await pilot.press("down", "enter", "end", "enter")
        await until(pilot, "2 prompts")
        assert value_of(app, "train_prompts").endswith("prompts.csv")
        app.screen.query_one("#set-train_prompts", Input).value = str(folder / "bad.csv")
        await until(pilot, "no column is named")
        app.screen.query_one("#set-constitution", Input).value = str(folder / "bad.csv")
        await pilot.pause(0.4)
        app.screen.query_one("#set-train_prompts", Input).value = str(folder / "none.csv")
        await until(pilot, "No such file")
        app.screen.query_one("#set-train_prompts", Input).value = "~nobody-has-this-name/prompts.csv"
        await until(pilot, "there is no user of this name")


async def test_a_dataset_of_the_hub_is_asked_for_when_it_is_accepted_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    app = RedraftApp(host=RecordingHost(), runs=tmp_path / "runs")
    with served() as address:
        use(monkeypatch, tmp_path, address)
        Hub.asked.clear()
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("c")
            await until_screen(pilot, Setup)
            field = app.screen.query_one("#set-train_prompts", Input)
            field.value = "hf:someone/ques:"
            await until(pilot, "not the name of a dataset")
            field.value = "hf:someone/questions:train[:10]"
            await until(pilot, "A dataset of the hub: read when it is accepted")
            field.focus()
            await pilot.press("f4")
            await until_screen(pilot, PickFile)
            await pilot.press("escape")
            await until_screen(pilot, Setup)
            assert not Hub.asked
            field.value = "hf:someone/questions:validation"
            await pilot.press("enter")
            await until(pilot, "Should be one of")
            field.value = "hf:someone/questions:train[:10]"
            await pilot.press("enter")
            await until(pilot, "train 10")
            assert Hub.asked
            assert app.run_screen.commands._control.config.train_prompts == "hf:someone/questions:train[:10]"


def test_the_time_comes_from_the_newest_finished_run_of_the_same_models(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert plan_of(preset("demo"), runs).time is None
    folder = run(runs / "demo-1")
    report = json.loads((folder / "report.json").read_text())
    found = expected_time(preset("demo"), runs)
    assert found is not None
    assert (found.seconds, found.run, found.same) == (report["seconds"], "demo-1", True)
    larger = expected_time(preset("thorough"), runs)
    assert larger is not None
    assert not larger.same
    assert larger.seconds == pytest.approx(found.seconds * tokens(preset("thorough")) / tokens(preset("demo")))
    assert expected_time(dataclasses.replace(preset("demo"), judge="rules"), runs) is None
    assert expected_time(with_profile(preset("demo"), "single"), runs) is None
    (folder / "report.json").write_text("{}")
    assert expected_time(preset("demo"), runs) is None


def test_a_profile_is_proposed_before_the_first_run_only(tmp_path: Path, memory: Callable[[float], None]) -> None:
    assert proposal(tmp_path)[0] == "embedded"
    memory(64)
    name, reason = proposal(tmp_path)
    assert name == "single"
    assert re.fullmatch(r"single fits: it needs up to \d\d GB of 64 GB free\.", reason)
    run(tmp_path / "demo-1")
    assert proposal(tmp_path) == ("", "")
