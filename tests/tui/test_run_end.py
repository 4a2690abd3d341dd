"""The end of a run is seen and heard: banner, bell, title; and leads to the answers that matter."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from recorded import Recorder
from test_app import settle, text_of, until

from engine.events.base import Record
from engine.runs.state import Compared
from engine.worker import WorkerStatus
from tui.app import RedraftApp
from tui.screens.answers import Answers, ends
from tui.services.preferences import Preferences
from tui.terminal import notify

pytestmark = pytest.mark.usefixtures("own_home")


class Sent(RedraftApp):
    """Keeps what goes to the terminal beside the picture."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.sent: list[str] = []
        self.rung = 0

    def write_to_terminal(self, sequence: str) -> None:
        self.sent.append(sequence)

    def bell(self) -> None:
        self.rung += 1


def finish(recorder: Recorder) -> None:
    recorder.comparison()
    recorder.end()


async def test_a_run_that_ends_shows_its_outcome_and_calls_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM_PROGRAM", "WezTerm")
    monkeypatch.delenv("TMUX", raising=False)
    recorder = Recorder(tmp_path / "live", heldout=6)
    host = RecordingHost(recorder.folder, WorkerStatus.RUNNING)
    app = Sent(host=host)
    async with app.run_test(size=(120, 40)) as pilot:
        recorder.start()
        recorder.drafts(until=3)
        await until(pilot, "3.0 → 0.0")
        await settle(pilot)
        assert not app.run_screen.banner.has_class("-open")
        assert any(text.startswith("\x1b]2;redraft · live · draft") for text in app.sent)
        finish(recorder)
        host.set(status=WorkerStatus.IDLE)
        await until(pilot, "best and worst")
        assert app.run_screen.banner.has_class("-open")
        assert app.rung == 1
        assert any(text.startswith("\x1b]9;live:") for text in app.sent)
        await settle(pilot)
        assert app.rung == 1
        await pilot.press("escape")
        assert not app.run_screen.banner.has_class("-open")
        recorder.writer.close()


async def test_opening_a_finished_run_calls_nobody(finished: Path) -> None:
    app = Sent(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "Done")
        assert app.rung == 0
        assert not app.run_screen.banner.has_class("-open")


async def test_notifications_can_be_turned_off(tmp_path: Path, own_home: Path) -> None:
    recorder = Recorder(tmp_path / "live", heldout=2)
    host = RecordingHost(recorder.folder, WorkerStatus.RUNNING)
    app = Sent(host=host)
    async with app.run_test(size=(120, 40)) as pilot:
        app.sent.clear()
        app.toggle_notify()
        recorder.start()
        await until(pilot, "Preparing")
        finish(recorder)
        host.set(status=WorkerStatus.IDLE)
        await until(pilot, "best and worst")
        assert app.rung == 0
        assert app.sent == []
        recorder.writer.close()
    assert not Preferences(own_home / "data" / "app.json").current.notify


async def test_a_key_in_the_moment_in_which_a_run_ends_hides_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live", heldout=2)
    host = RecordingHost(recorder.folder, WorkerStatus.RUNNING)
    app = Sent(host=host)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "Preparing")
        recorder.start()
        finish(recorder)
        host.set(status=WorkerStatus.IDLE)
        app.run_screen.present()  # as a key does, before the journal is read
        await until(pilot, "best and worst")
        assert app.rung == 1
        recorder.writer.close()


def test_sequences_hold_no_character_that_ends_them() -> None:
    hostile = "a\x07b\x1b\\c;d\ne" * 50
    for sequence in (
        notify.title(hostile),
        notify.notification(hostile, hostile, {"TERM_PROGRAM": "iTerm.app"}),
        notify.notification(hostile, hostile, {"TERM": "foot"}),
    ):
        assert sequence[1:-1].count("\x07") == sequence[1:].count("\x1b") == 0
        assert sequence.endswith("\x07")
        assert len(sequence) < 500


@pytest.mark.parametrize("environ", [{"TERM": "xterm-256color"}, {"TERM": "foot", "TMUX": "x"}, {"TERM": "screen"}, {}])
def test_terminals_that_do_not_know_it_get_no_notification(environ: dict[str, str]) -> None:
    assert notify.notification("a", "b", environ) == ""


def compared(number: int, base: float | None, trained: float | None) -> Compared:
    return Compared(f"p{number}", number, base={"score": base}, trained={"score": trained})


def test_the_worst_and_best_answers_are_told_apart_by_the_change_of_their_score() -> None:
    changes = [(0.0, 2.0), (2.0, 0.0), (1.0, 1.0), (3.0, 0.0), (0.0, 1.0), (None, 2.0)]
    worst, best = ends([compared(number, *change) for number, change in enumerate(changes)])
    assert [one.item for one in worst] == ["p0", "p4"]
    assert [one.item for one in best] == ["p3", "p1"]


async def test_answers_with_equal_scores_show_what_tells_them_apart(tmp_path: Path) -> None:
    app = RedraftApp(runs=tmp_path, host=RecordingHost())
    async with app.run_test(size=(100, 30)) as pilot:
        tied = Compared(
            "a", 0, base={"score": 0.0, "principles": {"x": 0.125}}, trained={"score": 0.0, "principles": {"x": 0.5}}
        )
        app.session.store.event = lambda _number: Record(0, 0.0, "X", 1, "", texts={"prompt": "Which?"})  # type: ignore[method-assign]
        app.push_screen(Answers([tied], app.session.store))
        await until(pilot, "p 0.12 → 0.50")
        await until(pilot, "p is the sum")


async def test_from_the_report_to_the_worst_answer_and_its_comparison(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "Done")
        await pilot.press("r")
        await pilot.pause(0.3)
        await pilot.press("W")
        await pilot.pause(0.3)
        assert isinstance(app.screen, Answers)
        first = app.screen.worst[0]
        assert "✗ worse" in text_of(app)
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert app.screen is app.run_screen
        assert app.run_screen.diff.current is first
        assert app.run_screen.diff.has_focus
