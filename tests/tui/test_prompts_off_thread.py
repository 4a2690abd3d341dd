"""Prompt files are read, and their duplicates left out, beside the app's thread."""

from __future__ import annotations

import dataclasses
import gc
import threading
import warnings
from pathlib import Path

import pytest

from engine.prompts import duplicates
from engine.settings import RunConfig, preset
from tui.app import RedraftApp
from tui.services import prompt_lists
from tui.services.prompt_lists import listed

pytestmark = pytest.mark.usefixtures("own_home")


def config(tmp_path: Path, rows: int) -> RunConfig:
    path = tmp_path / "many.txt"
    path.write_text("".join(f"What is the {number}th thing to know?\n" for number in range(rows)))
    return dataclasses.replace(preset("demo"), train_prompts=str(path), n_train=rows)


def test_a_prompt_file_is_read_in_a_thread_and_the_border_says_how_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, float]] = []
    monkeypatch.setattr(duplicates, "_WATCHED", 10)
    prompts = listed(config(tmp_path, 40), lambda what, share: found.append((what.partition(" ")[0], share)))
    assert sum(one.set == "train" for one in prompts) == 40
    assert found == [("reading", 0.0), *(("comparing", share) for share in (0.0, 0.125, 0.25, 0.375))]


async def test_the_pane_shows_progress_until_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, threads = threading.Event(), []

    def slow(config: RunConfig, watch: prompt_lists.Watch) -> list[prompt_lists.Listed]:
        threads.append(threading.current_thread())
        watch("comparing /some/where/many.txt", 0.47)
        go.wait(10)
        return listed(config, watch)

    app = RedraftApp(runs=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        pane = app.run_screen.prompts
        await app.workers.wait_for_complete()
        before = len(pane._shown)
        monkeypatch.setattr("tui.widgets.prompts.listed", slow)
        pane.configure(config(tmp_path, 7))
        await pilot.pause(0.4)
        assert "comparing 47 %" in str(pane.border_title)
        assert "many.txt" in str(pane.border_subtitle)
        assert len(pane._shown) == before
        go.set()
        await app.workers.wait_for_complete()
        assert "train 7" in str(pane.border_title)
    assert threading.main_thread() not in threads


async def test_prompts_that_are_no_longer_wanted_are_not_read_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go, ended = threading.Event(), threading.Event(), []

    def slow(config: RunConfig, watch: prompt_lists.Watch) -> list[prompt_lists.Listed]:
        if config.n_train != 5:
            return listed(config, watch)
        began.set()
        go.wait(10)
        try:
            watch("comparing it", 0.5)
        except Exception as error:
            ended.append(type(error).__name__)
            raise
        return []

    app = RedraftApp(runs=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        monkeypatch.setattr("tui.widgets.prompts.listed", slow)
        app.run_screen.prompts.configure(config(tmp_path, 5))
        while not began.is_set():
            await pilot.pause(0.01)
        app.run_screen.prompts.configure(config(tmp_path, 3))
        go.set()
        await pilot.pause(0.1)
        await app.workers.wait_for_complete()
        assert "train 3" in str(app.run_screen.prompts.border_title)
    assert ended == ["_Superseded"]


async def test_a_command_that_is_replaced_at_once_leaves_no_coroutine_behind(tmp_path: Path) -> None:
    app = RedraftApp(runs=tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with app.run_test(size=(120, 40)) as pilot:
            for _ in range(3):
                app.run_screen.commands.show_judges()
                app.run_screen.commands.read_blind()
            await pilot.pause()
            gc.collect()
    assert not [str(one.message) for one in caught if "never awaited" in str(one.message)]
