"""The loss chart fits its room at every size, keeps every peak, and says what is smoothed and over how many steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from driving import RecordingHost
from hypothesis import given
from hypothesis import strategies as st
from recorded import Recorder, run
from test_app import text_of as picture_of
from test_app import until
from textual.pilot import Pilot

from engine.runs.series import Series
from tui.app import RedraftApp
from tui.screens.runs import Runs
from tui.services.preferences import load
from tui.views.chart import Curve, Kind, plot, smoothed_at, window
from tui.views.pieces import width_of
from tui.widgets.loss import draws_braille


def series(values: list[float]) -> Series:
    made = Series()
    for step, value in enumerate(values, 1):
        made.add(step, value)
    return made


def text_of(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60),
    st.integers(4, 60),
    st.integers(2, 20),
    st.booleans(),
    st.sampled_from(Kind),
    st.none() | st.floats(-10, 99),
)
def test_every_line_has_its_room(
    values: list[float], width: int, height: int, braille: bool, kind: Kind, crosshair: float | None
) -> None:
    made = series(values)
    first, last = made.steps
    steps = (first, max(last, first + 1))
    rows = plot([Curve(made, "accent", kind)], width, height, steps, braille=braille, crosshair=crosshair)
    assert len(rows) in (0, height)
    assert all(width_of(row) == width for row in rows[:-1])


def test_nothing_is_drawn_without_values_or_room() -> None:
    assert plot([Curve(Series(), "accent")], 40, 10, (0, 1)) == []
    assert plot([Curve(series([1.0, 2.0]), "accent")], 5, 2, (1, 2)) == []


def test_a_line_joins_nine_points_without_a_gap() -> None:
    rows = plot([Curve(series([9.0, 7.5, 6.0, 5.2, 4.0, 3.1, 2.5, 2.2, 2.0]), "accent")], 40, 12, (1, 9))
    drawn = text_of(rows)[:-2]
    columns = [any(line[6 + x : 7 + x].strip() for line in drawn) for x in range(34)]
    assert all(columns[:33])
    assert drawn[0].startswith("9.00┤")
    assert drawn[-1].startswith("2.00┤")


@pytest.mark.parametrize("braille", [True, False])
def test_a_peak_among_many_values_is_drawn_and_both_curves_are_colored(braille: bool) -> None:
    values = [1.0 + 0.1 * math.sin(step) for step in range(20_000)]
    values[11_111] = 9.0
    curves = [Curve(series([2.0] * 10), "soft"), Curve(series(values), "accent")]
    rows = plot(curves, 60, 12, (1, 20_000), braille=braille)
    assert any(role == "accent" for _, role in rows[0])
    assert {role for row in rows for _, role in row} == {"dim", "soft", "accent"}
    assert any("\u2801" <= character <= "\u28ff" for line in text_of(rows) for character in line) is braille


def test_a_smoothed_value_is_the_mean_of_the_steps_around() -> None:
    noisy = series([2.0 + (-1) ** step for step in range(240)])
    span = window(noisy, 60, noisy.steps)
    assert span == 22
    assert abs(smoothed_at(noisy, 60, noisy.steps, 120) - 2.0) < 0.1
    assert window(series([1.0] * 23), 60, (1, 23)) == 1


def test_points_are_not_joined_and_letters_tell_curves_apart() -> None:
    high, low = series([4.0, 4.0]), series([1.0, 1.0])
    curves = [Curve(high, "dim", Kind.POINTS, "."), Curve(low, "pinned", Kind.DASHED, ":")]
    drawn = text_of(plot(curves, 45, 9, (1, 2), braille=False))[:-2]
    assert drawn[0].count(".") == 2 + 1  # the axis figure's, too
    assert 20 < drawn[-1].count(":") < 40


def test_a_crosshair_stands_at_its_step() -> None:
    rows = text_of(plot([Curve(series([3.0] * 50), "accent")], 60, 9, (1, 50), crosshair=25))
    assert rows[-1].split() == ["1", "25", "50"]
    column = rows[-2].index("┴")
    assert rows[0][column] == "┊"
    assert abs(column - rows[-1].index("25")) <= 1


@pytest.mark.usefixtures("own_home")
async def test_keys_move_the_crosshair_and_the_chart_says_the_values(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "mean of 5 steps")
        await pilot.press("6", "home")
        loss = app.session.state.loss
        assert f"· {loss.at(1)[0]:.2f}" in picture_of(app)
        await pilot.press("right")
        step = app.run_screen.loss.plot.crosshair
        assert step == 3  # two steps to a column
        assert f"· {loss.at(3)[0]:.2f}" in picture_of(app)
        assert f"○ {app.session.state.valid.at(3)[0]:.2f}" in picture_of(app)
        await pilot.press("shift+right", "left", "end")
        assert app.run_screen.loss.plot.crosshair == 60
        await pilot.press("x")
        assert "***" in picture_of(app)
        await pilot.press("escape")
        assert "* mean of 5 steps" in picture_of(app)
        assert load(app.preferences._path).letters


@pytest.mark.usefixtures("own_home")
async def test_reward_margins_are_shown_by_a_key_where_there_are_some(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run")
    recorder.start()
    for step in range(1, 41):
        data = {"loss": 0.7, "rewards/margins": step / 10, "step": step, "steps": 40}
        recorder(f"EPOCH-1-BATCH-{step}", 3, "", data=data)
    recorder.writer.close()
    app = RedraftApp(folder=recorder.folder, host=RecordingHost())
    app.preferences.remember(letters=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "Loss · train 0.70")
        await pilot.press("6", "m")
        assert "Reward margin · train 4.00" in picture_of(app)
        assert "***" in picture_of(app)
        await pilot.press("m")
        assert "Loss · train 0.70" in picture_of(app)


def test_a_terminal_without_braille_gets_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "linux")
    assert not draws_braille()


@pytest.mark.usefixtures("own_home")
async def test_a_pinned_run_is_drawn_beside_the_shown_one(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shown, other = run(folder / "demo-2"), run(folder / "demo-1", steps=90)
    app = RedraftApp(folder=shown, host=RecordingHost(), runs=folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await pin(pilot, other)
        await until(pilot, "demo-1 ╍")
        await pilot.press("escape", "6", "end", *["shift+right"] * 3)
        chart = app.run_screen.loss.plot
        for width, height in ((120, 40), (80, 24), (60, 20)):
            await pilot.resize_terminal(width, height)
            await until(pilot, f"╍ {chart.pinned.state.loss.at(90)[0]:.2f}")
        assert (chart.pinned.name, chart.steps, chart.crosshair) == ("demo-1", (1, 90), 90)
        await pin(pilot, other)
        await until(pilot, "No run is pinned.")
        assert chart.steps == (1, 60)


async def pin(pilot: Pilot[None], folder: Path) -> None:
    """Mark a run in the list, and pin it or no longer."""
    await pilot.press("l")
    await until(pilot, folder.name)
    runs = pilot.app.screen
    assert isinstance(runs, Runs)
    runs._list.go(next(at for at, one in enumerate(runs._runs) if one.folder == folder))
    await pilot.press("p")
