"""Files that are whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.errors import StorageError


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
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
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
