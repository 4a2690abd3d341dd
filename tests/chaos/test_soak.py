"""Runs back to back in one process, and a long journal in the app: memory and handles stay as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import Pty

from engine.settings import RunConfig, to_json

pytestmark = pytest.mark.alone

MINUTES = float(os.environ.get("REDRAFT_CHAOS_MINUTES", "0"))
"""Of the soak; 0 is the short form, which counts runs instead."""

# The app's own worker, one run after the other; memory and handles are looked at after each.
_RUNS = """
import gc, json, os, shutil, sys, time
from pathlib import Path
from engine.models import machine_profile
machine_profile.machine_profile = lambda **_: machine_profile.Profile("float32", 1, {})
from engine.settings import from_json
from engine.worker import WorkerStatus, StartRun, Worker
config = from_json(json.loads(sys.argv[1]))
minutes, least, runs = float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
worker = Worker(runs)
worker.start()
began, found = time.monotonic(), []
while len(found) < least or time.monotonic() - began < minutes * 60:
    worker.send(StartRun(config))
    while worker.state.status is WorkerStatus.IDLE:
        time.sleep(0.001)
    while worker.state.status is not WorkerStatus.IDLE:
        time.sleep(0.01)
    assert not worker.state.error, worker.state.error
    gc.collect()
    found.append([resident(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))])
    shutil.rmtree(worker.state.folder)
assert worker.shutdown(20)
print(json.dumps(found))
"""


def test_memory_and_handles_stay_flat_over_runs_back_to_back(config: RunConfig, home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _RUNS, json.dumps(to_json(config)), str(MINUTES), "4", str(tmp_path / "runs")]
    environment = {**os.environ, "REDRAFT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=600 + MINUTES * 90)
    found = json.loads(done.stdout.splitlines()[-1])
    memory, handles, tasks = ([row[column] for row in found] for column in range(3))
    # The first runs fill pools and caches; from then on a run must give back what it took.
    settled = len(found) // 3 + 1
    print(
        f"{len(found)} runs: {memory[0] / 1e6:.0f} MB after the first, {memory[settled] / 1e6:.0f} after run "
        f"{settled + 1}, {memory[-1] / 1e6:.0f} at the end; {handles[0]} to {max(handles)} handles",
        file=sys.stderr,
    )
    assert max(handles[1:]) == min(handles[1:])
    assert max(tasks[1:]) == min(tasks[1:])
    assert memory[-1] - memory[settled] < (4e6 + 20e3 * len(found) if MINUTES else 25e6)


_APP = "import sys, pathlib; from tui.app import run; sys.exit(run(folder=pathlib.Path({folder!r})))"

_WRITER = """
import sys
from pathlib import Path
from engine.runs.journal_writer import JournalWriter
text = "A draft of some fifty words, as they are. " * 8
with JournalWriter(Path(sys.argv[1])) as journal:
    for number in range(int(sys.argv[2])):
        journal.append("INITIAL-GENERATION", 2, "40 tokens", item=f"p-{number}", texts={"draft": text})
"""


def test_the_app_keeps_little_of_a_long_journal_in_memory(home: Path, tmp_path: Path) -> None:
    count = 400_000 if MINUTES else 20_000
    folder = tmp_path / "run"
    subprocess.run([sys.executable, "-c", _WRITER, str(folder), "100"], check=True)
    pty = Pty()
    slave = os.open(pty.name, os.O_RDWR)
    code = _APP.format(folder=str(folder))
    environment = {**os.environ, "REDRAFT_HOME": str(home), "TERM": "xterm-256color"}
    app = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    pty.until(lambda: b"Quit" in pty.sent)
    pty.pump(1.0)
    before, handles = resident(app.pid), len(os.listdir(f"/proc/{app.pid}/fd"))
    subprocess.run([sys.executable, "-c", _WRITER, str(folder), str(count)], check=True)
    size = (folder / "journal.jsonl").stat().st_size
    pty.until(lambda: has_read(app.pid) >= size, 300)
    pty.pump(2.0)
    grown = resident(app.pid) - before
    print(f"{count} records: {grown / 1e6:.1f} MB more, {grown / count:.0f} bytes each", file=sys.stderr)
    assert grown / count < 250 if MINUTES else grown < 40e6
    assert len(os.listdir(f"/proc/{app.pid}/fd")) == handles
    pty.type("\x11")
    pty.until(lambda: app.poll() is not None)
    assert app.returncode == 0
    assert pty.restored
    pty.close()


def resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def has_read(process: int) -> int:
    """Bytes, from all files and the terminal."""
    line = Path(f"/proc/{process}/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar:"))
