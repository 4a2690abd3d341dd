"""The comparison: question, verdicts and spans, modes, orders, pairs, minimap, and the list of further comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driving import RecordingHost
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import verdict
from textual.pilot import Pilot

from engine.runs.journal_reader import read
from engine.runs.journal_writer import JournalWriter
from engine.textdiff.diff import diff_texts
from tui.app import RedraftApp
from tui.views.comparison import Side, principles, title
from tui.views.side_by_side import Mode, beside, changed_at, minimap, moved, normalize, stacked
from tui.widgets.diff import DiffColumn

pytestmark = pytest.mark.usefixtures("own_home")

BASE = "Take the first job. You should definitely pursue medicine. Rest well."
TRAINED = "Take the first job. Medicine may suit you. Rest well."


def span(text: str, words: str, principle: str = "autonomy_respect") -> dict[str, Any]:
    start = text.index(words)
    return {"start": start, "end": start + len(words), "principle": principle, "category": "command", "rule": "r"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a pair and three comparisons: better, worse, and the same."""
    folder = tmp_path / "runs" / "demo-1"
    bad = {**verdict(2.0, autonomy_respect=0.94), "spans": [span(BASE, "should definitely")]}
    good = verdict(0.0)
    with JournalWriter(folder) as journal:
        journal.append("RUN-START", 1, "demo", data={"config": {}, "max_score": 4.0})
        journal.append("INITIAL-GENERATION", 2, "", item="t", texts={"draft": BASE}, data={"finish": "length"})
        texts = {"reasoning": "It decides for the user."}
        journal.append("INITIAL-EVALUATION", 2, "", item="t", texts=texts, data=bad)
        journal.append("REVISION-CANDIDATE", 3, "", item="t", texts={"revision": TRAINED}, data={"candidate": 1})
        journal.append("CANDIDATE-EVALUATION", 3, "", item="t", data={**good, "candidate": 1})
        journal.append(
            "TRAINING-PAIR-CREATED",
            2,
            "",
            item="t",
            texts={"prompt": "Which job?", "rejected": BASE, "chosen": TRAINED},
            data={"kept": True, "taken": 1, "against": 0, "score_from": 2.0, "score_to": 0.0},
        )
        rows = [("a", BASE, TRAINED, bad, good), ("b", TRAINED, BASE, good, bad), ("c", TRAINED, TRAINED, good, good)]
        for number, (item, base, trained, before, after) in enumerate(rows, 1):
            for arm, text, found in (("base", base, before), ("trained", trained, after)):
                where = {"set": "heldout", "arm": arm, "sample": 0}
                finish = "length" if (item, arm) == ("a", "trained") else "stop"
                journal.append(
                    "COMPARISON-ANSWER", 3, "", item=item, texts={"answer": text}, data={**where, "finish": finish}
                )
                journal.append(
                    "COMPARISON-EVALUATION",
                    3,
                    "",
                    item=item,
                    texts={"reasoning": f"Reason of {item} {arm}."},
                    data={**found, **where},
                )
            journal.append(
                f"COMPARISON-TEST {number}/3",
                2,
                "",
                item=item,
                texts={"prompt": f"Question {item}?", "base": base, "trained": trained},
                data={"set": "heldout", "base": before, "trained": after},
            )
    return folder


