"""Keys and clicks that come twice, before the window that the first one closed is gone."""

from __future__ import annotations

import ast
import asyncio
from functools import partial
from pathlib import Path

import pytest
from driving import RecordingHost
from textual.css.query import NoMatches
from textual.events import Key, MouseDown, MouseUp
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label
from textual.worker import WorkerFailed, WorkerState

from engine.worker import WorkerStatus
from tui.app import RedraftApp
from tui.screens.dialog import ClosesOnce
from tui.screens.dialogs import Choice
from tui.terminal.shutdown import Ending

pytestmark = pytest.mark.usefixtures("own_home")

TUI = Path(__file__).parents[2] / "tui"


async def press_at_once(pilot: Pilot[None], *keys: str) -> None:
    """Press keys without waiting for what each does, as key repeat over a lagging line brings them."""
    for key in keys:
        pilot.app.post_message(Key(key, None))
    await pilot.pause(0.2)


async def click_at_once(pilot: Pilot[None], where: Offset, times: int) -> None:
    """Click without waiting for what each click does."""
    for _ in range(times):
        for kind in (MouseDown, MouseUp):
            pilot.app.post_message(kind(None, where.x, where.y, 0, 0, 1, False, False, False, where.x, where.y))
    await pilot.pause(0.3)


def app_with(finished: Path, busy: bool = False) -> RedraftApp:
    status = WorkerStatus.RUNNING if busy else WorkerStatus.IDLE
    return RedraftApp(finished, host=RecordingHost(finished, status), runs=finished.parent)


@pytest.mark.parametrize("opener", ["l", "c", "t", "question_mark", "r", "a", "s", "ctrl+q", "ctrl+p"])
@pytest.mark.parametrize("closer", ["enter", "escape", "q"])
async def test_closing_a_window_twice_is_no_error(finished: Path, opener: str, closer: str) -> None:
    app = app_with(finished, busy=opener in ("s", "ctrl+q"))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        await pilot.press(opener)
        await pilot.pause(0.4)
        assert app.screen is not app.run_screen
        await press_at_once(pilot, *[closer] * 4)
        await pilot.press("escape", "escape")
        await pilot.pause(0.2)
        assert app.is_running


@pytest.mark.parametrize("opener", ["l", "t", "ctrl+p"])
async def test_quick_clicks_close_a_window_once(finished: Path, opener: str) -> None:
    app = app_with(finished)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        await pilot.press(opener)
        await pilot.pause(0.4)
        where = Offset(1, 38)
        if opener != "ctrl+p":
            name = "#run-rows" if opener == "l" else "#answers"
            where = app.screen.query_one(name).region.offset + Offset(5, 0)
        await click_at_once(pilot, where, 4)
        assert app.screen is app.run_screen


@pytest.mark.parametrize("opener", ["l", "c", "t", "question_mark", "r", "a"])
async def test_a_key_that_comes_twice_opens_one_window(finished: Path, opener: str) -> None:
    app = app_with(finished)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        await press_at_once(pilot, *[opener] * 3)
        await pilot.pause(0.4)
        assert len(app.screen_stack) == 2


async def test_a_window_that_opens_over_the_notice_of_a_small_terminal_leaves_no_notice_behind(finished: Path) -> None:
    app = app_with(finished)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        await pilot.resize_terminal(20, 5)
        await pilot.pause(0.2)
        app.push_screen(Choice("Above", "", [(True, "Yes")]))
        await pilot.pause(0.2)
        await pilot.resize_terminal(120, 40)
        await pilot.pause(0.3)
        await pilot.press("escape")
        await pilot.pause(0.3)
        assert app.screen is app.run_screen


def test_every_window_closes_through_the_base_class_that_closes_once() -> None:
    bases = {
        f"{path.name}: {node.name}": [ast.unparse(base) for base in node.bases]
        for path in TUI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    modal = {name: own for name, own in bases.items() if any(ModalScreen.__name__ in base for base in own)}
    assert modal
    assert [name for name, own in modal.items() if own[0] != ClosesOnce.__name__] == []


def test_no_event_handler_calls_its_base_class_since_textual_calls_every_handler_itself() -> None:
    doubled = []
    for path in TUI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(("on_", "_on_")):
                if node.name == "on_event":  # not a handler: it calls the handlers
                    continue
                calls = [ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
                doubled += [f"{path.name}: {node.name}" for call in calls if call == f"super().{node.name}"]
    assert doubled == []


async def test_a_window_that_opens_while_the_app_ends_is_no_failure(finished: Path) -> None:
    app = app_with(finished)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.leave(Ending.QUIT)
        app._handle_exception(NoMatches("no VerticalScroll on a window that was never composed"))
    assert app.return_code in (0, None)


async def test_a_worker_whose_widget_or_window_is_gone_may_miss_its_widgets(finished: Path) -> None:
    app = app_with(finished)
    async with app.run_test() as pilot:
        widget, window = Label("gone soon"), Choice("Closed at once", "", [("a", "A")])

        async def look(node: Widget) -> None:
            while node.is_attached and not node._pruning:
                await asyncio.sleep(0.01)
            raise NoMatches("no such widget")

        await app.screen.mount(widget)
        await app.push_screen(window)
        workers = [node.run_worker(partial(look, node)) for node in (widget, window)]
        await pilot.pause()
        await widget.remove()
        window.dismiss(None)
        await pilot.pause(0.2)
        assert [worker.state for worker in workers] == [WorkerState.ERROR] * 2
        assert app.is_running


@pytest.mark.parametrize("owner", ["app", "window", "pane"])
async def test_a_missing_widget_of_a_window_that_is_open_is_a_failure(finished: Path, owner: str) -> None:
    app = app_with(finished)

    async def look() -> None:
        app.run_screen.query_one("#no-such-widget")

    async def run() -> None:
        async with app.run_test() as pilot:
            {"app": app, "window": app.run_screen, "pane": app.run_screen.diff}[owner].run_worker(look)
            await pilot.pause(0.2)

    with pytest.raises(WorkerFailed, match="no-such-widget"):
        await run()
