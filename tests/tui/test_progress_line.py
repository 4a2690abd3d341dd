"""The status line is never silent while a run works, and the line below the log holds what is being written."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from recorded import Recorder
from test_app import text_of, until

from engine.events.base import ALL, SUMMARY
from engine.runs.state import Progress, RunState
from engine.worker import WorkerStatus
from tui.app import RedraftApp
from tui.keymap import REVIEW, Keymap
from tui.views.pieces import width_of
from tui.widgets.current_text import NowLine
from tui.widgets.status import KeyLine, Shown, progress

pytestmark = pytest.mark.usefixtures("own_home")


def line(doing: str, width: int = 120, waited: float = 0.0, **state: object) -> str:
    run = RunState()
    for name, value in state.items():
        setattr(run, name, value)
    pieces = progress(Shown("demo", doing, run, 2), width, waited)
    assert width_of(pieces) < width
    return "".join(text for text, _ in pieces)


def test_loading_shows_percent_once_they_are_known_and_seconds_before() -> None:
    assert line("loading", waited=12).split() == ["Loading", "the", "model", "…", "0:12"]
    written = line("running", loading="Writing the embedded model. 80 %", loading_share=0.8)
    assert "Writing the embedded model ━" in written
    assert written.rstrip().endswith("80 %")
    assert "Preparing … " in line("running", waited=3)


def test_time_left_appears_when_it_is_known_and_seconds_spent_before() -> None:
    started = line("running", waited=7, progress=Progress("revision", 0, 80))
    assert "0/80" in started
    assert "0:07 so far" in started
    known = line("running", waited=9, progress=Progress("revision", 2, 80, rate=147.0, part=9.5, measured=102.0))
    assert "147 tokens/s" in known
    assert "1:42 left" in known
    assert "━━━─" in known
    assert "left" not in line("running", waited=9, progress=Progress("revision", 80, 80, measured=0.0))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_line_keeps_its_width_while_the_time_left_becomes_known(width: int) -> None:
    before = line("running", width, waited=7, progress=Progress("candidate verdict", 2, 80))
    after = line("running", width, waited=7, progress=Progress("candidate verdict", 2, 80, measured=102.0))
    assert len(before) == len(after)


def test_a_finished_run_names_its_outcome() -> None:
    assert line("done", outcome="confirmed").strip() == "Done · confirmed"
    assert line("failed").strip() == "Failed"


def test_the_last_words_are_cut_at_a_word_and_fill_the_line() -> None:
    now = NowLine()
    now.prompt, now.words, now.rate = "What diet should I follow?", "word " * 40 + "the end", 147.0
    for width in (40, 60, 80, 120):
        (pieces,) = now.lines(width)
        text = "".join(text for text, _ in pieces)
        assert width_of(pieces) <= width
        assert "the end" in text
        assert ("147 tokens/s" in text) == (width >= 48)


def test_the_footer_keeps_the_way_out_and_leaves_out_what_matters_least() -> None:
    keys = KeyLine()
    keys.show(Keymap().footer(REVIEW))
    shown = "".join(text for text, _ in keys.lines(60)[0])
    assert shown.split("  ")[3:5] == ["b Both bad", "s Skip"]
    assert shown.rstrip().endswith("Esc Back")
    assert "Previous" not in shown


async def test_what_is_written_is_shown_with_its_prompt_and_speed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    app = RedraftApp(host=RecordingHost(recorder.folder, WorkerStatus.RUNNING))
    async with app.run_test(size=(120, 40)) as pilot:
        recorder("RUN-START", SUMMARY, "demo", data={"config": recorder.config})
        loading = {"model": "smollm2", "fraction": 0.35}
        recorder("MODEL-LOADING", ALL, "Unpacking the embedded model. 35%", data=loading)
        await until(pilot, "Unpacking the embedded model")
        assert " 35 %" in text_of(app)
        recorder("STAGE-START", SUMMARY, "draft", data={"name": "draft", "total": 20, "done": 0})
        news = {"name": "draft", "done": 0, "total": 20, "tokens": 300, "rate": 150.0, "part": 2.0, "left": 95.0}
        prompt = recorder.prompts[0]
        recorder("PROGRESS", ALL, "draft 0/20", item=prompt.id, data=news, texts={"writing": "and so it ends here"})
        await until(pilot, "so it ends here")
        picture = text_of(app)
        assert "1:35 left" in picture
        assert prompt.text[:12] in picture.split("✎")[1]
        recorder("STAGE-END", SUMMARY, "draft: 20", data={"name": "draft", "done": 20, "total": 20})
        await pilot.pause(0.3)
        assert "so it ends here" not in text_of(app)
        recorder.writer.close()
