"""How many threads and which number format this machine computes best with, and settings that keep it from collapsing
when other programs want its cores.

Importable without torch: `prepare_environment` has to come before torch does.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from engine.cores import usable
from engine.paths import cache_dir

_SPIN = "1000"
"""Rounds (some microseconds in all) that an OpenMP thread waits for the others before it sleeps; millions by default:
with another program on one of two cores that wait takes a whole time slice at each of a thousand barriers a step
(measured, see docs/log/generation.md)."""
_KERNELS = "64"
"""Compiled kernels that oneDNN keeps, and those that torch keeps of it; 1,024 each by default. Every new number of rows
is a new kernel: a training of 68 steps held 1.5 GB of them (docs/memory.md). One pass needs some 50."""
_INPUTS, _OUTPUTS = 576, 1536
"""Sizes of the matrix that is measured: the embedded model's feed-forward layer."""
_VERSION = 2
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


@dataclass(frozen=True)
class Profile:
    """What was measured on this machine.

    Args:
        dtype: "bfloat16" or "float32": the one that takes less processor time for a batch of 64 rows.
        threads: of torch within one operation.
        rates: TFLOP/s of a matrix product by dtype and rows, such as "bfloat16/64".
    """

    dtype: str
    threads: int
    rates: dict[str, float]


def prepare_environment() -> None:
    """Set what OpenMP and oneDNN read when torch is first imported, and keep freed memory for the next tensor.

    Leaves settings of the user alone. These settings are without effect if torch is imported already; call it first
    thing.
    """
    _keep_memory()
    if "torch" in sys.modules:
        return
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN)
    # Blocking instead of spinning for Intel's and LLVM's runtimes, which builds of torch for other systems carry.
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, _KERNELS)


def _keep_memory() -> None:
    """Have glibc serve tensors of up to 32 MB from memory that it holds. By default such memory goes back to the system
    when freed, and each new tensor pays for its pages again: a softmax over 64 x 49,152 takes 12.5 ms instead of 2.0.
    """
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, 512 << 20)


def import_numpy_with_one_thread() -> None:
    """Import numpy so that its OpenBLAS uses one thread in this process; without effect if it is imported already.

    For a few short texts: two threads that wait for each other on a busy machine take 30 times as long as one (15
    tokens through 22 layers of the embedded model: .11 s with one thread, 3.4 s with two beside other programs).
    """
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = before or "1"
    try:
        import numpy  # noqa: F401
    finally:
        if before is None:
            del os.environ["OPENBLAS_NUM_THREADS"]


def machine_profile(*, again: bool = False) -> Profile:
    """The measured profile: from the cache, or measured now (2 to 4 s) and stored there.

    A cache that cannot be read or written is no error: the profile is then measured each time. While other programs use
    the machine, a rate would say more about them than about it: then only the dtype is measured, by processor time, and
    the profile has all cores and no rates.

    Args:
        again: measure even where there is a stored one.
    """
    place = cache_dir() / "machine" / f"{_key()}.json"
    found = None if again else _read(place)
    if found is None:
        busy = _busy()
        if busy and not again:
            return Profile(_faster_dtype(), len(usable()), {})
        found = _measure()
        if not busy:
            _write(place, found)
    return found


def _busy() -> bool:
    """Whether other work has taken more than half a core over the last minute."""
    try:
        return os.getloadavg()[0] > 0.5
    except OSError:
        return False


@cache
def _faster_dtype() -> str:
    """ "bfloat16" where it takes clearly less processor time than float32, else "float32".

    One thread, short rounds in turn, the shortest of each: other programs stretch the clock's time, not this one. What
    the processor lists as its instruction sets does not decide it: bfloat16 may be emulated all the same.
    """
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        return _less_time({name: _product(name, 64) for name in ("float32", "bfloat16")}, time.thread_time)
    finally:
        torch.set_num_threads(before)


def _less_time(products: dict[str, Callable[[], object]], clock: Callable[[], float], seconds: float = 0.3) -> str:
    """ "bfloat16" if its shortest round takes less than 1 / 1.15 of float32's.

    Args:
        products: one product by dtype.
        clock: seconds of the time that counts.
        seconds: of rounds, by that clock.
    """
    best = dict.fromkeys(products, float("inf"))
    for product in products.values():
        product()  # the first call compiles a kernel
    end = clock() + seconds
    while clock() < end:
        for name, product in products.items():
            start = clock()
            product()
            best[name] = min(best[name], clock() - start)
    return "bfloat16" if 1.15 * best["bfloat16"] < best["float32"] else "float32"


def apply(profile: Profile) -> None:
    """Make torch use the profile's threads, unless the user has set how many (OMP_NUM_THREADS)."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() != profile.threads:
        torch.set_num_threads(profile.threads)


def _key() -> str:
    import hashlib

    import torch

    name = "|".join((str(_VERSION), _cpu_model(), str(len(usable())), str(torch.__version__), platform.machine()))
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _cpu_model() -> str:
    """The processor's name with its instruction sets, as far as the system reports them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "cpu family", "model", "flags", "Features")
    return "|".join(sorted({line for line in lines if line.split("\t")[0].strip(": ") in wanted}))


def _read(place: Path) -> Profile | None:
    try:
        raw = json.loads(place.read_text())
        profile = Profile(str(raw["dtype"]), int(raw["threads"]), {k: float(v) for k, v in raw["rates"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return profile if profile.dtype in ("float32", "bfloat16") and 0 < profile.threads <= len(usable()) else None


def _write(place: Path, profile: Profile) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(asdict(profile)))
        temporary.replace(place)
    except OSError:
        return


def _measure() -> Profile:
    """Times products of a layer's shape (64 and 640 rows) in both formats with all cores and with half of them.

    Half can win where two "cores" are one core's two threads.
    """
    import torch

    before = torch.get_num_threads()
    counts = sorted({len(usable()), max(1, len(usable()) // 2)}, reverse=True)
    best: tuple[float, int] = (0.0, counts[0])
    rates: dict[str, float] = {}
    try:
        for count in counts:
            torch.set_num_threads(count)
            found = {f"{name}/{rows}": _rate(name, rows) for name in ("float32", "bfloat16") for rows in (64, 640)}
            whole = max(found["float32/640"], found["bfloat16/640"])
            # A tenth more must speak for fewer threads: the measurement is a short one.
            if whole > best[0] * 1.1:
                best, rates = (whole, count), found
    finally:
        torch.set_num_threads(before)
    return Profile(_faster_dtype(), best[1], {name: round(rate, 4) for name, rate in rates.items()})


def _rate(dtype: str, rows: int, seconds: float = 0.15) -> float:
    """TFLOP/s of [rows, 576] by [576, 1536], best of several looks."""
    product = _product(dtype, rows)
    best = float("inf")
    product()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(4):
            product()
        best = min(best, (time.perf_counter() - start) / 4)
    return 2 * rows * _INPUTS * _OUTPUTS / best / 1e12


def _product(dtype: str, rows: int) -> Callable[[], object]:
    """[rows, 576] by [576, 1536], as the decoder multiplies."""
    import torch

    from engine.models.nn.linear import Linear, Projection

    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    linear = Linear(torch.ones(_OUTPUTS, _INPUTS, dtype=kind), None, [Projection("measured", 0, _OUTPUTS)])
    x = torch.ones(rows, _INPUTS, dtype=kind)

    def multiply() -> None:
        with torch.inference_mode():
            linear.linear(x)

    return multiply
