"""Texts of models, files and journals are shown as texts wherever they are shown: never obeyed, never markup."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import RecordingHost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from terminals import Terminal
from textual.pilot import Pilot
from untrusted import PAYLOADS, obeyed, told_to_terminal

from engine.events.base import Record
from engine.events.registry import EVENTS
from engine.events.schema import schema
from engine.runs.journal_writer import JournalWriter
from engine.settings import RunConfig, to_json
from engine.worker import WorkerStatus
from tui.app import RedraftApp
from tui.commands.plain import PlainDisplay
from tui.screens.dialogs import Choice

pytestmark = pytest.mark.usefixtures("own_home")

NASTY = st.sampled_from(PAYLOADS) | st.text(
    st.sampled_from("\x1b[]()0123456789;?hlmHJKPXc\\\x07\x9b\x9d\x90\x9c\x08\r\x0e\x0f\u202e\u200fab @=/"), max_size=30
)


def events(text: str, number: int = 0) -> Iterator[Record]:
    """One event of each stage with the text everywhere that a journal has a place for one."""
    verdict = {
        "flagged": True,
        "probability": 0.9,
        "principles": {text: 0.9, "fairness": 0.2},
        "broken": [text],
        "score": 2.0,
        "category": text,
        "method": text,
        "judge": text,
        "spans": [{"start": 0, "end": 4, "principle": text, "category": text, "rule": text}],
    }
    data: dict[str, Any] = {
        "config": {**to_json(RunConfig()), "generator": text, "preset": text},
        "versions": {text: text},
        "name": text,
        "model": text,
        "total": 3,
        "done": 1,
        "topic": text,
        "principle": text,
        "reason": text,
        "kept": False,
        "candidate": 1,
        "arm": "base",
        "set": "heldout",
        "base": verdict,
        "trained": verdict,
        "changes": [{"id": text, "label": text, "better": True}],
        "words_removed": 3,
        "words_added": 2,
        "objective": text,
        "step": 1,
        "steps": 3,
        "loss": 1.0,
        "sample": verdict,
        "outcome": text,
        "result": {"outcome": text, "scope": text, "conditions": [{"detail": text, "id": text}]},
        **verdict,
    }
    for place, cls in enumerate(EVENTS):
        name = re.sub(r"\{\w+\}", "1", cls.STAGE)
        texts = dict.fromkeys([*(member.key for member in schema(cls).texts), text], text)
        yield Record(number + place, 1e9, name, 1, text, f"item {text}", texts, {text: text, "traceback": text}, data)
    yield Record(number + len(EVENTS), 1e9, text, 1, text, text, {text: text}, {}, {"name": text})


def journal(folder: Path, *texts: str) -> Path:
    with JournalWriter(folder) as writer:
        for text in texts:
            for event in events(text):
                writer.append(
                    event.stage, 1, event.summary, item=event.item, texts=event.texts, raw=event.raw, data=event.data
                )
    (folder / "run.json").write_text(json.dumps({"kind": "run", "config": {"generator": texts[0], "preset": texts[0]}}))
    return folder


class Tty(io.StringIO):
    """A stream that says that a person looks at it."""

    def isatty(self) -> bool:
        return True


def test_the_model_of_a_terminal_notices_what_it_is_there_for() -> None:
    for payload in PAYLOADS[:2] + PAYLOADS[4:5] + PAYLOADS[12:13]:
        assert told_to_terminal(payload)
        assert obeyed(payload)
    assert told_to_terminal("\x1b[1;36mplain\x1b[0m\ntext") == []


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=NASTY, verbosity=st.integers(1, 3), coloured=st.booleans())
def test_the_plain_display_obeys_no_text(text: str, verbosity: int, coloured: bool) -> None:
    out, err = (Tty(), Tty()) if coloured else (io.StringIO(), io.StringIO())
    display = PlainDisplay(out, err, verbosity)
    display.show(list(events(text)))
    display.notice(text)
    display.close()
    for shown in (out.getvalue(), err.getvalue()):
        assert obeyed(shown) == []
        assert told_to_terminal(shown) == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_command_lets_a_text_through_to_the_terminal(own_home: Path, tmp_path: Path, payload: str) -> None:
    from tui.cli import main

    name = "".join(c for c in payload if c not in "\0/")
    folder = journal(own_home / "data" / "runs" / name, payload)
    texts = {"outcome": payload, "scope": payload, "conditions": [{"id": payload, "detail": payload, "met": True}]}
    health = {"base": {}, "trained": {}, "alarms": [payload]}
    report = {
        "summary": {**texts, "health": health, "principles": [{"principle": payload, "outcome": payload}]},
        "models": {"generator": payload, "critic": f"{payload}2"},
        "judge": {"name": payload, "accuracy": payload},
        "pairs": {"kept": 1, "dropped": 1, "examples": 2, "reasons": {payload: 1}},
        "constitution": {"name": payload},
    }
    (folder / "report.json").write_text(json.dumps(report))
    odd = tmp_path / f"{name[:60]}.csv"
    odd.write_text(payload.replace("\0", ""), "utf-8", "replace")
    toml = tmp_path / "c.toml"
    toml.write_text(f'name = "x"\n[[principles]]\nid = {json.dumps(payload)}\n', "utf-8", "replace")
    calls = (
        ["runs"],
        ["show", "last"],
        ["watch", "last", "--verbosity", "3"],
        ["watch", payload],
        ["export", "last", "-o", "-", "-f", "md"],
        ["eval", "--judge", "rules", "--", payload],
        ["eval", "--judge", "rules", str(odd)],
        ["eval", "--judge", "rules", "--constitution", str(toml), "x"],
        ["run", "--preset", payload],
        ["run", "--set", payload],
        ["run", "--generator", payload],
        # A list of statements is a constitution: the model is what stops the run.
        ["run", "--constitution", str(odd), "--generator", payload],
        [payload],
    )
    for call in [*calls, *([*call, "--json"] for call in calls[:4]), ["eval", "--json", "--judge", "rules", payload]]:
        before = sys.stdout, sys.stderr
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "replace") for _ in range(2))
        sys.stdout, sys.stderr = out, err
        try:
            main(call)
        finally:
            sys.stdout, sys.stderr = before
        for stream in (out, err):
            stream.flush()
            shown = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
            assert obeyed(shown) == [], call
            assert told_to_terminal(shown) == [], call


def pieces(app: RedraftApp) -> Iterator[Any]:
    for strip in app.screen._compositor.render_strips():
        yield from strip


def check(app: RedraftApp, place: str) -> str:
    """Nothing on the screen that a terminal would obey; no link, no action that a text brought along."""
    shown = []
    for segment in pieces(app):
        assert obeyed(segment.text) == [], (place, segment.text)
        assert "\t" not in segment.text, place
        if segment.style is not None:
            assert segment.style.link is None, place
            assert "app.quit" not in str(segment.style.meta), place
        shown.append(segment.text)
    return "".join(shown)


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause(0.1)


async def test_the_app_shows_hostile_texts_as_texts_in_every_pane_and_window(own_home: Path) -> None:
    folder = journal(own_home / "data" / "runs" / "demo-[bold]x", *PAYLOADS)
    host = RecordingHost()
    app = RedraftApp(folder=folder, host=host)
    seen = ""
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("3", "end")
        for keys in ((), ("home",), *[("pagedown",)] * 30):
            await pilot.press(*keys)
            # Until nothing is under way, then a frame.
            await pilot.pause()
            await pilot.pause(0.05)
            seen += check(app, "log")
        for key in ("right_square_bracket", "left_square_bracket", "5", "6", "7", "z", "z", "r"):
            await pilot.press(key)
            await pilot.pause(0.1)
            seen += check(app, f"after {key}")
        await pilot.press("escape", "l")
        await settle(pilot)
        seen += check(app, "runs")
        await pilot.press("escape", "c")
        await settle(pilot)
        seen += check(app, "setup")
        await pilot.press("escape", "question_mark")
        await settle(pilot)
        check(app, "help")
        await pilot.press("escape", "t")
        await settle(pilot)
        check(app, "themes")
        await pilot.press("escape")
        for payload in (PAYLOADS[1], PAYLOADS[8], PAYLOADS[9]):
            app.clear_notifications()
            host.set(error=payload)
            await settle(pilot)
            seen += check(app, "notification")
        app.push_screen(Choice(PAYLOADS[9], "\n".join(PAYLOADS), [(0, PAYLOADS[9])]))
        await settle(pilot)
        seen += check(app, "question")
        await pilot.press("escape", "slash")
        await pilot.press(*"MARK9")
        await settle(pilot)
        seen += check(app, "search")
    for number in range(len(PAYLOADS)):
        assert f"MARK{number}" in seen.replace("\n", ""), f"payload {number} was never shown"
    assert "[bold red on white]MARK9[/]" in seen


async def test_a_text_that_is_pasted_and_judged_is_never_obeyed(own_home: Path) -> None:
    host = RecordingHost()
    app = RedraftApp(host=host)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        for payload in (PAYLOADS[0], PAYLOADS[4], PAYLOADS[7], PAYLOADS[9]):
            await pilot.press("i")
            app.focused.insert(payload)  # type: ignore[union-attr]
            await settle(pilot)
            check(app, "input")
            await pilot.press("enter")
            await settle(pilot)
            check(app, "judging")
            await pilot.press("escape")


async def test_where_a_runs_inputs_changed_the_app_asks_and_goes_on_only_where_that_is_wanted(own_home: Path) -> None:
    folder = journal(own_home / "data" / "runs" / "demo-1", "x")
    host = RecordingHost()
    app = RedraftApp(folder=folder, host=host)
    why = "demo-1: inputs of the run have changed: torch 2.12 → 2.13. Restore them; or: `redraft resume`."
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        for keys, sent in ((("enter",), 0), (("escape",), 0), (("down", "enter"), 1)):
            host.state = dataclasses.replace(host.state, status=WorkerStatus.IDLE, error=why, changed=folder)
            await settle(pilot)
            assert isinstance(app.screen, Choice)
            picture = check(app, "question")
            assert "torch 2.12 → 2.13" in picture
            assert "redraft resume" not in picture
            await pilot.press(*keys)
            await settle(pilot)
            assert len(host.commands) == sent
            host.state = dataclasses.replace(host.state, error="", changed=None)
            await settle(pilot)
    assert host.commands[0].folder == folder  # type: ignore[union-attr]
    assert host.commands[0].force is True  # type: ignore[union-attr]


APP = "import pathlib, sys\nfrom tui.app import run\nrun(folder=pathlib.Path({folder!r}))"


def test_a_real_terminal_gets_no_sequence_of_a_texts_making(own_home: Path) -> None:
    folder = journal(own_home / "data" / "runs" / "demo-1", *PAYLOADS)
    with Terminal(APP.format(folder=str(folder))) as terminal:
        terminal.until("MARK")
        terminal.type("3")
        for _ in range(12):
            terminal.type("\x1b[5~")
            terminal.read(0.1)
        terminal.type("\x11")
        terminal.wait()
    sent = terminal.sent
    assert b"MARK" in sent
    for forbidden in (
        b"\x1b]0;MARK",
        b"\x1b]52",
        b"\x1b]8;;http://example",
        b"\x9b",
        b"\x1b_G",
        b"\x1bP+q",
        b"\x1bc",
        b"\x0e",
    ):
        at = sent.find(forbidden)
        # 0x9b is a continuation byte of UTF-8, too.
        assert at < 0 or (forbidden == b"\x9b" and "\x9b" not in sent.decode("utf-8", "replace")), sent[
            at - 40 : at + 40
        ]
    for char in "\u202e\u2066\u200f\u2028\x85":
        assert char not in sent.decode("utf-8", "replace")
