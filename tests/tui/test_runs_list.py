"""The list of runs: outcome, scores, curve; rename, note, delete to the trash, filter, resume."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from recorded import Recorder, run
from test_app import settle, text_of, until

from engine.errors import InputError
from engine.runs import store
from engine.worker import ResumeRun
from tui.app import RedraftApp
from tui.screens.runs import Runs

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "runs"
    run(folder / "demo-1")
    recorder = Recorder(folder / "demo-2")
    recorder.start()
    recorder.drafts(until=2)
    recorder.writer.close()
    return folder


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_each_run_shows_its_outcome_and_its_score(runs: Path, size: tuple[int, int]) -> None:
    app = RedraftApp(host=RecordingHost(), runs=runs)
    async with app.run_test(size=size) as pilot:
        await pilot.press("l")
        await until(pilot, "not confirmed")
        picture = text_of(app)
        assert "1.80 → 0.20" in picture
        assert "stopped" in picture
        if size[0] >= 120:
            await until(pilot, "▁")


async def test_a_run_is_renamed_noted_filtered_and_deleted(runs: Path) -> None:
    app = RedraftApp(host=RecordingHost(), runs=runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("l")
        await until(pilot, "demo-1")
        await pilot.press("slash", *"confirmed", "enter")
        await settle(pilot)
        assert "demo-2" not in text_of(app)
        await pilot.press("r")
        await settle(pilot)
        app.screen.query_one("#runs-field").value = "the good one"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await settle(pilot)
        assert "not a name for a run" in text_of(app)
        await pilot.press("r")
        await settle(pilot)
        app.screen.query_one("#runs-field").value = "good"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, "✓ good")
        assert (runs / "good" / "journal.jsonl").exists()
        await pilot.press("n", *"keep this", "enter")
        await until(pilot, "“keep this”")
        assert store.inspect(runs / "good").remark == "keep this"
        await pilot.press("d")
        await settle(pilot)
        assert "Delete good?" in text_of(app)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert not (runs / "good").exists()
        assert (runs.parent / "trash" / "good" / "journal.jsonl").exists()
        assert isinstance(app.screen, Runs)
        await pilot.press("escape")
        assert app.screen is app.run_screen


async def test_a_stopped_run_is_resumed_from_the_list(runs: Path) -> None:
    host = RecordingHost()
    app = RedraftApp(host=host, runs=runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("l")
        await until(pilot, "stopped")
        await pilot.press("slash", *"stopped", "enter", "u")
        await settle(pilot)
        assert host.commands == [ResumeRun(runs / "demo-2")]
        assert app.session.folder == runs / "demo-2"


def test_an_active_run_is_neither_renamed_nor_deleted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "data" / "runs" / "live")
    recorder.start()
    for change in (lambda: store.rename(recorder.folder, "other"), lambda: store.to_trash(recorder.folder)):
        with pytest.raises(InputError, match="the run is active"):
            change()
    recorder.writer.close()
    assert store.rename(recorder.folder, "other") == recorder.folder.with_name("other")


@pytest.mark.parametrize("name", ["", "last", "../x", "a/b", ".hidden", "x" * 200, "a b"])
def test_names_that_are_no_folder_of_a_run_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a name"):
        store.rename(tmp_path / "demo-1", name)


def test_the_loss_curve_is_read_without_decoding_the_records(finished: Path) -> None:
    curve = store.loss_curve(finished)
    assert len(curve) == 60
    assert curve[0] > curve[-1] > 1
    assert store.loss_curve(finished / "nothing") == []
