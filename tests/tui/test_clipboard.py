from __future__ import annotations

import base64
from pathlib import Path

import pytest
from driving import RecordingHost

from tui.app import RedraftApp
from tui.services import clipboard

pytestmark = pytest.mark.usefixtures("own_home")


def test_a_text_becomes_one_sequence() -> None:
    sequence = clipboard.sequence("hé\nllo")
    assert sequence is not None
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\a")
    assert base64.b64decode(sequence[7:-1]).decode() == "hé\nllo"


def test_a_text_too_long_for_terminals_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clipboard.sequence("x" * 60_000) is None
    monkeypatch.setenv("REDRAFT_OSC52_MAX", "0")
    assert clipboard.sequence("x") is None
    monkeypatch.setenv("REDRAFT_OSC52_MAX", "nonsense")
    assert clipboard.sequence("x") is not None


async def test_the_marked_record_is_copied_or_written_to_a_file(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    sent: list[str] = []
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause(0.3)
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("home", "j", "y")
        copied = [text for text in sent if text.startswith("\x1b]52")]
        assert "RUN-START" in base64.b64decode(copied[0][7:-1]).decode()
        monkeypatch.setenv("REDRAFT_OSC52_MAX", "0")
        await pilot.press("y")
        files = list((finished / "exports").glob("copied-*.txt"))
        assert len(files) == 2
        assert all("RUN-START" in file.read_text() for file in files)
