"""Blind reading in the app and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from driving import RecordingHost
from textual.pilot import Pilot

from engine.runs.report import Report
from engine.runs.review import REVIEW, Review, review_result
from engine.runs.store import read_report
from tui.app import RedraftApp
from tui.cli import main
from tui.screens.report import ReportScreen
from tui.screens.review import ReviewScreen
from tui.views.report import lines, markdown, plain

pytestmark = pytest.mark.usefixtures("own_home")


async def opened(pilot: Pilot[Any]) -> ReviewScreen:
    for _ in range(50):
        if isinstance(pilot.app.screen, ReviewScreen):
            await pilot.pause()
            return pilot.app.screen
        await pilot.pause(0.05)
    raise AssertionError(pilot.app.screen)


def picture(screen: ReviewScreen) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in screen._compositor.render_strips())


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_pairs_are_read_with_one_key_each_and_name_no_model(finished: Path, size: tuple[int, int]) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=size) as pilot:
        await pilot.press("b")
        screen = await opened(pilot)
        assert "pair 1 of 40" in picture(screen)
        assert "trained" not in picture(screen).lower()
        assert "base" not in picture(screen).lower()
        await pilot.press("left", "2", "f", "b", "s")
        assert "pair 6 of 40" in picture(screen)
        await pilot.press("backspace")
        assert "pair 5 of 40 · skipped" in picture(screen)
        await pilot.press("right")
        assert "pair 6 of 40" in picture(screen)
        await pilot.press("escape")
    found = review_result(finished)
    assert found is not None
    assert (found.trained + found.base, found.fine, found.bad, found.skipped) == (3, 1, 1, 0)


async def test_the_end_shows_the_result_and_the_report_has_it(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost(), reading=(2, 7))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        for place, pair in enumerate(Review(finished, seed=7, count=2).pairs):
            assert f"pair {place + 1} of 2" in picture(screen)
            await pilot.press("left" if pair.left_arm == "trained" else "right")
        assert "trained preferred 2 of 2   100 % (95 % interval 34 to 100)   sign test p .500" in picture(screen)
        await pilot.press("escape", "r")
        await pilot.pause()
        assert isinstance(app.screen, ReportScreen)
        assert "trained preferred 2 of 2" in app.screen.text
        await pilot.press("b")
        await opened(pilot)


async def test_a_run_without_a_comparison_says_so(tmp_path: Path) -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await pilot.press("b")
        await pilot.pause(0.2)
        assert any("nothing to read" in notice.message for notice in app._notifications)


def test_the_report_has_share_interval_sign_test_and_agreement(finished: Path) -> None:
    review = Review(finished)
    for place in range(10):
        review.choose(place, "left" if review.pairs[place].left_arm == "trained" else "right")
    report = Report.of(read_report(finished))
    for shown in (plain(lines(report)), markdown(report)):
        text = " ".join(shown.split())
        assert "trained preferred 10 of 10" in text
        assert "sign test p .002" in text
        assert "the judge prefers the same answer in" in text


def test_a_sheet_is_exported_filled_in_and_imported(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = finished.parent / "sheet.md"
    assert main(["review", str(finished), "-n", "3", "--export", str(sheet)]) == 0
    text = sheet.read_text()
    assert "trained" not in text
    sheet.write_text(text.replace("\nchoice:", "\nchoice: fine", 1))
    capsys.readouterr()
    assert main(["review", str(finished), "--import", str(sheet), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fine"] == 1
    assert main(["review", str(finished), "--result"]) == 0
    assert "1 both fine" in capsys.readouterr().out
    assert main(["show", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["review"]["fine"] == 1


def test_without_a_terminal_the_reading_names_the_way_by_file(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["review", str(finished)]) == 2
    assert "--export FILE" in capsys.readouterr().err
    assert main(["review", str(finished), "--result"]) == 2
    assert "no blind reading yet" in capsys.readouterr().err
    assert not (finished / REVIEW).exists()
