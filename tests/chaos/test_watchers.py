"""Eight watchers on a run that writes 5,000 records a second: the writer does not feel them, and each sees all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_processes import LONG, ForkServer

pytestmark = pytest.mark.alone

_WRITER = """
import json, os, sys, time
from pathlib import Path
from engine.runs.journal_writer import JournalWriter
folder, rate, seconds = Path(sys.argv[1]), 5000, float(sys.argv[2])
text = "A draft of some fifty words, as they are. " * 8
with JournalWriter(folder) as journal:
    journal.append("RUN-START", 1, "begins")
    began, spent = time.perf_counter(), time.process_time()
    count = 0
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(int(passed * rate) - count):
            journal.append("INITIAL-GENERATION", 2, "40 tokens", item=f"p-{count}", texts={"draft": text})
            count += 1
        time.sleep(0.001)
    passed, spent = time.perf_counter() - began, time.process_time() - spent
    journal.append("RUN-COMPLETE", 1, "done")
print(json.dumps({"rate": count / passed, "spent": spent / count, "records": count + 2}))
"""

# What every watcher does: look ten times a second, take what is new.
_READER = """
import json, sys, time
from pathlib import Path
from engine.runs.journal_reader import JournalReader
reader, seen = JournalReader(Path(sys.argv[1])), []
last = None
print("ready", flush=True)
spent = time.process_time()
while last != "RUN-COMPLETE":
    time.sleep(0.1)
    for event in reader.poll():
        seen.append(event.seq)
        last = event.stage
print(json.dumps({"seen": len(seen), "whole": seen == list(range(len(seen))), "damage": len(reader.damage),
                  "spent": time.process_time() - spent}))
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = process.communicate(timeout=300)
    answer: dict[str, float] = json.loads(out)
    return answer


def test_eight_readers_see_every_record_and_do_not_hold_up_the_writer(tmp_path: Path) -> None:
    seconds = 10 if LONG else 2
    alone = said(python(_WRITER, tmp_path / "alone", seconds))
    readers = [python(_READER, tmp_path / "watched") for _ in range(8)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    watched = said(python(_WRITER, tmp_path / "watched", seconds))
    found = [said(reader) for reader in readers]
    assert all(one["seen"] == watched["records"] and one["whole"] and not one["damage"] for one in found)
    lost = 1 - watched["rate"] / alone["rate"]
    print(
        f"alone {alone['rate']:.0f}/s at {alone['spent'] * 1e6:.0f} us of CPU each, with eight readers "
        f"{watched['rate']:.0f}/s at {watched['spent'] * 1e6:.0f} us: {lost:.2%} lost; a reader took "
        f"{found[0]['spent'] / seconds:.1%} of a core",
        file=sys.stderr,
    )
    if LONG:  # a busy machine would fail this for reasons of its own
        assert lost < 0.02


def test_eight_terminals_with_redraft_watch_show_every_record(fork_server: ForkServer, tmp_path: Path) -> None:
    seconds = 10 if LONG else 2
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text('{"kind": "run", "config": {"preset": "demo"}}')
    writer = python(_WRITER, folder, seconds)
    while not (folder / "journal.jsonl").exists():
        assert writer.poll() is None
    arguments = ["watch", str(folder), "--json", "-v", "3"]
    watchers = [
        fork_server.begin(what="command", arguments=arguments, log=str(tmp_path / f"{n}.log")) for n in range(8)
    ]
    wrote = said(writer)
    assert [fork_server.wait(watcher) for watcher in watchers] == [0] * 8
    print(f"eight times `redraft watch --json`: the writer kept {wrote['rate']:.0f} of 5,000/s", file=sys.stderr)
    for number in range(8):
        lines = (tmp_path / f"{number}.log").read_bytes().splitlines()
        rows = [line for line in lines if line.startswith(b"{")]
        assert len(rows) == wrote["records"]


def test_ends_that_are_told_in_one_breath_are_all_heard(fork_server: ForkServer, tmp_path: Path) -> None:
    children = [
        fork_server.begin(what="command", arguments=["--version"], log=str(tmp_path / "log")) for _ in range(12)
    ]
    time.sleep(2.0)  # meanwhile all of them end, and are told of together
    assert [fork_server.wait(child, seconds=60.0) for child in reversed(children)] == [0] * 12
