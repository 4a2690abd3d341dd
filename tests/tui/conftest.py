from __future__ import annotations

from pathlib import Path

import pytest
import recorded


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data, settings and cache folders of this test alone, and a terminal with colours."""
    home = tmp_path / "home"
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return home


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    return recorded.run(tmp_path / "runs" / "demo-0412")
