"""Files that the app writes beside those of a run: exports, pictures, and texts too long for the clipboard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine import paths
from engine.files import write_atomically
from engine.text import sanitize
from tui.services import clipboard
from tui.services.log_filter import LogFilter
from tui.views.formatting import count


async def write_export(folder: Path, formats: Sequence[str], verbosity: int, shown: LogFilter | None) -> str:
    """Write a run's records into its folder; returns which files, for the user.

    Args:
        folder: the run's.
        formats: of `engine.runs.export`; a file each.
        verbosity: what of each record is written.
        shown: only records that this filter of the log lets through.

    Raises:
        RedraftError: a file cannot be written, or there is no journal.
    """
    from engine.runs import export

    only = (lambda record: shown.in_event(record, verbosity)) if shown else None
    names: list[str] = []
    for file_format in formats:
        path = export.default_path(folder, file_format, verbosity)
        if only is not None:
            path = path.with_stem(f"{path.stem}-filtered")
        done = await asyncio.to_thread(export.export, folder, file_format, path, verbosity, only)
        names.append(f"{path.name} ({count(done.entries, 'record')})")
    filtered = "\nonly records that the log's filter shows" if shown else ""
    return f"{' and '.join(names)}\nin {path.parent}{filtered}"


async def write_page(folder: Path) -> Path:
    """Write a finished run's report as one HTML file into its folder; returns its path.

    Raises:
        RedraftError: the run has no report, or the file cannot be written.
    """
    from engine.export.html.write import default_path, write

    return await asyncio.to_thread(write, folder, default_path(folder))


def write_picture(folder: Path | None, svg: str) -> Path:
    """Write a picture of the screen; returns its path.

    Raises:
        StorageError: it cannot be written.
    """
    path = _folder(folder) / f"redraft-{time.strftime('%Y%m%d-%H%M%S')}.svg"
    write_atomically(path, svg.encode())
    return path


def copy(folder: Path | None, text: str, put: Callable[[str, str], None]) -> tuple[str, str]:
    """Copy a text through the terminal, unless it is too long for that, and write it into a file in any case: no
    terminal says whether it took the text.

    Args:
        folder: the run's.
        text: what is copied.
        put: takes the text and the escape sequence that copies it.

    Returns:
        Title and sentence for the user.

    Raises:
        StorageError: the file cannot be written.
    """
    text = sanitize(text)
    sequence = clipboard.sequence(text)
    if sequence is not None:
        put(text, sequence)
    path = clipboard.write(text, _folder(folder))
    size = f"{len(text):,} characters"
    if sequence is None:
        return "Too long for the clipboard", f"{size} written to {path}"
    return "Copied", f"{size} copied, if the terminal allows it; written to {path}"


def _folder(folder: Path | None) -> Path:
    return (folder or paths.data_dir()) / "exports"
