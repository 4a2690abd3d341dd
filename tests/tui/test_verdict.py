"""How a verdict and the judges' figures are shown: bars, marked words, reasons, and the same in the app and in text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driving import RecordingHost
from hypothesis import given
from hypothesis import strategies as st
from recorded import BROKEN, Recorder, verdict
from textual.pilot import Pilot

from tui.app import RedraftApp
from tui.keymap import INPUT
from tui.themes import load_all
from tui.views import verdict as shown
from tui.views.verdict import read

TEXT = "You should definitely pursue medicine. Engineers\tnever help people."
FIGURES = {"texts": 1200, "violations": 610, "auroc": [0.91, 0.88, 0.93], "ece": [0.03, 0.02, 0.05]}
JUDGE = {"name": "rules and probe", "accuracy": "AUROC .91 on texts not fitted on", "measures": {"all": FIGURES}}
AGREED = {"judges": ["a", "b"], "texts": 80, "same": [0.91, 0.84, 0.95], "kappa": [0.71, 0.5, 0.9]}


def span(words: str, principle: str, category: str) -> dict[str, Any]:
    start = TEXT.index(words)
    return {"start": start, "end": start + len(words), "principle": principle, "category": category, "rule": "r"}


SPANS = [span("should definitely", "autonomy_respect", "command"), span("never help", "fairness", "stereotype")]
RECORD = {**BROKEN, "spans": SPANS}
DATA = read(RECORD)


def words_in(rows: list[Any], role: str) -> list[str]:
    return [text for row in rows for text, style in row if style == role and text]


def test_each_principle_has_its_probability_on_a_bar() -> None:
    rows = ["".join(text for text, _ in row) for row in shown.bars(DATA, 60)]
    assert rows[0].startswith("✓ harm")
    assert rows[3].startswith("✗ autonomy")
    assert [row[-3:] for row in rows] == [".02", ".12", ".81", ".94"]
    full = [row.count("━") for row in rows]
    assert full == sorted(full)
    assert full[3] > 20


@pytest.mark.parametrize("width", [10, 16, 22, 30, 80])
def test_no_line_is_wider_than_there_is_room(width: int) -> None:
    from tui.views.wrap import cells

    for row in shown.lines(DATA, TEXT, {"reasoning": "Because it says so. " * 9, "note": "A note."}, max(width, 24)):
        assert sum(cells(text) for text, _ in row) <= max(width, 24)
    for row in shown.bars(DATA, width):
        assert sum(cells(text) for text, _ in row) <= max(width, 16)


def test_matched_words_are_marked_by_principle_and_nothing_else_is() -> None:
    rows = shown.marked(DATA, TEXT, 30)
    assert "".join(words_in(rows, "span4")) == "should definitely"
    assert "".join(words_in(rows, "span3")) == "never help"
    assert " ".join("".join(text for text, _ in row) for row in rows).split() == TEXT.split()


def test_words_that_several_rules_match_are_told_once() -> None:
    twice = read({**BROKEN, "spans": [*SPANS, {**SPANS[0], "rule": "another"}]})
    assert len(shown.places(twice, TEXT, 80)) == 2


def test_in_plain_text_a_line_of_its_own_underlines() -> None:
    text = list(shown.plain(shown.marked(DATA, TEXT, 100)))
    under = text[1]
    assert TEXT[under.index("~") :][: len("should definitely")] == "should definitely"
    assert under.count("~") == len("should definitely") + len("never help")


def test_no_verdict_is_said_with_its_reason() -> None:
    data = read({**verdict(0.0), "flagged": None, "score": None, "method": "none"})
    text = "\n".join(shown.plain([*shown.head(data, 40), *shown.lines(data, "x", {"note": "Not sure enough."}, 40)]))
    assert text.startswith("? no verdict")
    assert "✓" not in text
    assert "Not sure enough." in text
    assert "by none" not in text


def test_a_judge_that_was_never_measured_says_so() -> None:
    text = "\n".join(shown.plain(list(shown.rated("texts", {"name": "endpoint x"}, 80))))
    assert "Never measured" in text


def test_the_judges_agreement_has_an_interval() -> None:
    said = shown.agreement_words(AGREED)
    assert "91 % of 80 answers (95 % interval 84 to 95), kappa 0.71 (0.50 to 0.90)" in said
    for nothing in (None, {}, {"same": 7}, {"same": [None, 1, 2], "texts": 4}, {"same": [0.5, 0.4, 0.6], "texts": "x"}):
        assert shown.agreement_words(nothing) == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_SPAN = st.dictionaries(st.sampled_from(["start", "end", "principle", "category"]), _JSON | st.integers(-3, 30))


@given(
    st.dictionaries(
        st.sampled_from(["flagged", "principles", "broken", "score", "category", "method", "judge"]), _JSON
    ),
    st.lists(_SPAN, max_size=4),
    st.text(max_size=40),
)
def test_a_verdict_that_cannot_be_read_is_none(data: Any, spans: Any, text: str) -> None:
    whole = read({**data, "spans": spans})
    for row in shown.lines(whole, text, {"reasoning": text, "note": None}, 20):
        assert all(isinstance(piece, str) and isinstance(role, str) for piece, role in row)
    rating = {"name": text, "accuracy": text, "measures": data}
    assert [*shown.rated("x", rating, 20), *shown.figures("x", rating)]


# In the app

pytestmark = pytest.mark.usefixtures("own_home")


def text_of(app: RedraftApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def styled(app: RedraftApp, words: str) -> list[Any]:
    """The styles of the segments on the screen that are these words."""
    found = []
    for strip in app.screen._compositor.render_strips():
        found += [segment.style for segment in strip if segment.text == words]
    return found


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause(0.12)


async def picture_with(app: RedraftApp, pilot: Pilot[None], *words: str) -> str:
    """The screen as soon as these words stand on it, however busy the machine is; as it is then where they never do."""
    for _ in range(100):
        await pilot.pause(0.05)
        picture = text_of(app)
        if all(word in picture for word in words):
            break
    return picture


@pytest.fixture
def judged(tmp_path: Path) -> Recorder:
    recorder = Recorder(tmp_path / "session")
    recorder.folder.joinpath("run.json").write_text('{"kind": "session"}')
    recorder("JUDGES", 1, "texts by rules and probe", data={"shown": JUDGE})
    recorder("EVAL-INPUT", 2, "67 characters", item="text-1", texts={"text": TEXT})
    texts = {"reasoning": "It leaves no choice.", "note": "The model found nothing."}
    recorder("EVAL-DECISION", 1, "violation", item="text-1", texts=texts, data=RECORD)
    return recorder


@pytest.mark.parametrize("theme", sorted(load_all(Path("/nowhere"))[0]))
@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_pane_shows_bars_and_underlined_words(size: tuple[int, int], theme: str, judged: Recorder) -> None:
    app = RedraftApp(folder=judged.folder, host=RecordingHost())
    async with app.run_test(notifications=True, size=size) as pilot:
        app.theme = theme
        await pilot.press("i")
        wanted = ("✗ violation", "✗ fairness", "━", ".94", "by rules · command", "should definitely")
        picture = await picture_with(app, pilot, *wanted)
        for words in wanted:
            assert words in picture
        (style,) = styled(app, "should definitely")
        assert style.underline
        keys = app.keymap
        assert f"{keys.shown('verdict', INPUT)} all · {keys.shown('judges', INPUT)} judge" in picture
    judged.writer.close()


@pytest.mark.parametrize("keys", [("w",), ("f3",), ("i", "f3")])
async def test_one_key_shows_the_verdict_whole_and_one_more_the_judges_accuracy(
    keys: tuple[str, ...], judged: Recorder
) -> None:
    app = RedraftApp(folder=judged.folder, host=RecordingHost())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await picture_with(app, pilot, "EVAL-DECISION")
        await pilot.press(*keys)
        wanted = ("“should definitely”", "autonomy: command", "It leaves no choice.", "The model found nothing.")
        picture = await picture_with(app, pilot, *wanted)
        for words in wanted:
            assert words in picture
        await pilot.press("a")
        wanted = ("Judge of the texts", "AUROC .91 on texts not fitted on", "1,200 texts", ".91 [.88, .93]")
        picture = await picture_with(app, pilot, *wanted)
        for words in wanted:
            assert words in picture
        await pilot.press("escape")
        await settle(pilot)
        assert app.screen is app.run_screen
    judged.writer.close()


async def test_a_finished_run_shows_both_judges_and_how_far_they_agree(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "runs" / "demo-1")
    recorder.start()
    recorder("JUDGES", 1, "x", data={"shown": JUDGE, "comparison": {**JUDGE, "name": "probe B"}, "apart": True})
    recorder.comparison()
    result = {**recorder.summary(), "agreement": AGREED}
    recorder("COMPARISON-SUMMARY", 1, "not confirmed", data={"result": result})
    recorder.writer.close()
    app = RedraftApp(folder=recorder.folder, host=RecordingHost())
    async with app.run_test(notifications=True, size=(120, 50)) as pilot:
        await settle(pilot)
        await pilot.press("a")
        picture = await picture_with(app, pilot, "probe B", "agree on")
        picture = " ".join(picture.replace("│", " ").split())
        for words in ("Judge of the comparison", "probe B", "agree on 91 %"):
            assert words in picture


def test_it_is_said_whether_the_judge_of_the_comparison_chose_the_pairs() -> None:
    from tui.services import judge_accuracy

    for apart, words in ((True, "nor the one that chose the pairs"), (False, "chose the pairs, too")):
        judges = {"shown": JUDGE, "comparison": JUDGE, "independent": apart}
        text = "\n".join(shown.plain(judge_accuracy.lines(judges, AGREED, 200)))
        assert words in text
        assert text.index("agree on 91 %") < text.index(".91 [.88, .93]")


async def test_before_anything_was_judged_the_settings_judge_is_shown() -> None:
    app = RedraftApp(host=RecordingHost())
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await pilot.press("w")
        assert "No verdict yet." in await picture_with(app, pilot, "No verdict yet.")
        await pilot.press("a")
        picture = await picture_with(app, pilot, "probe on all rows of smollm2-135m-instruct")
        assert "probe on all rows of smollm2-135m-instruct" in picture
        assert "Never measured" not in picture
