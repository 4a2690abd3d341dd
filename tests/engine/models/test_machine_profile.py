"""What this machine computes best with is measured once, and never where other programs falsify it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from engine.cores import usable
from engine.models import machine_profile
from engine.paths import cache_dir


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    return tmp_path


def stored() -> list[Path]:
    return list((cache_dir() / "machine").glob("*.json"))


def test_a_quiet_machine_is_measured_once_and_read_afterwards(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The load of the machine that runs the tests cannot be chosen.
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    first = machine_profile.machine_profile()
    (path,) = stored()
    changed = {**json.loads(path.read_text()), "rates": {"float32/64": 123.0}}
    path.write_text(json.dumps(changed))
    assert machine_profile.machine_profile().rates == {"float32/64": 123.0}
    assert 1 <= first.threads <= len(usable())
    assert first.dtype in ("float32", "bfloat16")
    assert all(rate > 0 for rate in first.rates.values())


def test_a_busy_machine_measures_the_dtype_alone_and_gets_all_cores(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = machine_profile._measure().dtype
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 3.0, 3.0))
    machine_profile._faster_dtype.cache_clear()
    found = machine_profile.machine_profile()
    assert found.threads == len(usable())
    assert found.dtype == quiet
    assert found.rates == {}
    assert stored() == []


class Work:
    """Products that take so many seconds of processor time, every third round four times as long."""

    def __init__(self, **seconds: float) -> None:
        self.now, self.calls = 0.0, 0
        self.products = {name: partial(self._multiply, cost) for name, cost in seconds.items()}

    def _multiply(self, cost: float) -> None:
        self.calls += 1
        self.now += cost * (4 if self.calls % 3 == 0 else 1)

    @property
    def dtype(self) -> str:
        return machine_profile._less_time(self.products, lambda: self.now)


@pytest.mark.parametrize(
    ("float32", "bfloat16", "chosen"),
    [(2e-3, 1e-3, "bfloat16"), (1.05e-3, 1e-3, "float32"), (1e-3, 2e-3, "float32"), (1e-3, 0.4, "float32")],
)
def test_bfloat16_is_chosen_where_it_takes_less_time_and_never_where_it_is_emulated(
    float32: float, bfloat16: float, chosen: str
) -> None:
    work = Work(float32=float32, bfloat16=bfloat16)
    assert work.dtype == chosen
    assert work.now < 4  # seconds, the first product of each included


def test_numpy_is_imported_with_one_thread_and_the_environment_stays() -> None:
    code = (
        "import os; from engine.models.machine_profile import import_numpy_with_one_thread as load;"
        "before = dict(os.environ); load(); import numpy; numpy.ones((300, 300)) @ numpy.ones((300, 300));"
        "print(len(os.listdir('/proc/self/task')), dict(os.environ) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_a_damaged_measurement_is_made_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    machine_profile.machine_profile()
    (path,) = stored()
    for text in (
        "",
        "{",
        '{"dtype": "int3", "threads": 1, "rates": {}}',
        '{"dtype": "float32", "threads": 0, "rates": {}}',
    ):
        path.write_text(text)
        assert machine_profile.machine_profile().rates


def test_openmp_is_told_before_torch_is_imported_and_a_persons_own_settings_stay() -> None:
    code = "import engine.models, os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    plain = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    for mine, told in (({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**plain, **mine}
        )
        assert done.stdout.split() == [told, "False"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from /proc")
def test_kernels_of_many_lengths_do_not_pile_up() -> None:
    code = """
import engine.models, ctypes, re, torch
def resident():
    ctypes.CDLL(None).malloc_trim(0)
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
weight = torch.ops.mkldnn._reorder_linear_weight(torch.ones(256, 128), None)
def multiply(rows):
    for count in rows:
        torch.ops.mkldnn._linear_pointwise(torch.ones(count, 128), weight, None, "none", [], "")
multiply(range(1, 65))
before = resident()
multiply(range(65, 465))
print(resident() - before)
"""
    plain = {k: v for k, v in os.environ.items() if not k.endswith("CACHE_CAPACITY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)
    assert float(done.stdout) < 50  # MB; 150 to 220 with the defaults of oneDNN and torch
