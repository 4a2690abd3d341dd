"""Writes a journal in other formats: JSON, JSON lines, Markdown.

What is in an export is decided by `engine.events.verbosity` alone, so it holds what the log shows at that verbosity.
Works record by record: a journal of gigabytes is never in memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import InputError, StorageError
from engine.events.base import ALL, OFF, Record
from engine.events.codec import DamagedLine, decode, dumps, plain
from engine.events.verbosity import entry, shown
from engine.files import expanded, open_atomically
from engine.runs import export_markdown
from engine.runs.journal_reader import JOURNAL, Damage, JournalReader, PlacedReader
from engine.text import sanitize

FORMATS = ("json", "jsonl", "md")
"""JSON (a list of objects), JSON lines (the same objects, one a line), Markdown."""

_OWN_FILES = (JOURNAL, "run.json", "report.json", "review.jsonl", "pairs.jsonl", "lock")


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Args:
        path: the file; None where it went to an open stream.
        entries: events written.
        damage: stretches of the journal that held no whole record and are missing from the export.
    """

    path: Path | None
    entries: int
    damage: tuple[Damage, ...] = ()


def row(event: Record, verbosity: int = ALL) -> dict[str, Any] | None:
    """The event as the object that exports hold; None where this verbosity does not show it.

    `content` is the event's texts, an empty line between them, or its summary where it has (or may show) none;
    `metadata` holds seq, level, summary and, where there are any, item, texts and raw (label -> text) and data.
    """
    found = entry(event, verbosity)
    if found is None:
        return None
    texts = {part.label: part.text for part in found.parts if part.kind == "text"}
    raw = {part.label: part.text for part in found.parts if part.kind == "raw"}
    metadata: dict[str, Any] = {"seq": event.seq, "level": event.level, "summary": found.summary}
    optional = {"item": sanitize(event.item), "data": _figures(event), "texts": texts, "raw": raw}
    metadata |= {name: value for name, value in optional.items() if value}
    content = "\n\n".join(text for text in texts.values() if text) or found.summary
    return {"stage": found.stage, "content": content, "metadata": metadata, "timestamp": timestamp(event.time)}


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601, UTC, with milliseconds: 2025-01-31T23:59:59.123Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def export(
    folder: Path, file_format: str, path: Path, verbosity: int = ALL, only: Callable[[Record], bool] | None = None
) -> Exported:
    """Write what the log shows at `verbosity` into one file, which is whole or, where this raises, as it was before.

    Args:
        folder: the run's, or its journal.
        file_format: one of `FORMATS`.
        path: the file; one that is there is replaced.
        verbosity: 1 (no texts at all) to 3 (everything, uncut).
        only: whether an event is exported; all are by default.

    Raises:
        InputError: unknown format or verbosity, `path` is no path, or a file of a run that must not be replaced.
        StorageError: no journal, no space, no permission, or a folder in the way.
    """
    _check(file_format, verbosity)
    _reader(folder)
    try:
        path = expanded(path)
        _check_target(path)
        if path.exists() and not path.is_file():  # a device or a named pipe is written into, never replaced
            with open(path, "wb") as file:
                entries, damage = write(folder, file_format, file, verbosity, only)
            return Exported(path, entries, damage)
        target = Path(os.path.realpath(path))
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
    except OSError as error:
        raise StorageError(
            f"the export cannot be written ({error.strerror}).",
            where=sanitize(str(path)),
            next_step="Choose another place.",
        ) from error
    with open_atomically(target, mode) as file:
        entries, damage = write(folder, file_format, file, verbosity, only)
    return Exported(path, entries, damage)


def write(
    folder: Path, file_format: str, file: BinaryIO, verbosity: int = ALL, only: Callable[[Record], bool] | None = None
) -> tuple[int, tuple[Damage, ...]]:
    """Like `export`, to an open stream; returns the number of entries written and the damage found.

    Raises:
        InputError: unknown format or verbosity.
        StorageError: there is no journal, or it cannot be read.
        OSError: the stream cannot be written.
    """
    _check(file_format, verbosity)
    reader: JournalReader
    if file_format == "md":
        reader = placed = PlacedReader(_reader(folder).path)
        pieces = _markdown(folder, placed, verbosity, only)
    else:
        reader = _reader(folder)
        events = filter(only, reader.so_far()) if only else reader.so_far()
        pieces = _json(events, file_format, verbosity)
    count = 0
    for piece, entries in pieces:
        file.write(piece.encode("utf-8", "replace"))
        count += entries
    return count, tuple(reader.damage)


def default_path(folder: Path, file_format: str, verbosity: int = ALL) -> Path:
    """The default file of an export, in the run's folder."""
    return folder / "exports" / f"{folder.name}-v{verbosity}.{file_format}"


def _reader(folder: Path) -> JournalReader:
    reader = JournalReader(folder)
    if not reader.path.exists():
        raise StorageError(
            "there is no journal here.", where=str(reader.path), next_step="`redraft runs` lists the runs there are."
        )
    return reader


def _json(events: Iterator[Record], file_format: str, verbosity: int) -> Iterator[tuple[str, int]]:
    """Pieces of the file, each with the number of entries in it."""
    as_list = file_format == "json"
    before = "[\n" if as_list else ""
    for event in events:
        object_ = row(event, verbosity)
        if object_ is not None:
            yield before + dumps(object_) + ("" if as_list else "\n"), 1
            before = ",\n" if as_list else ""
    if as_list:
        yield ("[]\n" if before == "[\n" else "\n]\n"), 0


def _markdown(
    folder: Path, reader: PlacedReader, verbosity: int, only: Callable[[Record], bool] | None
) -> Iterator[tuple[str, int]]:
    name = (folder.parent if folder.name == JOURNAL else folder).resolve().name
    index = export_markdown.Index()
    for event, offset, length in reader.placed():
        wanted = event.stage != "PROGRESS" and shown(event, verbosity) and (only is None or only(event))
        index.add(event, offset, length, wanted)
    with open(reader.path, "rb", buffering=0) as journal:

        def read(number: int) -> Record | None:
            try:
                return decode(os.pread(journal.fileno(), index.lengths[number], index.offsets[number]))
            except DamagedLine:
                return None

        yield from export_markdown.pages(name, index, read, verbosity, filtered=only is not None)


def _figures(event: Record) -> Any:
    try:
        return _clean(plain(event.data))
    except RecursionError:  # only a journal that was made to break readers nests so deep
        return {}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, Mapping):
        return {sanitize(str(key)): _clean(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_clean(member) for member in value]
    return value


def _check(file_format: str, verbosity: int) -> None:
    if file_format not in FORMATS:
        raise InputError(
            f"there is no format {sanitize(file_format)!r}.",
            where="--format",
            next_step=f"Take {' or '.join(FORMATS)}.",
        )
    if not OFF <= verbosity <= ALL:
        raise InputError(f"invalid verbosity {verbosity}.", where="--verbosity", next_step="Choose 0, 1, 2 or 3.")


def _check_target(path: Path) -> None:
    if path.is_dir():
        raise StorageError("this is a folder.", where=str(path), next_step="Name a file in it.")
    if path.name in _OWN_FILES and path.exists() and (path.parent / JOURNAL).exists():
        raise InputError("this file belongs to a run.", where=str(path), next_step="Choose another name.")
