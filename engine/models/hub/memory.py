"""How much memory this process may still take: what the machine has free, within the limits that a container sets.

Reads /proc and the control groups itself, so that it needs no package.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""Control groups say "no limit" with a number near 2^63."""


def available(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Bytes that can be taken before the system or the container's limit pushes back.

    Args:
        proc, groups: where the kernel shows itself; other folders in tests.
    """
    free = _machine(proc)
    for limit, used in _limits(proc, groups):
        free = min(free, max(0, limit - used))
    return free


def total(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Bytes that the machine has, or the container's limit where that is less."""
    found = _meminfo(proc).get("MemTotal") or _by_sysconf("SC_PHYS_PAGES")
    return min([found, *(limit for limit, _ in _limits(proc, groups))])


def peak_rss() -> int:
    """Most bytes that this process has held so far."""
    import resource

    try:
        # Where there is this figure it is the better one: `getrusage` starts a new program with its parent's peak.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", (_PROC / "self" / "status").read_text(), re.MULTILINE)
        if found:
            return int(found.group(1)) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident() -> int:
    """Bytes that this process holds now; 0 where the system does not report it (not Linux)."""
    try:
        return int((_PROC / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class Trimmer:
    """Calls `trim` where the process has grown since the last time: once a step, in loops whose steps free what they
    take. glibc fills the holes that a step leaves only in part with what the next one takes: eight steps of a training
    of 135M in bfloat16 grew from 1.5 to 2.2 GB, of which 1.1 were free.

    Args:
        grown: bytes.
    """

    def __init__(self, grown: int = 128_000_000) -> None:
        self._grown = grown
        self._before = resident()

    def __call__(self) -> None:
        if resident() > self._before + self._grown:
            trim()
            self._before = resident()


def trim() -> None:
    """Return to the system what this process has freed. glibc keeps freed tensors for the next ones, which is fast
    (`engine.models.machine_profile.prepare_environment`), but training leaves up to 1.5 GB that no later stage fills.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def release() -> None:
    """Free what only cycles hold, then `trim`; also of a GPU's cache."""
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()


def _machine(proc: Path) -> int:
    info = _meminfo(proc)
    if "MemAvailable" in info:
        return info["MemAvailable"]
    if sys.platform == "darwin":
        return _mac() or _by_sysconf("SC_PHYS_PAGES") // 2
    return _by_sysconf("SC_AVPHYS_PAGES")


def _meminfo(proc: Path) -> dict[str, int]:
    try:
        text = (proc / "meminfo").read_text()
    except OSError:
        return {}
    return {name: int(count) * 1024 for name, count in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def _by_sysconf(name: str) -> int:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def _mac() -> int:
    """Free, inactive, purgeable and speculative pages, as macOS counts them."""
    try:
        done = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return 0
    pages = dict(re.findall(r"^Pages (\w+):\s+(\d+)\.", done.stdout, re.MULTILINE))
    size = re.search(r"page size of (\d+) bytes", done.stdout)
    counted = sum(int(pages.get(kind, 0)) for kind in ("free", "inactive", "purgeable", "speculative"))
    return counted * (int(size.group(1)) if size else 16_384)


def _limits(proc: Path, groups: Path) -> list[tuple[int, int]]:
    """(limit, used) in bytes of every control group that this process is in, own and parents', of both versions."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if not kinds:
            for root in (groups, groups / "unified"):
                found += _walk(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            root = groups / "memory"
            found += _walk(root, path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return found


def _walk(root: Path, path: str, limit_name: str, used_name: str, reclaimable: str) -> list[tuple[int, int]]:
    # Inside a container the path may be the host's and not exist here; the root is then the container's own group.
    parts = [part for part in path.split("/") if part and part != ".."]
    found = []
    for depth in range(len(parts), -1, -1):
        place = root.joinpath(*parts[:depth])
        limit, used = _number(place / limit_name), _number(place / used_name)
        if limit is None or used is None or limit >= _NO_LIMIT:
            continue
        # The system frees file pages that were not used lately before it refuses memory.
        found.append((limit, max(0, used - _statistic(place / "memory.stat", reclaimable))))
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _statistic(path: Path, name: str) -> int:
    try:
        match = re.search(rf"^{name} (\d+)$", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match.group(1)) if match else 0
