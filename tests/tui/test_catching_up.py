"""A long journal is read in short portions, drawn now and then, and whole at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from test_app import text_of, until

from engine.runs.journal_writer import JournalWriter
from tui.app import RedraftApp
from tui.screens import run

pytestmark = pytest.mark.usefixtures("own_home")


async def test_a_long_journal_is_drawn_now_and_then_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "long"
    with JournalWriter(folder) as journal:
        for number in range(2_000):
            journal.append("INITIAL-GENERATION", 2, f"record {number}", item="a", texts={"draft": "word " * 80})
    monkeypatch.setattr(run, "_WORK", 0.0)  # a portion of the file each
    monkeypatch.setattr(run, "_CATCH_UP", 0.0)
    app = RedraftApp(folder=folder, host=RecordingHost())
    polls: list[int] = []
    presented: list[int] = []
    poll, present = app.session.poll, run.RunScreen.present
    monkeypatch.setattr(app.session, "poll", lambda seconds: (polls.append(len(app.session.store)), poll(seconds))[1])
    monkeypatch.setattr(
        run.RunScreen, "present", lambda self: (presented.append(len(app.session.store)), present(self))[1]
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "2,000 records")
        assert "record 1999" in text_of(app)
    portions = [count for count in set(polls) if count < 2_000]
    assert len(portions) > 8
    assert len([count for count in set(presented) if 0 < count < 2_000]) < len(portions)
