"""A list of files to choose one from, with what the marked one holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from engine.errors import RedraftError
from engine.text import sanitize, truncate
from tui.keymap import LIST, bindings
from tui.screens.dialog import Dialog
from tui.services.workers import start_worker
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import MOVES, Rows

PROMPT_FILES = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".md", ".parquet", ".arrow", ".gz", ".zst")
CONSTITUTION_FILES = (".toml", ".json", ".jsonl", ".csv", ".tsv", ".md", ".txt", ".yaml", ".yml")

_MAX_FILES = 5_000
_LINES = 8
"""Lines of the preview."""


@dataclass(frozen=True)
class _Row:
    path: Path | None  # None for the built-in ones
    name: str
    folder: bool


class FileRows(Rows):
    """Folders first, then files."""

    BINDINGS = MOVES


class PickFile(Dialog[str]):
    """Choose a file; "" stands for the built-in one. Enter opens a folder.

    Args:
        title: of the border.
        folder: to begin in.
        extensions: of the files that are listed.
        preview: returns the lines on a file; runs in a thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIST)

    def __init__(
        self, title: str, folder: Path, extensions: tuple[str, ...], preview: Callable[[Path], list[str]]
    ) -> None:
        super().__init__()
        self._title = title
        self._folder = folder
        self._extensions = extensions
        self._preview = preview
        self._rows: list[_Row] = []
        self._list = FileRows(self._row, id="file-rows")
        self._about = Static("", id="file-preview", classes="hint")

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide") as box:
            label(box, self._title, "↑ ↓ Enter · Esc")
            yield self._list
            yield self._about

    async def on_mount(self) -> None:
        self._list.focus()
        await self._enter(self._folder)

    async def _enter(self, folder: Path) -> None:
        try:
            self._rows = await asyncio.to_thread(_listed, folder, self._extensions)
        except OSError as error:
            self.show_note(f"{folder}: the folder cannot be read ({error.strerror}).")
            return
        self._folder = folder
        self._list.styles.height = max(1, min(len(self._rows), self.app.size.height - _LINES - 8))
        self._list.cursor = 0
        self._list.show(len(self._rows))
        self._describe()

    def _row(self, index: int, width: int) -> Pieces:
        row = self._rows[index]
        return [(clip(row.name + ("/" if row.folder else ""), width), "accent" if row.folder else "text")]

    def on_rows_marked(self, event: Rows.Marked) -> None:
        event.stop()
        self._describe()

    def _describe(self) -> None:
        row = self._rows[self._list.cursor]
        if row.path is None or row.folder:
            self._show([str(row.path or "comes with Redraft")])
        else:
            start_worker(self, self._describe_file, row.path, exclusive=True)

    async def _describe_file(self, path: Path) -> None:
        try:
            lines = await asyncio.to_thread(self._preview, path)
        except RedraftError as error:
            lines = [error.what, error.next_step]
        except OSError as error:
            lines = [f"the file cannot be read ({error.strerror})."]
        self._show(lines)

    def _show(self, lines: list[str]) -> None:
        width = max(20, self._about.size.width)
        shown = [clip(" ".join(truncate(sanitize(line), 1_000).split()), width) for line in lines[:_LINES]]
        self._about.update(Content("\n" + "\n".join(shown)))

    async def on_rows_chosen(self, event: Rows.Chosen) -> None:
        event.stop()
        row = self._rows[event.index]
        if row.folder and row.path is not None:
            await self._enter(row.path)
        else:
            self.dismiss(str(row.path) if row.path is not None else "")


def _listed(folder: Path, extensions: tuple[str, ...]) -> list[_Row]:
    """The built-in set, the folder above, the folders, the files with these extensions; hidden ones are left out."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= _MAX_FILES:
                break
            row = _Row(Path(entry.path), sanitize(entry.name), entry.is_dir())
            if entry.name.startswith("."):
                continue
            if row.folder:
                folders.append(row)
            elif entry.name.lower().endswith(extensions):
                files.append(row)
    above = [_Row(folder.parent, "..", True)] if folder.parent != folder else []
    ordered = [*sorted(folders, key=lambda row: row.name.lower()), *sorted(files, key=lambda row: row.name.lower())]
    return [_Row(None, "built in", False), *above, *ordered]
