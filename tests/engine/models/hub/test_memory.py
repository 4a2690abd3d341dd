"""Free memory as the kernel and the control groups tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.models.hub import memory

MIB = 1 << 20


def system(root: Path, groups: str, free: int = 8_000) -> tuple[Path, Path]:
    proc = root / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {16_000 * 1024} kB\nMemFree: 1 kB\nMemAvailable: {free * 1024} kB\n")
    (proc / "self" / "cgroup").write_text(groups)
    return proc, root / "groups"


def group(place: Path, version: int, limit: int | str, used: int, inactive: int = 0) -> None:
    place.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (place / names[0]).write_text(f"{limit}\n")
    (place / names[1]).write_text(f"{used}\n")
    (place / "memory.stat").write_text(f"anon 5\n{names[2]} {inactive}\n")


def test_without_limits_it_is_what_the_machine_has_available(tmp_path: Path) -> None:
    assert memory.available(*system(tmp_path, "0::/\n")) == 8_000 * MIB


def test_a_limit_of_version_two_counts_less_what_is_used_and_cannot_be_reclaimed(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/job\n")
    group(groups / "job", 2, 4_000 * MIB, 3_000 * MIB, inactive=500 * MIB)
    assert memory.available(proc, groups) == 1_500 * MIB
    assert memory.total(proc, groups) == 4_000 * MIB


def test_the_tightest_of_own_and_parent_groups_counts(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/outer/inner\n")
    group(groups / "outer" / "inner", 2, "max", 100 * MIB)
    group(groups / "outer", 2, 2_000 * MIB, 1_900 * MIB)
    assert memory.available(proc, groups) == 100 * MIB


def test_version_one_is_read_too_and_its_no_limit_ignored(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "3:cpu:/x\n4:memory:/x\n")
    group(groups / "memory" / "x", 1, 3_000 * MIB, 1_000 * MIB)
    group(groups / "memory", 1, 9_223_372_036_854_771_712, 0)
    assert memory.available(proc, groups) == 2_000 * MIB


def test_a_path_of_the_host_that_does_not_exist_here_falls_back_to_the_root(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/../../kubepods/pod1\n")
    group(groups, 2, 1_000 * MIB, 400 * MIB)
    assert memory.available(proc, groups) == 600 * MIB


def test_more_used_than_allowed_leaves_nothing(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/\n")
    group(groups, 2, 100 * MIB, 200 * MIB)
    assert memory.available(proc, groups) == 0


@pytest.mark.parametrize("content", ["", "garbage", "0:", "x:y:z:w\n", "4:memory:relative\n"])
def test_damaged_files_of_the_kernel_do_not_matter(tmp_path: Path, content: str) -> None:
    assert memory.available(*system(tmp_path, content)) == 8_000 * MIB


def test_this_machine_has_some_memory() -> None:
    assert 0 < memory.available() <= memory.total()
    assert memory.peak_rss() > 1_000_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_memory_goes_back_where_a_loop_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    held, calls = [100.0], []
    monkeypatch.setattr(memory, "resident", lambda: held[0])
    monkeypatch.setattr(memory, "trim", lambda: (calls.append(held[0]), held.__setitem__(0, 120.0)))
    trim = memory.Trimmer(grown=50)
    for grown in (140, 160, 150, 169, 171):
        held[0] = grown
        trim()
    assert calls == [160, 171]
    monkeypatch.undo()
    assert abs(memory.resident() - memory.peak_rss()) < memory.peak_rss()
