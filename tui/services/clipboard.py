"""Copying through the terminal (OSC 52), which works over SSH too; long texts go to a file instead."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

from engine.files import write_atomically

MOST = 74_994
"""Bytes of base64 that terminals are known to take; more is cut off or ignored by many without a word."""


def sequence(text: str) -> str | None:
    """The escape sequence that puts the text into the terminal's clipboard; None where it is too long.

    `REDRAFT_OSC52_MAX` sets another limit, 0 turns copying through the terminal off.
    """
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    return f"\x1b]52;c;{encoded}\a" if len(encoded) <= _limit() else None


def write(text: str, folder: Path) -> Path:
    """Write the text into a new file of this folder. Returns its path.

    Raises:
        StorageError: it cannot be written.
    """
    name, number = f"copied-{time.strftime('%Y%m%d-%H%M%S')}", 1
    path = folder / f"{name}.txt"
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.txt"
    write_atomically(path, text.encode("utf-8", "replace"))
    return path


def _limit() -> int:
    try:
        return max(0, int(os.environ.get("REDRAFT_OSC52_MAX", MOST)))
    except ValueError:
        return MOST
