"""What the kernel counts of this machine's cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import cores


def test_busy_time_is_that_of_the_cores_which_this_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 999 999 4 6 40 7 7\ncpu1 5 5 5 5 5 5 5 5 0 0\nintr 1\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    # Idle and waiting are left out, what the hypervisor took is not; guests are in "user" already.
    assert cores.busy_seconds(stat) == pytest.approx(2.0)
    assert cores.busy_seconds(tmp_path / "none") is None


def test_a_system_without_affinity_lets_a_process_use_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert cores.usable() == {0, 1, 2}
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cores.usable() == {0}
