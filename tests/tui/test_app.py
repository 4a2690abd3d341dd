from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from driving import RecordingHost
from recorded import Recorder
from textual.events import Paste
from textual.pilot import Pilot

from engine.events.base import KEY, SUMMARY
from engine.settings import preset
from engine.worker import Configure, Evaluate, ResumeRun, StartRun, WorkerStatus
from tui.app import RedraftApp
from tui.screens.dialogs import Choice, TooSmall
from tui.screens.help import Help
from tui.screens.report import ReportScreen
from tui.screens.runs import Runs
from tui.screens.setup import Setup
from tui.widgets.evaluate import VerdictView

pytestmark = pytest.mark.usefixtures("own_home")

SIZE = (120, 40)


def text_of(app: RedraftApp) -> str:
    """The picture as plain text, a line each."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause(0.12)


async def until(pilot: Pilot[None], words: str) -> None:
    """Wait until the picture holds these words, on one line or broken by a long path before them."""
    for _ in range(100):
        text = text_of(pilot.app)  # type: ignore[arg-type]
        if words in text or words in " ".join(text.split()):
            return
        await pilot.pause(0.1)
    raise AssertionError(text_of(pilot.app))  # type: ignore[arg-type]


async def test_shows_what_will_come_and_which_key_starts_it() -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        picture = text_of(app)
        assert "start the demo run" in picture
        assert "Prompts" in picture
        assert "Loss" in picture


async def test_one_key_starts_the_run() -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("ctrl+r")
        assert [type(command) for command in host.commands] == [StartRun]


async def test_a_finished_run_shows_log_chart_and_comparison(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        picture = text_of(app)
        assert "RUN-COMPLETE" in picture
        assert "Loss · train 1.34 · valid 1.45" in picture
        assert "1 of 40" in picture
        assert "Here are some safety practices" in picture
        assert "Done" in picture
        chart = "".join(
            row.text
            for row in app.query_one("#loss-plot").render_lines(app.query_one("#loss-plot").region.reset_offset)
        )
        assert any("\u2801" <= character <= "\u28ff" for character in chart)


async def test_verbosity_changes_earlier_records_without_losing_the_place(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        view = app.run_screen.log_box.view
        await pilot.press("home", "pagedown", "pagedown")
        place = view.viewport.top
        assert place is not None
        await pilot.press("3")
        await settle(pilot)
        assert view.viewport.top is not None
        assert view.viewport.top.number == place.number
        assert len(view.viewport.shown) > 300
        await pilot.press("1")
        assert "INITIAL-GENERATION" not in text_of(app)
        await pilot.press("2")
        assert view.viewport.top == place
        assert "INITIAL-GENERATION" in text_of(app)


async def test_verbosity_0_says_that_the_log_is_off(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("0")
        await settle(pilot)
        assert "The log is off." in text_of(app)


async def test_a_live_run_appears_as_it_is_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    host = RecordingHost(recorder.folder, WorkerStatus.RUNNING)
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        recorder.start()
        recorder.drafts(until=6)
        await settle(pilot)
        picture = text_of(app)
        assert " 6/20" in picture
        assert "draft" in picture
        assert "left" in picture
        recorder.writer.close()


async def test_the_comparison_takes_room_only_when_there_is_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    app = RedraftApp(host=RecordingHost(recorder.folder, WorkerStatus.RUNNING))
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        recorder.start()
        await settle(pilot)
        assert not app.run_screen.diff.display
        recorder.comparison()
        await settle(pilot)
        assert app.run_screen.diff.display
        recorder.writer.close()


async def test_pause_becomes_continue(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    recorder.start()
    host = RecordingHost(recorder.folder, WorkerStatus.RUNNING)
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        assert "p Pause" in text_of(app)
        await pilot.press("p")
        assert host.calls[-1] == "pause"
        await settle(pilot)
        assert "p Continue" in text_of(app)
        assert "Paused" in text_of(app)
        await pilot.press("p")
        assert host.calls[-1] == "resume"
    recorder.writer.close()


async def test_stop_asks_first(tmp_path: Path) -> None:
    host = RecordingHost(tmp_path / "live", WorkerStatus.RUNNING)
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert isinstance(app.screen, Choice)
        assert "stop" not in host.calls
        await pilot.press("enter")
        await settle(pilot)
        assert "stop" in host.calls


async def test_quit_asks_while_a_run_goes_on(tmp_path: Path) -> None:
    app = RedraftApp(host=RecordingHost(tmp_path / "live", WorkerStatus.RUNNING))
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("ctrl+q")
        await settle(pilot)
        assert isinstance(app.screen, Choice)
        await pilot.press("escape")
        await settle(pilot)
        assert app.screen is app.run_screen
        assert not app._exit
        await pilot.press("ctrl+q")
        await settle(pilot)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert app._exit


async def test_letters_are_typed_while_the_field_has_the_focus() -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("i")
        await settle(pilot)
        await pilot.press(*"pvs3f?")
        assert app.run_screen.evaluate.field.text == "pvs3f?"
        assert app.screen is app.run_screen
        await pilot.press("enter")
        assert host.commands == [Evaluate("pvs3f?")]
        assert app.run_screen.evaluate.field.text == ""
        await pilot.press("escape")
        await pilot.press("v")
        assert app.run_screen.verbosity == 3


async def test_an_empty_text_is_refused_in_words() -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("i")
        await settle(pilot)
        await pilot.press("space", "enter")
        await settle(pilot)
        assert host.commands == []
        assert "There is no text to judge" in text_of(app)


async def test_a_short_paste_goes_in_once() -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("i")
        await pilot.pause(0.2)
        app.post_message(Paste("hello world"))
        await pilot.pause(0.2)
        await pilot.press("!")
        assert app.run_screen.evaluate.field.text == "hello world!"
        await pilot.press("enter")
        assert host.commands == [Evaluate("hello world!")]


async def test_the_log_grows_at_verbosity_3(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    recorder.start()
    app = RedraftApp(recorder.folder, host=RecordingHost(recorder.folder, WorkerStatus.RUNNING))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await settle(pilot)
        recorder("NOTICE", 1, "a record that came later")
        await settle(pilot)
        assert "a record that came later" in text_of(app)
        recorder.writer.close()


async def test_a_paste_of_a_megabyte_is_held_and_judged_whole() -> None:

    host = RecordingHost()
    app = RedraftApp(host=host)
    text = "Never go out at night. " * 45_000
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("i")
        await settle(pilot)
        app.run_screen.evaluate.field.post_message(Paste(text))
        await settle(pilot)
        assert f"{len(text):,} characters" in text_of(app)
        await pilot.press("enter")
        assert host.commands == [Evaluate(text)]


async def test_a_verdict_stands_under_the_field(tmp_path: Path) -> None:
    from recorded import BROKEN

    recorder = Recorder(tmp_path / "session")
    recorder.folder.joinpath("run.json").write_text('{"kind": "session"}')
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("i")
        await settle(pilot)
        await pilot.press(*"You", "enter")
        host.set(folder=recorder.folder)
        await settle(pilot)
        assert "Judging" in text_of(app)
        recorder("EVAL-DECISION", 2, "violation", texts={"text": "You"}, data=BROKEN)
        await settle(pilot)
        picture = text_of(app)
        assert "✗ violation" in picture
        assert "✗ autonomy" in picture
        assert ".94" in picture
    recorder.writer.close()


async def test_a_model_that_is_loaded_for_a_verdict_tells_how_far_it_is(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "session")
    recorder.folder.joinpath("run.json").write_text('{"kind": "session"}')
    host = RecordingHost(recorder.folder)
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("i", "a", "enter")
        recorder("EVAL-INPUT", 2, "1 character", texts={"text": "a"})
        recorder("MODEL-LOADING", 1, "tiny", data={"model": "tiny"})
        await settle(pilot)
        pane = app.run_screen.evaluate.verdict
        assert shown_in(pane) == "Loading tiny …"
        recorder(
            "MODEL-LOADING", 3, "Unpacking the embedded model (once for this machine). 42%", data={"model": "tiny"}
        )
        await settle(pilot)
        assert shown_in(pane) == "Unpacking the embedded model (once for this machine). 42%"
        recorder("JUDGES", 1, "texts by rules")
        await settle(pilot)
        assert shown_in(pane) == "Judging …"
    recorder.writer.close()


def shown_in(pane: VerdictView) -> str:
    """The words of the pane's lines as they are cut to its width."""
    return " ".join("".join(words for words, _ in line).strip() for line in pane.lines(pane.size.width))


