"""`redraft run`, stop, `resume`, `show`, `export` as a person types them, on a tiny random model of a real family.

What the models write is tested elsewhere; here it only has to be the engine's own loop that runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.events.verbosity import entry
from engine.runs.export import row
from engine.runs.journal_reader import JOURNAL, read
from tui.commands.run import _own

SMALL = ("--judge", "rules", "--candidates", "2", "--max-tokens", "16", "--set", "critique.max_tokens=16")


@pytest.fixture
def model(tiny: Callable[..., Path]) -> Path:
    return tiny("llama", max_position_embeddings=8192)


def redraft(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tui.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


def test_a_run_prints_its_stages_and_leaves_what_the_other_commands_read(
    redraft_home: Path, tmp_path: Path, model: Path
) -> None:
    counts = ("--n-train", 3, "--n-heldout", 2, "--n-benign", 0, "--seed", 5)
    done = redraft("run", "--generator", model, *SMALL, *counts, "--verbosity", 3)
    (info,) = json.loads(redraft("runs", "--json").stdout)
    folder = Path(info["folder"])
    assert info["state"] == "finished"

    printed = " ".join(done.stdout.split())
    events = list(read(folder))
    for event in events:
        shown = None if event.stage == "PROGRESS" else entry(event, 3)
        if shown is not None:
            assert " ".join(f"{shown.time} {shown.stage} {shown.summary}".split()) in printed
            assert all(" ".join(part.text.split()) in printed for part in shown.parts)
    for stage in ("INITIAL-GENERATION", "INITIAL-EVALUATION", "CRITIQUE-GENERATION", "REVISION-GENERATION"):
        assert sum(event.stage == stage for event in events) == 3
    assert "draft" in done.stderr

    exported = json.loads(redraft("export", "last", "-o", "-").stdout)
    assert exported == [made for made in map(row, events) if made is not None]
    report = json.loads(redraft("show", "--json").stdout)
    assert report["config"]["seed"] == report["config"]["train"]["seed"] == 5
    told = redraft("show").stdout
    assert "constitution constitution" not in told
    assert "Redraft's default constitution" in told
    # Nothing is left to do, and nothing is done.
    size = (folder / JOURNAL).stat().st_size
    assert json.loads(redraft("resume", "last", "--json").stdout)["state"] == "finished"
    assert (folder / JOURNAL).stat().st_size == size


def test_a_run_that_is_stopped_keeps_what_it_has_and_resume_finishes_it(
    redraft_home: Path, tmp_path: Path, model: Path
) -> None:
    folder = tmp_path / "my run"
    command = ["run", "--generator", model, *SMALL, "--n-train", "60", "--n-heldout", "2", "--n-benign", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tui.cli", *map(str, command), "--output", folder, "--set", "draft.max_tokens=300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "INITIAL-GENERATION" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "RUN-STOPPED" in out
    assert f"redraft resume {folder}" in err
    drafted = {event.item for event in read(folder) if event.stage == "INITIAL-GENERATION"}
    assert drafted

    told = json.loads(redraft("resume", folder, "--json").stdout)
    assert (told["state"], told["folder"], told["report"]) == ("finished", str(folder), str(folder / "report.json"))
    drafts = [event.item for event in read(folder) if event.stage == "INITIAL-GENERATION"]
    assert len(drafts) == len(set(drafts)) == 60
    assert drafted <= set(drafts)


def test_a_folder_in_which_a_process_died_before_its_run_began_can_be_named_again(tmp_path: Path) -> None:
    for name in ("lock", "journal.jsonl", ".run.json.a1b2c3.part"):
        (tmp_path / name).touch()
    assert _own(tmp_path) == tmp_path
    (tmp_path / "journal.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="not empty"):
        _own(tmp_path)


def test_texts_stay_out_of_the_journal_where_that_is_asked(redraft_home: Path, tmp_path: Path, model: Path) -> None:
    (tmp_path / "prompts.txt").write_text("What is the XYZZY word?\n")
    (tmp_path / "heldout.txt").write_text("And the PLUGH word?\n")
    prompts = ("--train-prompts", tmp_path / "prompts.txt", "--heldout-prompts", tmp_path / "heldout.txt")
    told = json.loads(redraft("run", "-g", model, *SMALL, *prompts, "--n-benign", 0, "--no-texts", "--json").stdout)
    assert told["state"] == "finished"
    for path in Path(told["folder"]).rglob("*"):
        if path.is_file():
            assert b"XYZZY" not in path.read_bytes(), path.name
            assert b"PLUGH" not in path.read_bytes(), path.name


def test_a_model_that_cannot_be_loaded_is_refused_with_its_own_code_and_leaves_no_run(
    redraft_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    done = redraft("run", "--generator", tmp_path / "model", "--judge", "rules", "--json", code=3)
    assert json.loads(done.stdout)["error"]["type"] == "ModelError"
    assert json.loads(redraft("runs", "--json").stdout) == []
    assert not (redraft_home / "data").exists()
