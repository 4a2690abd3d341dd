"""Tensors and JSON objects in files that Redraft writes itself: written whole or not at all, read back with errors that
say what is wrong. What others wrote is read by `engine.models.hub.weights`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import StorageError
from engine.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors. Returns the file's SHA-256, hexadecimal.

    Raises:
        StorageError: if it cannot be written.
    """
    from safetensors.torch import save

    data = save(dict(tensors), metadata={"format": "pt"})
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        StorageError: if it is missing, unreadable or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except OSError as error:
        raise StorageError(f"the file cannot be read ({error.strerror}).", where=str(path)) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise StorageError(f"the file is damaged ({error}).", where=str(path)) from error
    return tensors


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as JSON.

    Raises:
        StorageError: if it cannot be written.
    """
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        StorageError: if it is missing, unreadable or no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise StorageError(f"the file cannot be read ({error.strerror}).", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"the file is not JSON ({error}).", where=str(path)) from error
    if not isinstance(value, dict):
        raise StorageError("the file holds no JSON object.", where=str(path))
    return value