async def test_a_text_that_could_not_be_judged_says_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "session")
    recorder.folder.joinpath("run.json").write_text('{"kind": "session"}')
    host = RecordingHost(recorder.folder)
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=(200, 60)) as pilot:
        await pilot.press("i", "a", "enter")
        recorder("NOTICE", 1, "the text cannot be judged")
        await settle(pilot)
        assert "the text cannot be judged" in text_of(app)
        await pilot.press("b", "enter")
        await settle(pilot)
        assert "Judging" in text_of(app)
        host.set(error="No model.")
        await settle(pilot)
        assert "Judging" not in text_of(app)
        assert text_of(app).count("No model.") == 2
    recorder.writer.close()


async def test_what_is_typed_fast_is_judged_whole() -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("i")
        for text in ("one", "two"):
            await pilot.press(*text, "enter")
        assert host.commands == [Evaluate("one"), Evaluate("two")]


async def test_a_stopped_run_can_be_resumed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "demo-1")
    recorder.start()
    recorder.drafts(until=3)
    recorder("RUN-STOPPED", 1, "stopped in draft", data={"stage": "draft"})
    recorder.writer.close()
    host = RecordingHost()
    app = RedraftApp(folder=recorder.folder, host=host)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        assert "u Resume" in text_of(app)
        assert "Stopped" in text_of(app)
        await pilot.press("u")
        assert host.commands == [ResumeRun(recorder.folder)]


