"""What an event shows at each verbosity, whatever is in it."""

from __future__ import annotations

import pytest

from engine.events.base import Record
from engine.events.verbosity import entry


def event(level: int = 2, **changes: object) -> Record:
    members = {"texts": {"draft": "word " * 200}, "raw": {"request": "<s>"}, **changes}
    return Record(0, 0.0, "INITIAL-GENERATION", level, "62 tokens", **members)  # type: ignore[arg-type]


@pytest.mark.parametrize(("level", "shown_from"), [(1, 1), (2, 2), (3, 3)])
def test_an_event_is_shown_from_its_level_on_and_never_at_verbosity_0(level: int, shown_from: int) -> None:
    assert [entry(event(level), verbosity) is not None for verbosity in range(4)] == [
        verbosity >= shown_from for verbosity in range(4)
    ]


def test_summary_has_no_texts_key_stages_cut_ones_everything_all_of_them() -> None:
    one, two, three = (entry(event(1), verbosity) for verbosity in (1, 2, 3))
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.parts == ()
    assert [(part.label, len(part.text) <= 502, part.text.endswith("…")) for part in two.parts] == [
        ("draft", True, True)
    ]
    assert [(part.label, part.text, part.kind) for part in three.parts] == [
        ("draft", "word " * 200, "text"),
        ("request", "<s>", "raw"),
    ]


def test_nothing_that_is_shown_can_move_the_cursor_or_break_the_headline() -> None:
    hostile = "\x1b[2J\x9b31m\u202eabc\r\nd\x07"
    shown = entry(Record(0, 0.0, hostile, 1, hostile, texts={hostile: hostile}, raw={hostile: hostile}), 3)
    assert shown is not None
    for line in (shown.stage, shown.summary, *(part.label for part in shown.parts)):
        assert line.replace("\u200b", "").isprintable()
    for part in shown.parts:
        assert all(char.isprintable() or char in "\n\u200b" for char in part.text)


@pytest.mark.parametrize("seconds", [0.0, 253_402_300_799.0])
def test_any_time_that_a_record_can_have_can_be_shown(seconds: float) -> None:
    shown = entry(Record(0, seconds, "NOTICE", 1, ""), 1)
    assert shown is not None
    assert len(shown.time) == 8


def test_candidates_are_one_line_at_key_stages_and_whole_at_everything() -> None:
    candidate = Record(0, 0.0, "REVISION-CANDIDATE", 2, "revision 2 of 4", texts={"revision": "First line\nthen " * 40})
    one, two, three = (entry(candidate, verbosity) for verbosity in (1, 2, 3))
    assert one is None
    assert two is not None
    assert three is not None
    assert two.parts == ()
    assert two.summary.startswith("First line then")
    assert two.summary.endswith("… · revision 2 of 4")
    assert two.one_line
    assert len(two.summary) < 90
    assert three.summary == "revision 2 of 4"
    assert three.parts[0].text == "First line\nthen " * 40
