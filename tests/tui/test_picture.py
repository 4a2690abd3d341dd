"""What is sent cell by cell leaves the terminal with the same picture as what Textual would have sent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyte
import pytest
from driving import RecordingHost
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from tui.app import RedraftApp
from tui.terminal.frame_diff import Picture

WIDTH, HEIGHT = 20, 4
CONSOLE = Console(file=io.StringIO(), color_system="truecolor", force_terminal=True, width=WIDTH)

STYLES = [
    None,
    Style(color="#ff0000"),
    Style(color="#ff0000", bold=True),
    Style(color="#00ff00", bgcolor="#101010"),
    Style(bgcolor="#101010", underline=True),
    Style(reverse=True),
    Style(strike=True, color="#0000ff"),
]


def shown(screen: pyte.Screen) -> list[list[tuple[Any, ...]]]:
    return [[tuple(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)]


class Both:
    """Two terminals: one gets what Textual sends, the other what the picture sends."""

    def __init__(self, width: int, height: int) -> None:
        self.screens = pyte.Screen(width, height), pyte.Screen(width, height)
        self.streams = pyte.Stream(self.screens[0]), pyte.Stream(self.screens[1])
        self.picture = Picture(ColorSystem.TRUECOLOR)
        self.size = (width, height)
        self.bytes = [0, 0]

    def send(self, update: CompositorUpdate) -> None:
        # A newline is only part of a line's end to Textual; a terminal in raw mode would go down a column.
        whole = update.render_segments(CONSOLE).replace("\n", "")
        cells = self.picture.changes(update, *self.size)
        assert cells is not None
        for number, text in enumerate((whole, cells)):
            self.streams[number].feed(text)
            self.bytes[number] += len(text)

    def agree(self) -> bool:
        return shown(self.screens[0]) == shown(self.screens[1])


_TEXT = st.text(alphabet=st.sampled_from(list("ab  ─│⣀é→")), max_size=12)
_SEGMENTS = st.lists(st.tuples(_TEXT, st.sampled_from(STYLES)).map(lambda pair: Segment(*pair)), max_size=5)


@st.composite
def updates(draw: st.DrawFn) -> CompositorUpdate:
    x = draw(st.integers(0, WIDTH - 1))
    y = draw(st.integers(0, HEIGHT - 1))
    height = draw(st.integers(1, HEIGHT - y))
    width = draw(st.integers(1, WIDTH - x))
    rows = [Strip(draw(_SEGMENTS)).adjust_cell_length(width, draw(st.sampled_from(STYLES))) for _ in range(height)]
    if draw(st.booleans()):
        return LayoutUpdate([[row] for row in rows], Region(x, y, width, height))
    chops: list[dict[int, Strip | None]] = [{} for _ in range(HEIGHT)]
    ends: list[list[int]] = [[] for _ in range(HEIGHT)]
    for number, row in enumerate(rows, y):
        chops[number] = {x: row}
        ends[number] = [x + width]
    return ChopsUpdate(chops, [(number, x, x + width) for number in range(y, y + height)], ends)


@settings(max_examples=300, deadline=None)
@given(st.lists(updates(), min_size=1, max_size=8))
def test_any_sequence_of_updates_gives_the_same_picture(sequence: list[CompositorUpdate]) -> None:
    both = Both(WIDTH, HEIGHT)
    blank = [[Strip.blank(WIDTH)] for _ in range(HEIGHT)]
    both.send(LayoutUpdate(blank, Region(0, 0, WIDTH, HEIGHT)))
    for update in sequence:
        both.send(update)
        assert both.agree()


def test_nothing_is_sent_for_what_is_shown_already() -> None:
    both = Both(WIDTH, HEIGHT)
    update = LayoutUpdate([[Strip([Segment("hello", STYLES[1])])]], Region(0, 0, 5, 1))
    both.send(update)
    assert both.picture.changes(update, *both.size) == ""
    both.picture.forget()
    assert "hello" in (both.picture.changes(update, *both.size) or "")


def test_only_the_cells_that_change_are_sent() -> None:
    picture = Picture(ColorSystem.TRUECOLOR)
    for text, sent in (("the loss is 2.71 now", None), ("the loss is 2.70 now", "\x1b[1;16H0")):
        cells = picture.changes(LayoutUpdate([[Strip([Segment(text)])]], Region(0, 0, WIDTH, 1)), WIDTH, HEIGHT)
        assert sent is None or cells == sent


@pytest.mark.parametrize("cluster", ["👨‍👩‍👧‍👦", "👍🏽", "e\u0301", "🇩🇪", "\u200b", "☺\ufe0f"])
def test_what_stands_after_a_cluster_is_placed_anew(cluster: str) -> None:
    picture = Picture(ColorSystem.TRUECOLOR)
    strip = Strip([Segment(f"a{cluster}b")])
    cells = picture.changes(LayoutUpdate([[strip]], Region(0, 0, strip.cell_length, 1)), WIDTH, HEIGHT)
    assert cells is not None
    assert cells.endswith((f"\x1b[1;{strip.cell_length}Hb", f"a{cluster}b"))


def test_an_update_of_an_unknown_kind_is_left_to_textual() -> None:
    assert Picture(ColorSystem.TRUECOLOR).changes(CompositorUpdate(), WIDTH, HEIGHT) is None


def test_without_colours_only_attributes_are_sent() -> None:
    cells = Picture(None).changes(
        LayoutUpdate([[Strip([Segment("x", Style(color="#ff0000", bold=True))])]], Region(0, 0, 1, 1)), WIDTH, HEIGHT
    )
    assert cells == "\x1b[1;1H\x1b[0;1mx\x1b[0m"


@pytest.mark.usefixtures("own_home")
async def test_the_whole_app_is_drawn_the_same_with_a_fraction_of_the_bytes(finished: Path) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost(), runs=finished.parent)
    both = Both(120, 40)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        frames = 0

        def display(screen: Any, renderable: Any) -> None:
            nonlocal frames
            if isinstance(renderable, CompositorUpdate) and not app._batch_count:
                both.send(renderable)
                frames += 1

        await pilot.pause(0.3)
        app._display = display  # type: ignore[method-assign]
        app.screen.refresh(layout=True)
        app.refresh(layout=True)
        await pilot.pause(0.2)
        both.picture.forget()
        keys = ["up", "up", "pageup", "home", "j", "j", "space", "3", "1", "2", "]", "t", "escape", "question_mark"]
        keys += [
            "escape",
            "r",
            "escape",
            "z",
            "z",
            "slash",
            "a",
            "b",
            "enter",
            "n",
            "i",
            "x",
            "y",
            "escape",
            "e",
            "end",
        ]
        both.send(app.screen._compositor.render_update(full=True))
        assert both.agree()
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.05)
            assert both.agree(), key
        assert frames > 30
        assert both.bytes[1] < both.bytes[0] / 3
