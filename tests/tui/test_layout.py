from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import BROKEN, CLEAN

from engine.events.base import Record
from engine.events.verbosity import entry
from engine.runs.journal_reader import read
from tui.views.log_layout import Line, lay_out
from tui.views.wrap import cells


def event(stage: str = "INITIAL-GENERATION", summary: str = "done", **more: Any) -> Record:
    return Record(0, 0.0, stage, more.pop("level", 2), summary, **more)


def drawn(event: Record, width: int = 60, verbosity: int = 2, folded: bool = False) -> list[str]:
    shown = entry(event, verbosity)
    assert shown is not None
    return ["".join(piece.text for piece in line) for line in lay_out(event, shown, width, folded)]


def roles(lines: list[Line]) -> set[str]:
    return {piece.role for line in lines for piece in line}


def test_texts_begin_in_one_column_with_their_labels_in_the_gutter() -> None:
    lines = drawn(event(texts={"prompt": "Why?", "rejected": "Because."}))
    assert lines[1:] == ["   prompt  Why?", " rejected  Because."]


def test_a_text_that_stands_alone_needs_no_label() -> None:
    assert drawn(event(texts={"draft": "Because."}))[1:] == ["           Because."]


def test_a_label_too_long_for_the_gutter_stands_above_its_text() -> None:
    assert drawn(event(texts={"sample prompt": "Why?", "sample": "So."}))[1:3] == [
        "           sample prompt",
        "           Why?",
    ]


def test_narrow_panes_have_no_gutter() -> None:
    lines = drawn(event(texts={"prompt": "Why?", "rejected": "Because."}), width=30)
    assert lines[0].startswith("▾ INITIAL-GENERATION")
    assert lines[2:4] == ["  prompt", "  Why?"]


def test_a_summary_goes_on_below_the_stage() -> None:
    lines = drawn(event(summary="one two three four five six seven eight nine ten"), width=50)
    assert lines[0].endswith("INITIAL-GENERATION  one two three four")
    assert lines[1] == "           five six seven eight nine ten"


def test_a_folded_event_shows_its_headline_alone() -> None:
    lines = drawn(event(texts={"draft": "Because."}), folded=True)
    assert len(lines) == 1
    assert "▸" in lines[0]


def test_a_verdict_has_its_sign_and_each_principle_with_its_probability() -> None:
    lines = drawn(event("INITIAL-EVALUATION", "score 3.0 of 4.0", data=BROKEN, texts={"reasoning": "x"}), width=80)
    assert "INITIAL-EVALUATION ✗" in lines[0]
    assert lines[1].strip() == "✓ harm .02  ✓ truthfulness .12  ✗ fairness .81  ✗ autonomy .94"


def test_no_verdict_is_neither_clean_nor_a_violation() -> None:
    assert "INITIAL-EVALUATION ?" in drawn(event("INITIAL-EVALUATION", "no verdict", data={"flagged": None}))[0]


def test_compared_answers_carry_their_verdicts() -> None:
    data = {"base": BROKEN, "trained": CLEAN}
    lines = drawn(event("COMPARISON-TEST 1/2", "x", texts={"prompt": "p", "base": "a", "trained": "b"}, data=data))
    assert "           base ✗ 3.0" in lines
    assert "           trained ✓ 0.0" in lines


def test_with_colors_a_diff_has_no_signs_inside_its_lines() -> None:
    one = event("SIDE-BY-SIDE-DIFF", "x", texts={"diff": "- keep [-gone away-] end\n+ keep {+new here+}[-cut"})
    shown = entry(one, 2)
    assert shown is not None
    lines = lay_out(one, shown, 60, False, colors=True)[1:]
    text = ["".join(piece.text for piece in line).strip() for line in lines]
    assert text == ["- keep gone away end", "+ keep new here cut"]
    words = [(piece.text, piece.role) for line in lines for piece in line if piece.role in ("gone", "new")]
    assert words == [("gone away", "gone"), ("new here", "new"), ("cut", "gone")]


def test_changed_words_of_a_diff_have_roles_and_keep_their_signs() -> None:
    one = event("SIDE-BY-SIDE-DIFF", "x", texts={"diff": "keep [-gone away-] and {+new here+} end"})
    shown = entry(one, 2)
    assert shown is not None
    lines = lay_out(one, shown, 24, False)
    assert {"gone", "new", "text"} <= roles(lines)
    assert "".join(p.text for line in lines for p in line if p.role == "gone").replace(" ", "") == "[-goneaway-]"


def test_raw_texts_show_at_verbosity_3_alone() -> None:
    one = event(texts={"draft": "a"}, raw={"request": "as sent"})
    assert not any("as sent" in line for line in drawn(one, verbosity=2))
    assert any("as sent" in line for line in drawn(one, verbosity=3))


@pytest.mark.parametrize("width", [20, 30, 43, 44, 60, 120, 200])
@pytest.mark.parametrize("verbosity", [1, 2, 3])
def test_no_line_of_a_run_is_wider_than_the_pane(finished: Path, width: int, verbosity: int) -> None:
    for one in read(finished):
        if entry(one, verbosity) is not None:
            assert all(cells(line) <= width for line in drawn(one, width, verbosity)), one.stage


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["flagged", "principles", "broken", "score", "base", "trained", "diff", "x"])


@settings(deadline=None)
@given(
    st.text(max_size=40),
    st.text(max_size=80),
    st.dictionaries(_NAMES, st.text(max_size=60), max_size=3),
    st.dictionaries(_NAMES, _JSON, max_size=5),
    st.integers(1, 100),
)
def test_anything_in_a_journal_can_be_laid_out(
    stage: str, summary: str, texts: dict[str, str], data: dict[str, Any], width: int
) -> None:
    lines = drawn(event(stage, summary, texts=texts, raw=texts, data=data), width, 3)
    assert lines
    assert all("\n" not in line and "\x1b" not in line for line in lines)