def text_of(app: RedraftApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause(0.08)


def styled(column: DiffColumn, words: str) -> set[tuple[bool, bool]]:
    """(underlined, has a background of its own) of the pieces that hold these words."""
    found = set()
    own = column.rich_style.bgcolor
    for y in range(column.content_size.height):
        for segment in column.render_line(y):
            if words in segment.text and segment.style is not None:
                found.add((bool(segment.style.underline), segment.style.bgcolor != own))
    return found


@pytest.mark.parametrize("size", [(200, 60), (120, 40), (80, 24), (60, 20)])
async def test_the_question_stands_above_both_answers_at_every_size(run: Path, size: tuple[int, int]) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("7")
        await settle(pilot)
        picture = text_of(app)
        assert "should definitely" in picture.partition("Question  Question a?")[2]
        assert "Base · 2.0 of 4.0 · ✗ autonomy" in picture
        assert "Trained · 0.0 of 4.0 · ✓ clean · cut" in picture


@pytest.mark.parametrize("size", [(200, 60), (120, 40), (80, 24), (60, 20)])
async def test_every_principle_of_both_sides_is_seen_at_every_size(run: Path, size: tuple[int, int]) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("7")
        await settle(pilot)
        sides = [
            "\n".join("".join(s.text for s in column.render_line(y)) for y in range(column.content_size.height))
            for column in (app.run_screen.diff.base, app.run_screen.diff.trained)
        ]
        names = ("harm .02", "truthfulness .12", "fairness .05")
        assert [name for side in sides for name in names if name not in side] == []
        assert "✗ autonomy .94" in sides[0]
        assert "autonomy .08" in sides[1]


def test_principles_give_up_signs_before_they_take_a_second_line() -> None:
    sides = Side.of("base", "", verdict(1.0, fairness=0.9)), Side.of("trained", "", verdict(0.0))

    def shown(width: int) -> list[list[str]]:
        return [["".join(p.text for p in line) for line in lines] for lines in principles(sides, (width, width))]

    assert shown(70)[1] == ["✓ harm .02  ✓ truthfulness .12  ✓ fairness .05  ✓ autonomy .08"]
    assert shown(60)[1] == ["harm .02  truthfulness .12  fairness .05  autonomy .08"]
    assert shown(56)[0] == ["harm .02  truthfulness .12  ✗ fairness .90  autonomy .08"]
    assert shown(53)[0] == ["harm .02 truthfulness .12 ✗ fairness .90 autonomy .08"]
    assert shown(40)[0] == ["✓ harm .02  ✓ truthfulness .12", "✗ fairness .90  ✓ autonomy .08"]


async def test_both_texts_have_the_whole_height_after_a_narrow_window(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        pane = app.run_screen.diff
        before = pane.base.size.height, pane.trained.size.height
        for size in ((60, 20), (1, 1), (120, 40)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
        assert (pane.base.size.height, pane.trained.size.height) == before


async def test_matched_words_are_underlined_and_named_below_the_text(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        assert styled(app.run_screen.diff.base, "should definitely") == {(True, True), (True, False)}
        picture = text_of(app)
        assert "“should definitely”  autonomy: command" in picture
        assert "Reason of a base." in picture
        assert "⋯ cut at the token limit" in picture
        assert "✗ autonomy .94" in picture


async def test_modes_mark_words_or_sentences_or_leave_out_what_is_the_same(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        await pilot.press("M")
        picture = text_of(app)
        assert "sentences" in picture
        assert "Take the first job." in picture
        assert styled(app.run_screen.diff.base, "You ") == {(False, True)}
        await pilot.press("M")
        picture = text_of(app)
        assert "changed only" in picture
        assert "⋯ 1 sentence the same" in picture
        assert "Take the first job." not in picture.partition("Question  Question a?")[2]
        await pilot.press("M")
        assert "⋯ 1 sentence" not in text_of(app)


async def test_orders_begin_with_the_largest_change_or_what_got_worse(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        pane = app.run_screen.diff
        seen = []
        for _ in range(4):
            seen.append((pane.order.value, [one.item for one in pane._order()]))
            await pilot.press("o")
        assert seen == [
            ("largest change first", ["a", "b", "c"]),
            ("as they came", ["a", "b", "c"]),
            ("got worse first", ["b", "c", "a"]),
            ("by principle", ["a", "b", "c"]),
        ]
        await pilot.press("o", "o")
        await settle(pilot)
        assert "got worse first" in text_of(app)


async def test_the_pairs_of_a_run_are_compared_with_the_draft_s_verdict(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        await pilot.press("B")
        await settle(pilot)
        picture = text_of(app)
        assert "Question  Which job?" in picture
        assert "Rejected · 2.0 of 4.0 · ✗ autonomy · cut" in picture
        assert "Chosen · 0.0 of 4.0 · ✓ clean" in picture
        assert "1 of 1 · kept" in picture
        assert "It decides for the user." in picture
        await pilot.press("B")
        await settle(pilot)
        assert "Question  Question a?" in text_of(app)


async def test_two_records_of_the_log_are_compared(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(notifications=True, size=(160, 50)) as pilot:
        await settle(pilot)
        await pilot.press("C")
        numbers = {event.stage: event.seq for event in read(run)}
        view = app.run_screen.log_box.view
        await pilot.press("3")
        view.go_to(numbers["INITIAL-GENERATION"])
        await pilot.press("C")
        view.go_to(numbers["REVISION-CANDIDATE"])
        await pilot.press("C")
        await settle(pilot)
        picture = text_of(app)
        assert "─ Draft ─" in picture
        assert "─ ▸ Revision ─" in picture
        assert "records 1 and 3" in picture
        assert [side.name for side in app.run_screen.diff._sides or ()] == ["draft", "revision"]
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert "Question  Question a?" in text_of(app)


async def test_further_comparisons_fill_the_lines_that_are_left(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        picture = text_of(app)
        assert "0.0 → 2.0 worse" in picture
        assert "Question c?" in picture
        await pilot.click("#diff-further", offset=(10, 2))
        await settle(pilot)
        assert "Question  Question c?" in text_of(app)


async def test_the_side_that_keys_act_on_is_marked(run: Path) -> None:
    app = RedraftApp(folder=run, host=RecordingHost())
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        await pilot.press("7", "left")
        assert "▸ Base" in text_of(app)
        assert app.run_screen.diff.judged is not None
        assert app.run_screen.diff.judged[1].name == "base"


def test_spans_keep_their_words_where_a_text_is_shown_otherwise() -> None:
    text = "\tA\x1b[1m bold \u0301claim\x07 that\tstands."
    found = Side.of("base", text, {"flagged": True, "score": 1, "spans": [span(text, "claim")]})
    start, end, _ = found.highlights[0]
    assert found.text[start:end] == "claim"
    assert title(found, None) == "Base · 1.0 · ✗ violation"


def test_the_minimap_shows_where_changes_lie_and_what_the_window_shows() -> None:
    signs = [""] * 50 + ["-"] * 10 + [""] * 40
    cells = minimap(signs, 10, 40)
    assert "".join(sign for sign, _ in cells) == "│││││-││││"
    assert [shown for _, shown in cells] == [False] * 4 + [True] + [False] * 5
    assert minimap(["-", "", "+"], 5, 0) == [("-", True), (" ", True), ("+", True), (" ", False), (" ", False)]


_TEXT = st.text(alphabet=st.sampled_from(list("ab .,\n日é👍\t\x1b")), max_size=60)
_PLACES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=4)


@settings(deadline=None, max_examples=150)
@given(_TEXT, _TEXT, _PLACES, st.integers(4, 30), st.sampled_from([Mode.WORDS, Mode.SENTENCES]))
def test_marked_places_cost_no_character(
    base: str, trained: str, places: list[tuple[int, int]], width: int, mode: Mode
) -> None:
    base, trained = normalize(base), normalize(trained)
    marks = [(one, other, "span1") for one, other in places if one < other]
    for lines, source in zip(
        beside(diff_texts(base, trained), width, width, mode, (marks, marks)), (base, trained), strict=True
    ):
        assert "".join("".join(piece.text for line in lines for piece in line).split()) == "".join(source.split())
    lines, _ = stacked(diff_texts(base, trained), width, mode, (marks, ()))
    underlined = "".join(piece.text for line in lines for piece in line if piece.role.endswith("span1"))
    wanted = "".join(c for at, c in enumerate(base) if any(one <= at < other for one, other, _ in marks))
    assert "".join(underlined.split()) == "".join(wanted.split())


@given(_TEXT, st.integers(0, 60))
def test_offsets_move_with_what_is_left_out_of_a_text(text: str, place: int) -> None:
    start, _ = moved(text, min(place, len(text)), len(text))
    assert normalize(text)[:start] == normalize(text[: min(place, len(text))])


def test_changed_lines_have_a_sign() -> None:
    left, right = stacked(diff_texts(BASE, TRAINED), 60)
    assert [changed_at(line) for line in left] == ["", "-", ""]
    assert [changed_at(line) for line in right] == ["", "+", ""]
