"""`redraft status` fits a status bar: one line, and nothing where there is nothing to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import Recorder, run

from engine.paths import runs_dir
from engine.runs.store import RunInfo
from tui.cli import main
from tui.commands.status import sentence


def test_an_active_run_shows_stage_and_time_left(redraft_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--short"]) == 0
    assert capsys.readouterr().out == ""
    run(runs_dir() / "demo-1")
    recorder = Recorder(runs_dir() / "demo-2")
    recorder.start()
    recorder("STAGE-START", 1, "revision", data={"name": "revision", "total": 80, "done": 0})
    recorder("PROGRESS", 3, "", data={"name": "revision", "done": 12, "total": 80, "left": 102.0})
    assert main(["status", "--short"]) == 0
    assert capsys.readouterr().out == "▶ demo-2 revision 12/80 · 1:42 left\n"
    assert main(["status", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["id"], one["state"], one["figures"]["left"]) == ("demo-2", "running", 102.0)
    recorder.writer.close()
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "demo-2: stopped · revision 12/80\n"


def test_a_finished_run_is_its_outcome_and_is_forgotten_after_a_day(
    redraft_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(runs_dir() / "demo-1")
    assert main(["status", "--short"]) == 0
    assert capsys.readouterr().out.startswith("✓ demo-1 ")
    monkeypatch.setattr("tui.commands.status._RECENT", -1.0)
    assert main(["status", "--short"]) == 0
    assert capsys.readouterr().out == ""


def test_a_run_that_just_began_is_starting(tmp_path: Path) -> None:
    assert sentence(RunInfo("a", tmp_path, "running", 0.0)) == "starting"


def test_the_command_imports_neither_torch_nor_textual(redraft_home: Path) -> None:
    code = (
        "import sys; from tui.cli import main; main(['status', '--short']); "
        "print([name for name in ('torch', 'textual', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
