"""`redraft doctor`: what a bug report needs and nothing that a person would not want to paste."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from engine.doctor import without_home
from engine.runs.journal_writer import JournalWriter
from tui.commands.doctor import lines


def doctor(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tui.cli", "doctor", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupted(home: Path) -> None:
    with JournalWriter(home / "data" / "runs" / "demo-1") as journal:
        journal.append("RUN-START", 1, "begins", data={"config": {"preset": "demo"}})
        journal.append("INITIAL-GENERATION", 2, "12 tokens", item="p1", texts={"draft": "XYZZY"})
        journal.append("STAGE-START", 1, "draft", data={"name": "draft", "total": 20, "done": 12})


def test_it_tells_of_machine_and_runs_but_no_text_no_secret_and_no_name(redraft_home: Path) -> None:
    interrupted(redraft_home)
    secret = {"HF_TOKEN": "hf_PLUGH", "OPENAI_API_KEY": "sk-PLUGH", "SSH_CONNECTION": "10.9.8.7 1 10.9.8.6 22"}
    for arguments in ((), ("--json",)):
        told = doctor(*arguments, **secret)
        for hidden in ("XYZZY", "PLUGH", "10.9.8.", socket.gethostname()):
            assert hidden not in told
        for wanted in ("torch", "demo-1", "stopped", "draft", "ssh"):
            assert wanted in told
    found = json.loads(told)
    assert found["runs"]["recent"][0]["total"] == 20
    assert found["compute"]["cpu"]["threads"] >= 1
    assert found["compute"]["cpu"]["dtype"] in ("float32", "bfloat16")  # by what was measured on this machine
    assert found["space"]["data"]["free"] > 0
    assert found["terminal"]["ssh"] is True


def test_a_part_that_cannot_be_examined_does_not_hide_the_others(redraft_home: Path) -> None:
    (redraft_home / "data").write_text("in the way")
    found = json.loads(doctor("--json"))
    assert "data" in found["runs"]["error"]
    assert found["versions"]["torch"]


def test_the_home_folder_is_not_named() -> None:
    assert without_home(f"{Path.home()}/.cache/redraft: full") == "~/.cache/redraft: full"


WANTED = {
    "versions": {"python", "redraft", "torch", "transformers", "textual", "system"},
    "machine": {"cores", "load", "memory", "memory_free", "settings"},
    "compute": {"devices", "cpu"},
    "space": {"data", "cache", "settings"},
    "cache": {"models", "embedded_package"},
    "runs": {"count", "recent"},
    "terminal": {"stdin", "stdout", "size", "term", "colors", "unicode", "encoding", "ssh", "tmux", "no_color"},
}
"""What the issue template asks for: section -> at least these."""


def test_it_tells_all_that_a_bug_report_asks_for(redraft_home: Path) -> None:
    interrupted(redraft_home)
    (redraft_home / "data" / "runs" / "damaged-1").mkdir()
    (redraft_home / "data" / "runs" / "damaged-1" / "run.json").write_text("nonsense")
    found = json.loads(doctor("--json", TERM="xterm-256color", COLORTERM="", NO_COLOR="1"))
    assert list(found) == list(WANTED)
    for section, members in WANTED.items():
        assert members <= set(found[section]), section
    device = found["compute"]["devices"][-1]
    assert (device["name"], device["dtype"]) == ("cpu", found["compute"]["cpu"]["dtype"])
    assert 0 < found["machine"]["memory_free"] <= found["machine"]["memory"]
    assert {run["id"]: run["state"] for run in found["runs"]["recent"]} == {"demo-1": "stopped", "damaged-1": "damaged"}
    assert found["terminal"]["colors"] == "none"
    shown = list(lines(found))
    assert set(WANTED) <= set(shown)
    assert any("demo-1" in line and "stopped" in line for line in shown)


def test_neither_a_variable_nor_a_journal_reaches_the_terminal_as_a_command_or_brings_a_secret(
    redraft_home: Path,
) -> None:
    with JournalWriter(redraft_home / "data" / "runs" / "demo-1") as journal:
        journal.append("RUN-START", 1, "begins", data={"config": {"preset": "x\x1b[2J", "generator": "XYZZY"}})
        journal.append("INITIAL-GENERATION", 2, "x", item="p1", texts={"draft": "XYZZY"}, raw={"request": "XYZZY"})
        journal.append("ERROR", 1, f"{Path.home()}/models: gone\x1b]0;t\x07", raw={"traceback": "XYZZY"})
    told = doctor(TERM="\x1b[31mxterm", TERM_PROGRAM="\x9b2J", COLORTERM="\x1b]52;c;x\x07", HF_TOKEN="XYZZY")
    assert "\x1b" not in told
    assert "\x9b" not in told
    assert "\x07" not in told
    assert "XYZZY" not in told
    assert str(Path.home()) not in told
    assert "~/models: gone" in told
