"""Files that are whole or absent: written to a temporary file in the same folder, synced, then renamed.

A process that is killed meanwhile leaves its half behind, under a name that `sweep` knows.
"""

from __future__ import annotations

import contextlib
import os
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
    shown = truncate(sanitize(str(path)).replace("\n", " "), 200)
    if "\0" in str(path):
        raise InputError("there is a NUL character in this path.", where=shown, next_step="Leave it out.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError("there is no user of this name here.", where=shown, next_step="Write the path out.") from None


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
