"""A disk that fills up at any write: a clear message, a readable journal, a run that goes on once there is space."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_processes import COUNT, FULL, LONG, ONCE, SEED, ForkServer, RunProcesses, Whole, as_arguments, check

from engine.runs.journal_reader import JournalReader
from engine.settings import RunConfig

pytestmark = pytest.mark.alone

Runs = Callable[[str], RunProcesses]


@pytest.fixture(scope="module")
def operations(fork_server: ForkServer, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many operations on files a run makes that need space."""
    if not fork_server.faults:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("counted")
    processes = RunProcesses(fork_server, folder / "run", config, as_arguments(config))
    child = processes.begin(fault=[str(processes.folder), COUNT, -1], count=str(folder / "count"))
    assert fork_server.wait(child) == 0, processes.log.read_text()
    return int((folder / "count").read_text())


def fails_clearly(processes: RunProcesses, code: int) -> None:
    """What a person sees of a full disk, and what is left on it."""
    told = processes.log.read_text()
    assert code == 4, told
    assert "No space left" in told
    assert "Traceback" not in told
    reader = JournalReader(processes.folder)
    reader.poll()
    assert reader.damage == []


@pytest.mark.parametrize("how", [FULL, ONCE], ids=["full", "full for a moment"])
def test_where_any_write_finds_the_disk_full_the_run_ends_clearly_and_goes_on_later(
    run: Runs, operations: int, whole: Whole, like: Path, how: int
) -> None:
    failed = 0
    step = max(1, operations // (LONG or 3))
    for at in range((SEED + how) % step, operations, step):
        processes = run(f"full-{at}")
        code = processes.fork_server.wait(processes.begin(fault=[str(processes.folder), how, at]))
        if code:
            fails_clearly(processes, code)
            failed += 1
        processes.finish()
        check(processes.folder, whole, like)
    print(f"{failed} failures at {operations} operations", file=sys.stderr)
    # Of a disk that took a part of a write and then the rest a run need not notice anything.
    assert failed > (1 if how == FULL else 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root may have one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def resize(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def test_on_a_file_system_that_really_is_full(
    fork_server: ForkServer, run: Runs, small_disk: Path, whole: Whole, like: Path
) -> None:
    processes = run("unused")
    processes.folder = small_disk / "run"
    processes.__post_init__()
    failed = 0
    for kilobytes in (64, 128, 256, 512, 1024, 65536):
        resize(small_disk, f"size={kilobytes}k")
        log = small_disk.with_suffix(".log")
        log.unlink(missing_ok=True)
        code = fork_server.wait(fork_server.begin(what="command", arguments=processes.command, log=str(log)))
        if code == 0:
            break
        assert code == 4, log.read_text()
        assert "No space left" in log.read_text()
        failed += 1
    assert failed >= 2
    check(processes.folder, whole, like)


def test_in_a_folder_that_is_read_only_nothing_is_begun_and_everything_can_be_read(
    fork_server: ForkServer, config: object, run: Runs, like: Path, small_disk: Path, tmp_path: Path
) -> None:
    resize(small_disk, "size=64m")
    subprocess.run(["cp", "-r", str(like), str(small_disk / "run")], check=True)
    journal = small_disk / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    (small_disk / "run" / "report.json").unlink()
    resize(small_disk, "ro")
    os.sync()

    def redraft(*arguments: str) -> tuple[int, str]:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        code = fork_server.wait(fork_server.begin(what="command", arguments=list(arguments), log=str(log)))
        return code, log.read_text()

    place = str(small_disk / "run")
    for arguments in (["resume", place], [*run("unused").command[:-1], str(small_disk / "new")]):
        code, told = redraft(*arguments)
        assert code == 4, told
        assert "Read-only file system" in told
        assert "Traceback" not in told
    code, told = redraft("watch", place)
    assert code == 0
    assert told.count("\n") > 10
    assert redraft("export", place, "--format", "jsonl", "-o", str(tmp_path / "out.jsonl"))[0] == 0
    code, told = redraft("watch", place, "--stop")
    assert code == 2
    assert "no process" in told
