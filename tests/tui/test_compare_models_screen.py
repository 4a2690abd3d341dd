"""The command palette's "Compare two models": two fields, checked, and a run of their comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from textual.widgets import Input

from engine.worker import StartRun, WorkerStatus
from tui.app import RedraftApp
from tui.screens.compare_models import CompareModels

pytestmark = pytest.mark.usefixtures("own_home")


async def test_two_names_start_a_comparison_and_a_wrong_one_is_said(finished: Path) -> None:
    host = RecordingHost(finished)
    app = RedraftApp(finished, host=host, runs=finished.parent)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.1)
        assert any(command.title == "Compare two models" for command in app.get_system_commands(app.screen))
        app.compare_models()
        await pilot.pause(0.1)
        screen = app.screen
        assert isinstance(screen, CompareModels)
        first, second = screen.query(Input)
        first.value, second.value = "gpt2", "unheard-of"
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert app.screen is screen
        assert "no model and no run" in str(screen.query_one(".box").border_subtitle)
        second.value = "smollm2-135m-instruct"
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert app.screen is app.run_screen
    (started,) = [command for command in host.commands if isinstance(command, StartRun)]
    assert (started.config.generator, started.config.against) == ("gpt2", "smollm2-135m-instruct")
    assert started.config.preset == "compare"


async def test_during_a_run_nothing_is_asked(finished: Path) -> None:
    app = RedraftApp(finished, host=RecordingHost(finished, WorkerStatus.RUNNING), runs=finished.parent)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.1)
        app.compare_models()
        await pilot.pause(0.1)
        assert app.screen is app.run_screen
