"""The commands that make something of a finished run: what they write, what they print, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tui.cli import main

pytestmark = pytest.mark.usefixtures("redraft_home")


def test_report_writes_one_html_file_into_the_runs_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "--html", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    path = run / "exports" / "small.html"
    assert found == {"path": str(path), "bytes": path.stat().st_size}
    assert path.read_text().startswith("<!doctype html>")


def test_report_without_html_prints_what_show_prints(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(run)]) == 0
    shown = capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("file_format", ["csv", "trl", "axolotl", "card"])
def test_export_writes_other_formats_into_the_runs_folder(
    run: Path, capsys: pytest.CaptureFixture[str], file_format: str
) -> None:
    assert main(["export", str(run), "-f", file_format]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert paths
    assert all(path.is_file() and run / "exports" in path.parents for path in paths)


def test_a_folder_of_files_does_not_go_to_stdout(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "-f", "csv", "-o", "-"]) == 2
    assert "several files" in capsys.readouterr().err


def test_replay_prints_the_stages_of_the_run_and_leaves_it_as_it_was(
    run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert main(["replay", str(run), "--plain", "--speed", "100000", "--max-wait", "0"]) == 0
    assert "TRAINING-PAIR-CREATED" in capfd.readouterr().out
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("command", [["merge", "-o", "out"], ["try", "Why?"], ["push", "me/small"]])
def test_a_run_without_an_adapter_is_refused_before_anything_is_loaded(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command[0], str(run), *command[1:]]) == 2
    assert "the run has no adapter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_gguf_type_is_refused_before_anything_is_loaded(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(run), "-o", "out", "--gguf", "Q9_9"]) == 2
    assert "unknown GGUF type 'Q9_9'" in capsys.readouterr().err
