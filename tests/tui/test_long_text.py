"""The text area for long texts draws, edits and moves as Textual's own does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.document._wrapped_document import WrappedDocument
from textual.widgets import TextArea

from tui.terminal.long_text import LongTextArea, _LongDocument, _LongWrapped

pytestmark = pytest.mark.usefixtures("own_home")

LINES = st.lists(st.text(alphabet="ab \t漢é🙂", max_size=12), max_size=8).map("\n".join)


@given(LINES, st.sampled_from((0, 5)), st.data())
@settings(max_examples=150)
def test_lines_and_sizes_are_those_of_textual_after_every_edit(text: str, width: int, data: st.DataObject) -> None:
    document = _LongDocument(text)
    ours, theirs = _LongWrapped(document, width), WrappedDocument(document, width)
    for _ in range(3):
        places = []
        for _end in range(2):
            row = data.draw(st.integers(0, document.line_count - 1))
            places.append((row, data.draw(st.integers(0, len(document.get_line(row))))))
        start, end = sorted(places)
        result = document.replace_range(start, end, data.draw(LINES))
        for one in (ours, theirs):
            one.wrap_range(start, end, result.end_location)
            one.wrap(width, 4)  # as at a resize
        assert vars(ours) | {"_wrapped_at": None} == vars(theirs) | {"_wrapped_at": None}
        assert ours.height == theirs.height
        assert document.get_size(4) == super(_LongDocument, document).get_size(4)


class Both(App[None]):
    def compose(self) -> ComposeResult:
        text = "one\ttwo\n漢字 three\n\nfour " + "long " * 40
        yield LongTextArea(text, show_line_numbers=True, soft_wrap=False)
        yield TextArea(text, show_line_numbers=True, soft_wrap=False)


async def test_the_same_keys_leave_the_same_text_cursor_and_size() -> None:
    app = Both()
    async with app.run_test(size=(60, 20)) as pilot:
        areas = list(app.query(TextArea))
        for keys in (
            ("x", "enter", "z"),
            ("ctrl+end", "backspace", "down"),
            ("ctrl+u", "ctrl+z", "pageup", "end"),
        ):
            for area in areas:
                area.focus()
                await pilot.press(*keys)
            ours, theirs = areas
            assert (ours.text, ours.selection, ours.virtual_size) == (
                theirs.text,
                theirs.selection,
                theirs.virtual_size,
            )
            assert [list(ours.render_line(y)) for y in range(5)] == [list(theirs.render_line(y)) for y in range(5)] or (
                ours.has_focus != theirs.has_focus
            )
