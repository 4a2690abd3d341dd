"""Writes a run's HTML report to a file."""

from __future__ import annotations

from pathlib import Path

from engine.errors import InputError
from engine.export.html.page import page
from engine.export.training_pairs import read_history
from engine.files import write_atomically
from engine.runs.store import read_report


def default_path(folder: Path) -> Path:
    """The file in the run's folder that is written where no other is named."""
    return folder / "exports" / f"{folder.name}.html"


def write(folder: Path, path: Path) -> Path:
    """Write the report of a finished run as one HTML file; returns the file.

    Raises:
        InputError: the run has no report, or `path` is a folder.
        StorageError: report, journal or file cannot be read or written.
    """
    if path.is_dir():
        raise InputError("this is a folder.", where=str(path), next_step="Name a file in it.")
    text = page(folder.name, read_report(folder), read_history(folder))
    write_atomically(path, text.encode("utf-8", "replace"), 0o600)
    return path
