"""Files and folders that are whole or absent: written under a temporary name at the same place, then renamed.

A process that is killed meanwhile leaves its half behind: of a file under a name that `sweep` knows, of a folder until
the same folder is written again.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.errors import InputError, StorageError
from engine.text import sanitize, truncate


def expanded(path: Path | str) -> Path:
    """The path with "~" as the user's home folder.

    Raises:
        InputError: there is no such home folder, or a NUL character in the path.
    """
    shown = _shown(path)
    if "\0" in str(path):
        raise InputError("there is a NUL character in this path.", where=shown, next_step="Leave it out.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError("there is no user of this name here.", where=shown, next_step="Write the path out.") from None


def missing_advice(path: Path) -> str:
    """What to do about a file that is not there, by what is there instead."""
    try:
        if path.is_symlink():
            return f"It is a link to {_shown(os.readlink(path))}, which is not there."
        if not path.parent.is_dir():
            return f"There is no folder {_shown(path.parent)}: check the path."
        near = similar_path(path)
    except (OSError, ValueError):
        return "Check the path."
    return f"Did you mean {_shown(near)}?" if near is not None else "Check the path."


def similar_path(path: Path) -> Path | None:
    """What lies in the same folder under almost the same name; None where nothing does.

    Raises:
        OSError: the folder cannot be read.
    """
    names = {other.name.casefold(): other.name for other in itertools.islice(path.parent.iterdir(), 2_000)}
    near = difflib.get_close_matches(path.name.casefold().strip(" '\""), names, n=1, cutoff=0.8)
    return path.parent / names[near[0]] if near else None


def _shown(path: Path | str) -> str:
    return truncate(sanitize(str(path)).replace("\n", " "), 200)


def own_folder(folder: Path) -> None:
    """Make the folder and those above it that are missing, all for their owner only, whatever the umask says.

    Raises:
        OSError: as the system raises it.
    """
    missing = [folder, *folder.parents]
    for place in reversed([place for place in missing if not place.exists()]):
        place.mkdir(mode=0o700, exist_ok=True)


_PART = ".part"


def is_part(path: Path) -> bool:
    """Whether this is a file that was being written (or still is), by its name."""
    return path.name.startswith(".") and path.name.endswith(_PART)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half written in this folder; only for the one that owns it now."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if is_part(path):
                with contextlib.suppress(OSError):
                    path.unlink()


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write the file so that a reader sees the old content or the new, never a part.

    Raises:
        StorageError: no space, no permission, or a folder in the way; names the file.
    """
    with open_atomically(path, mode) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomically(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it takes its place when the block ends, and is gone when the block raises.

    Raises:
        StorageError: no space, no permission, or a folder in the way; names the file. An `OSError` that the block
            itself raises is taken for one of these, so only write inside it.
    """
    with replaced_atomically(path) as part, part.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """An empty file next to `path`, its owner's alone, for code that writes by name; as `open_atomically` otherwise."""
    temporary = ""
    try:
        own_folder(path.parent)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=_PART, dir=path.parent)
        os.close(descriptor)
        yield Path(temporary)
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise StorageError(
            f"the file cannot be written ({error.strerror}).",
            where=str(path),
            next_step="Check the folder's permissions and free space, or choose another place.",
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


_UNFINISHED = ".part-"


def is_unfinished(path: Path) -> bool:
    """Whether the path lies in a folder that `new_folder` has not finished."""
    return any(name.startswith(".") and _UNFINISHED in name for name in path.absolute().parts)


def holds_something(target: Path) -> bool:
    """Whether there is a file of this name, or a folder that is not empty; what `new_folder` left there does not count.

    Raises:
        OSError: as the system raises it.
    """
    if not target.is_dir():
        return target.exists() or target.is_symlink()
    return any(not _is_leftover(path, target.resolve().name) for path in target.iterdir())


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder of the target's name to write into; it takes the target's place when the block ends, and is gone when
    the block raises. What killed processes left of the same target is removed first.

    Args:
        target: not there, or a folder, which then keeps its permissions (and is perhaps a disk of its own) and what
            it holds, but for files of the same names.

    Raises:
        OSError: as the system raises it.
    """
    target = target.resolve()
    place = target if target.is_dir() else target.parent
    place.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place, target.name)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}{_UNFINISHED}", dir=place))
    with _locked(work):
        try:
            made = work / target.name
            made.mkdir()
            yield made
            if place == target:
                for path in made.iterdir():
                    path.rename(target / path.name)
            else:
                made.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _is_leftover(path: Path, name: str) -> bool:
    return path.name.startswith(f".{name}{_UNFINISHED}")


def _remove_leftovers(place: Path, name: str) -> None:
    """Remove unfinished folders that no process holds any more."""
    for path in place.iterdir():
        if _is_leftover(path, name):
            with contextlib.suppress(OSError), _locked(path) as free:
                if free:
                    shutil.rmtree(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, which ends with the process; False where another holds it, or the disk has no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
