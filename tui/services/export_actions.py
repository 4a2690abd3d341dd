"""What leaves the app: exports of a run, pictures of the screen, and texts on their way to the clipboard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine import paths
from engine.errors import RedraftError, StorageError
from engine.files import write_atomically
from engine.runs import export as exports
from engine.text import sanitize
from tui.services import clipboard
from tui.services.log_search import Words
from tui.views.formatting import count

if TYPE_CHECKING:
    from tui.app import RedraftApp


def export(app: RedraftApp, formats: Sequence[str], verbosity: int, words: Words | None = None) -> None:
    """Write the run's records into its folder.

    Args:
        app: whose run is exported.
        formats: of `engine.runs.export`; a file each.
        verbosity: what of each record is written.
        words: only records that hold these words.
    """
    folder = app.session.folder
    if folder is None:
        app.notify("There is nothing to export before a run or an evaluation.", markup=False)
        return
    app.run_worker(_export(app, folder, formats, verbosity, words), group="export")


async def _export(app: RedraftApp, folder: Path, formats: Sequence[str], verbosity: int, words: Words | None) -> None:
    only = None if words is None else lambda event: words.in_event(event, verbosity)
    try:
        names: list[str] = []
        for file_format in formats:
            path = exports.default_path(folder, file_format, verbosity)
            if only is not None:
                path = path.with_stem(f"{path.stem}-filtered")
            done = await asyncio.to_thread(exports.export, folder, file_format, path, verbosity, only)
            names.append(f"{path.name} ({count(done.entries, 'record')})")
    except RedraftError as error:
        app.notify(str(error), title="Not exported", severity="error", timeout=12, markup=False)
        return
    filtered = f"\nonly records with “{words.text}”" if words is not None else ""
    app.notify(f"{' and '.join(names)}\nin {path.parent}{filtered}", title="Exported", timeout=10, markup=False)


def picture(app: RedraftApp) -> None:
    """Write what is on the screen as SVG, beside the run's other exports."""
    path = _folder(app) / f"redraft-{time.strftime('%Y%m%d-%H%M%S')}.svg"
    try:
        write_atomically(path, app.export_screenshot().encode())
    except StorageError as error:
        app.notify(str(error), severity="error", markup=False)
    else:
        app.notify(str(path), title="Picture written to", timeout=10, markup=False)


def copy(app: RedraftApp, text: str) -> None:
    """Put a text on the clipboard through the terminal, or into a file where it is too long for that."""
    if not text:
        app.notify("There is nothing to copy.", markup=False)
        return
    sequence = clipboard.sequence(sanitize(text))
    if sequence is not None and app._driver is not None:
        app._clipboard = text
        app._driver.write(sequence)
        app.notify(f"{len(text):,} characters copied, if the terminal allows it.", title="Copied", markup=False)
        return
    try:
        path = clipboard.write(sanitize(text), _folder(app))
    except StorageError as error:
        app.notify(str(error), severity="error", markup=False)
        return
    app.notify(str(path), title="Too long for the clipboard; written to", timeout=10, markup=False)


def _folder(app: RedraftApp) -> Path:
    return (app.session.folder or paths.data_dir()) / "exports"
