"""The plain display prints what the log shows, wrapped and safe, and keeps progress apart from it."""

from __future__ import annotations

import io
import random
import re

import pytest

from engine.events.base import Record
from engine.events.verbosity import entry
from tui.commands.plain import PlainDisplay
from tui.views.wrap import cells


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def event(stage: str = "INITIAL-GENERATION", level: int = 2, summary: str = "62 tokens", **members: object) -> Record:
    return Record(0, members.pop("time", 0.0), stage, level, summary, **members)  # type: ignore[arg-type]


def progress(done: int, total: int = 20, time: float = 0.0, stage: str = "PROGRESS") -> Record:
    return event(
        stage,
        3,
        f"draft {done}/{total}",
        time=time,
        data={"name": "draft", "done": done, "total": total, "rate": 350.2},
    )


def printed(*events: Record, verbosity: int = 2, out: io.StringIO | None = None, err: io.StringIO | None = None) -> str:
    out = io.StringIO() if out is None else out
    display = PlainDisplay(out, io.StringIO() if err is None else err, verbosity)
    display.show(events)
    display.close()
    return out.getvalue()


def test_an_entry_is_its_headline_and_its_texts_under_their_labels() -> None:
    lines = printed(event(texts={"draft": "Hello.\n\n  Indented."})).split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d INITIAL-GENERATION 62 tokens", lines[0])
    assert lines[1:] == ["  draft:", "    Hello.", "", "      Indented.", ""]


def test_each_verbosity_prints_what_the_log_shows_at_it() -> None:
    events = [
        event("RUN-START", 1, "demo"),
        event(texts={"draft": "word " * 200}, raw={"request": "<s>"}),
        event("CANDIDATE", 3, "one of four", texts={"candidate": "C"}),
    ]
    for verbosity in range(4):
        text = printed(*events, verbosity=verbosity)
        words = " ".join(text.split())
        for shown in (entry(e, verbosity) for e in events):
            if shown is not None:
                assert f"{shown.time} {shown.stage} {shown.summary}" in words
                assert all(" ".join(part.text.split()) in words for part in shown.parts)
        assert len(re.findall(r"^\d\d:", text, re.MULTILINE)) == sum(entry(e, verbosity) is not None for e in events)
    assert printed(*events, verbosity=0) == ""


def test_lines_are_wrapped_at_words_to_the_width_and_lose_nothing() -> None:
    chance = random.Random(0)
    words = ["a", "word", "prescriptive", "日本語", "😀", "x" * 80, "naïve"]
    for _ in range(100):
        text = " ".join(chance.choices(words, k=30))
        out = printed(event(summary=text, texts={"draft": text}), verbosity=3)
        assert all(cells(line) <= 60 for line in out.split("\n"))
        assert "".join(out.split()).endswith("".join(text.split()))


def test_no_control_characters_reach_a_stream_from_any_text() -> None:
    hostile = "\x1b[2J\x9b1m\u202e\x07\x00\r\nnext"
    out = printed(
        event(hostile, 1, hostile, texts={hostile: hostile}, raw={hostile: hostile}), verbosity=3, err=Terminal()
    )
    assert all(char.isprintable() or char in "\n\u200b" for char in out)


def test_colour_is_used_on_terminals_only_and_never_against_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in printed(event())
    coloured = printed(event(texts={"draft": "x"}), out=Terminal())
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed(event(texts={"draft": "x"}))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in printed(event(), out=Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" not in printed(event(), out=Terminal())


def test_progress_is_one_changing_line_on_a_terminal_and_gone_in_the_end() -> None:
    err = Terminal()
    display = PlainDisplay(io.StringIO(), err, 2)
    display.show([progress(0, time=0.0, stage="STAGE-START")])
    display.show([progress(5, time=10.0)])
    assert err.getvalue().endswith("\r\x1b[Kdraft 5/20 · 0:30 left · 350 tokens/s")
    display.show([progress(20, time=40.0, stage="STAGE-END")])
    display.close()
    assert err.getvalue().endswith("\r\x1b[K")
    assert "\n" not in err.getvalue()


def test_an_entry_is_never_written_into_the_line_of_progress() -> None:
    both = Terminal()
    display = PlainDisplay(both, both, 2)
    display.show([progress(5), event(summary="one")])
    display.show([progress(6), event(summary="two")])
    display.close()
    shown = re.sub(r"[^\n]*\r\x1b\[K", "", re.sub(r"\x1b\[[\d;]*m", "", both.getvalue()))
    assert [line[9:] for line in shown.splitlines()] == ["INITIAL-GENERATION one", "INITIAL-GENERATION two"]


def test_elsewhere_progress_is_a_line_for_each_tenth_not_for_each_item() -> None:
    err = io.StringIO()
    display = PlainDisplay(io.StringIO(), err, 2)
    display.show([progress(0, 1000, stage="STAGE-START")])
    for done in range(1, 1001):
        display.show([progress(done, 1000)])
    lines = err.getvalue().splitlines()
    assert len(lines) == 11
    assert "\x1b" not in err.getvalue()
    assert lines[0].startswith("draft 0/1000")


@pytest.mark.parametrize(
    "data",
    [{}, {"name": None, "done": "x", "total": []}, {"name": "a\x1b\n", "done": -5, "total": 10**400, "rate": 1e999}],
)
def test_figures_that_make_no_sense_are_no_reason_to_stop(data: dict[str, object]) -> None:
    err = Terminal()
    printed(event("STAGE-START", 1, "", data=data), event("PROGRESS", 3, "", data=data), err=err)
    assert "\n" not in err.getvalue()


def test_a_muted_display_writes_nothing_more() -> None:
    out, err = io.StringIO(), io.StringIO()
    display = PlainDisplay(out, err, 3)
    display.muted = True
    display.show([event(), progress(5)])
    display.notice("x")
    display.close()
    assert out.getvalue() + err.getvalue() == ""


def test_a_stage_of_unknown_length_may_begin_with_other_news() -> None:
    display = PlainDisplay(io.StringIO(), io.StringIO(), 2)
    names = (("STAGE-START", "base answers", 4), ("STAGE-END", "base answers", 4), ("STAGE-START", "train", 0))
    display.show(
        [
            Record(number, 1.0, stage, 1, name, data={"name": name, "total": total, "done": total})
            for number, (stage, name, total) in enumerate(names)
        ]
    )