async def test_a_run_whose_process_died_counts_as_stopped(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "demo-1")
    recorder.start()
    recorder.drafts(until=3)
    recorder.writer.close()
    app = RedraftApp(folder=recorder.folder, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        assert "Stopped" in text_of(app)


async def test_search_goes_to_hits_and_filters(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        view = app.run_screen.log_box.view
        await pilot.press("home", "slash")
        await settle(pilot)
        await pilot.press(*"RUN-COMPLETE", "enter")
        await settle(pilot)
        assert view.marked is not None
        assert view.store.event(view.marked).stage == "RUN-COMPLETE"
        await pilot.press("slash")
        await settle(pilot)
        for _ in range(12):
            await pilot.press("backspace")
        await pilot.press(*"training-pair", "enter")
        await settle(pilot)
        first = view.marked
        await pilot.press("n")
        await settle(pilot)
        assert view.marked != first
        await pilot.press("h")
        await settle(pilot)
        assert len(view.viewport.shown) == 20
        await pilot.press("h")
        assert len(view.viewport.shown) > 100


async def test_escape_leaves_the_search_field_without_searching(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        view = app.run_screen.log_box.view
        await pilot.press("slash", *"draft", "escape")
        await settle(pilot)
        assert view.words is None
        assert view.viewport.following
        assert app.focused is view
        await pilot.press("slash", *"verdict", "enter")
        await settle(pilot)
        await pilot.press("slash", "x", "escape", "n")
        await settle(pilot)
        assert view.words is not None
        assert view.words.text == "verdict"


async def test_the_export_holds_what_the_filter_shows(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"training-pair", "enter", "h")
        await settle(pilot)
        shown = len(app.run_screen.log_box.view.viewport.shown)
        await pilot.press("e")
        await until(pilot, f"({shown} records)")
        rows = json.loads((finished / "exports" / f"{finished.name}-v2-filtered.json").read_text())
        assert len(rows) == shown
        assert {row["stage"] for row in rows} == {"TRAINING-PAIR-CREATED"}


async def test_a_run_without_a_journal_says_so(tmp_path: Path) -> None:
    app = RedraftApp(folder=tmp_path / "empty", host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        assert "there is no journal" in " ".join(text_of(app).split())


async def test_a_damaged_journal_brings_one_notice_with_the_whole_count(finished: Path) -> None:
    journal = finished / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(b"garbage\n" + line for line in lines))
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        notices = [notice.message for notice in app._notifications]
        assert notices == [f"{len(lines)} damaged places in the journal; the records around are shown."]


async def test_a_notice_never_covers_a_window_but_is_in_its_border(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost(), runs=finished.parent)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("r")
        await settle(pilot)
        before = text_of(app)
        await pilot.press("e")
        await settle(pilot)
        await until(pilot, "-v2.md")
        assert f"{finished.name}-v2.md" in text_of(app).splitlines()[-2]
        assert text_of(app).splitlines()[:-2] == before.splitlines()[:-2]


async def test_following_stops_above_the_end_and_counts_what_is_new(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    recorder.start()
    recorder.drafts(until=5)
    app = RedraftApp(host=RecordingHost(recorder.folder, WorkerStatus.RUNNING))
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("pageup")
        top = app.run_screen.log_box.view.viewport.top
        recorder("NOTICE", 1, "something new")
        recorder("NOTICE", 1, "something else")
        await settle(pilot)
        assert "2 new" in text_of(app)
        assert app.run_screen.log_box.view.viewport.top == top
        await pilot.press("f")
        await settle(pilot)
        assert "something else" in text_of(app)
        assert "new ↓" not in text_of(app)
    recorder.writer.close()


async def test_next_and_previous_comparison(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("]", "]")
        await settle(pilot)
        assert " 3 of 40" in text_of(app)
        await pilot.press("[")
        await settle(pilot)
        assert " 2 of 40" in text_of(app)
        await pilot.press("o")
        await settle(pilot)
        assert "as they came" in text_of(app)


async def test_export_writes_into_the_run_and_says_where(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("e")
        await settle(pilot)
        files = sorted(path.name for path in (finished / "exports").iterdir())
        assert files == ["demo-0412-v2.json", "demo-0412-v2.md"]
        assert "Exported" in text_of(app)
        stages = {row["stage"] for row in json.loads((finished / "exports" / files[0]).read_text())}
        assert "TRAINING-PAIR-CREATED" in stages


async def test_export_that_fails_says_why(finished: Path) -> None:
    (finished / "exports").write_text("in the way")
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("e")
        await settle(pilot)
        assert "Not exported" in text_of(app)


async def test_help_report_setup_and_runs_open_and_close(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost(), runs=finished.parent)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        for key, kind in (("question_mark", Help), ("r", ReportScreen), ("c", Setup), ("l", Runs)):
            await pilot.press(key)
            await settle(pilot)
            assert isinstance(app.screen, kind)
            await pilot.press("escape")
            await settle(pilot)
            assert app.screen is app.run_screen


async def test_an_earlier_run_opens_from_the_list(finished: Path) -> None:
    app = RedraftApp(host=RecordingHost(), runs=finished.parent)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("l")
        await settle(pilot)
        assert "demo-0412" in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "RUN-COMPLETE" in text_of(app)


async def test_setup_names_the_field_that_cannot_be_used(tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("name,value\na,b\n")
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("c")
        await settle(pilot)
        app.screen.query_one("#set-train_prompts").value = str(table)  # type: ignore[attr-defined]
        app.screen.query_one("#set-train_prompts").focus()
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, Setup)
        assert re.search(r"no\W+column\W+is\W+named", text_of(app))
        table.write_text("prompt\nWhat now?\n")
        await pilot.press("enter")
        await settle(pilot)
        assert app.control.config.train_prompts == str(table)
        assert "What now?" in text_of(app)


async def test_the_highlighted_preset_is_the_one_that_is_taken() -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("c")
        await settle(pilot)
        await pilot.press("down")
        await settle(pilot)
        assert app.screen.query_one("#set-n_train").value == str(preset("standard").n_train)  # type: ignore[attr-defined]
        await pilot.press("tab", "enter")
        await settle(pilot)
        assert app.screen is app.run_screen
        assert (app.control.config.preset, app.control.config.n_train) == ("standard", preset("standard").n_train)
        assert "start the standard run" in text_of(app)


async def test_setup_refuses_an_unknown_model_as_it_is_typed() -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("c")
        await settle(pilot)
        field = app.screen.query_one("#set-generator")
        field.value = "nonsense-model"  # type: ignore[attr-defined]
        field.focus()
        await settle(pilot)
        assert "nonsense-model" in text_of(app).partition("Seed")[2]
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, Setup)
        assert app.focused is field
        field.value = "smollm2-135m-instruct"  # type: ignore[attr-defined]
        await settle(pilot)
        assert "There is no model" not in text_of(app)


async def test_theme_is_tried_taken_and_remembered() -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await pilot.press("t")
        await settle(pilot)
        await pilot.press("down", "enter")
        await settle(pilot)
        chosen = app.theme
        assert chosen != "redraft-dark"
    again = RedraftApp(host=RecordingHost())
    async with again.run_test(notifications=True, size=SIZE) as pilot:
        assert again.theme == chosen


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (10, 1), (20, 5), (39, 9), (40, 9), (39, 40)])
async def test_a_window_too_small_gets_a_notice(size: tuple[int, int], finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=size) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, TooSmall)
        if size == (20, 5):
            assert "20x5 is too small" in text_of(app)
            assert "^q quits" in text_of(app)
        await pilot.resize_terminal(120, 40)
        await settle(pilot)
        assert "RUN-COMPLETE" in text_of(app)


@pytest.mark.parametrize("size", [(40, 10), (99, 27), (100, 28)])
async def test_every_key_of_the_run_screen_works_at_every_size(size: tuple[int, int], finished: Path) -> None:
    from tui.keymap import KEYS, LOG, RUN

    app = RedraftApp(folder=finished, host=RecordingHost(), runs=finished.parent)
    async with app.run_test(notifications=True, size=size) as pilot:
        await settle(pilot)
        for key in KEYS:
            if key.place in (RUN, LOG):
                for name in key.keys:
                    await pilot.press(name)
                    await pilot.pause()
                    while app.screen is not app.run_screen:
                        await pilot.press("escape")
                        await pilot.pause(0.05)
        assert app.is_running


async def test_in_a_small_window_one_pane_is_in_sight_and_keys_change_it(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await settle(pilot)
        assert "4 Log" in text_of(app)
        assert "RUN-COMPLETE" in text_of(app)
        for key, words in (
            ("5", "Evaluate a text"),
            ("6", "Sample · step 60"),
            ("7", "Trained"),
            ("4", "RUN-COMPLETE"),
        ):
            await pilot.press(key)
            await settle(pilot)
            assert words in text_of(app)


async def test_zoom_gives_a_pane_the_screen_and_takes_it_back(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        before = app.run_screen.log_box.size
        await pilot.press("z")
        await settle(pilot)
        assert app.run_screen.log_box.size.width > 110
        await pilot.press("z")
        await settle(pilot)
        assert app.run_screen.log_box.size == before


async def test_markup_and_control_bytes_in_texts_stay_text(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    recorder.start()
    evil = "[bold red]not markup[/] \x1b[2J\x07 [@click=app.quit]x[/] \u202eabc"
    recorder("INITIAL-GENERATION", 2, "[b]x[/b]", item="a", texts={"draft": evil})
    data = {"sample": {"flagged": None}, "loss": 1.0, "step": 1, "steps": 2}
    recorder("EPOCH-1-BATCH-1", 2, "loss", texts={"sample prompt": evil, "sample": evil}, data=data)
    data = {"set": "heldout", "base": {"flagged": True, "broken": ["[red]x"]}, "trained": {}}
    recorder("COMPARISON-TEST 1/1", 2, "x", item="a", texts={"base": evil, "trained": evil}, data=data)
    app = RedraftApp(folder=recorder.folder, host=RecordingHost())
    async with app.run_test(notifications=True, size=(160, 50)) as pilot:
        await settle(pilot)
        picture = text_of(app)
        assert picture.count("[bold red]not markup[/]") >= 4
        assert "\x1b" not in picture
        assert "\u202e" not in picture
        assert "✗ [red]x" in picture
    recorder.writer.close()


async def test_nothing_is_drawn_while_nothing_happens(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        drawn: list[object] = []
        app.screen._compositor.render_update = (  # type: ignore[method-assign]
            lambda *a, _old=app.screen._compositor.render_update, **k: drawn.append(1) or _old(*a, **k)
        )
        await pilot.pause(0.8)
        assert drawn == []


async def test_a_portrait_of_a_run_needs_no_terminal(finished: Path) -> None:
    from tui.screenshot import draw

    svg = await draw(finished, (120, 40), ["1"])
    assert svg.startswith("<svg")
    assert "RUN-COMPLETE" in svg


async def test_setup_takes_a_judge_and_names_what_does_not_fit_together() -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await pilot.press("c")
        await settle(pilot)
        fields = {name: app.screen.query_one(f"#set-{name}") for name in ("judge", "endpoint", "endpoint_model")}
        for value, words in (
            ("oracle", "Judge: there is no judge 'oracle'"),
            ("endpoint", "Endpoint: the judge endpoint needs the address"),
        ):
            fields["judge"].value = value  # type: ignore[attr-defined]
            fields["judge"].focus()
            await pilot.press("enter")
            await settle(pilot)
            assert words in text_of(app)
        fields["endpoint"].value = "http://user:secret@127.0.0.1:8080/v1"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await settle(pilot)
        problem = text_of(app).rpartition("Endpoint: ")[2]
        assert "user name or password" in " ".join(problem.split())
        assert "secret" not in problem
        fields["endpoint"].value = "http://127.0.0.1:8080/v1"  # type: ignore[attr-defined]
        fields["endpoint_model"].value = "judge-1"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await settle(pilot)
        assert app.screen is app.run_screen
        assert (app.control.config.judge, app.control.config.endpoint_model) == ("endpoint", "judge-1")
        assert host.commands == [Configure(app.control.config)]


async def test_an_alarm_of_training_is_shown_and_one_key_answers_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    host = RecordingHost(recorder.folder, WorkerStatus.RUNNING)
    app = RedraftApp(host=host)
    alarm = {"kind": "likelihood", "step": 9, "measured": -4.2, "limit": -1.0, "last_healthy": 5, "action": "ask"}
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        recorder.start()
        recorder("EPOCH-1-BATCH-1", KEY, "step 1/60", data={"loss": 0.7, "step": 1, "steps": 60})
        recorder("HEALTH-ALARM", SUMMARY, "step 9: Chosen answers lost 4.2 nats per token.", data=alarm)
        await until(pilot, "alarm at step 9: likelihood")
        await until(pilot, "H answers.")
        await until(pilot, "alarm at step 9 · step 1 of 60")
        await pilot.press("H")
        await until(pilot, "compare step 5, the last healthy checkpoint")
        await pilot.press("enter")
        assert host.calls[-1] == "restore"
        decision = {"choice": "restore", "by": "user", "step": 10, "restored": 5}
        recorder("HEALTH-DECISION", SUMMARY, "training ends", data=decision)
        await until(pilot, "back to step 5 after an alarm")
        await pilot.press("H")
        await until(pilot, "No alarm waits for an answer.")


async def test_a_key_of_the_report_writes_it_as_one_html_file(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("r")
        await settle(pilot)
        await pilot.press("h")
        path = finished / "exports" / f"{finished.name}.html"
        await until(pilot, path.name)
        assert "Improvement not confirmed" in path.read_text()
