"""`redraft export`: a run's journal as JSON, JSON lines or Markdown; its tables, curves and trainer configs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.runs.journal_reader import Damage


def export(
    run: options.Run,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="Write json, jsonl or md (events); csv or parquet (tables); tensorboard (curves); trl or axolotl "
            "(pairs with a config); card (model card). [default: by the file's extension, else json]",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file, or folder for tables, curves and configs; '-' for stdout. "
            "[default: exports/ in the run's folder]",
        ),
    ] = None,
    verbosity: options.Verbosity = 3,
    as_json: options.Json = False,
) -> None:
    """Export the events of a run to one file, or its tables, curves or training settings for other programs."""
    from engine.errors import InputError
    from engine.runs.export import FORMATS, default_path, write
    from engine.runs.export import export as export_run
    from engine.runs.store import find_run
    from tui.views.formatting import count

    folder = find_run(run)
    if file_format in OTHER_FORMATS:
        _export_other(folder, file_format, path, as_json)
        return
    extension = path.suffix.lstrip(".").lower() if path is not None else ""
    chosen = file_format or (extension if extension in FORMATS else "json")
    if path is not None and str(path) == "-":
        if as_json:
            raise InputError("stdout cannot hold both.", where="--json", next_step="Remove --json or --output -.")
        sys.stdout.flush()
        _, damage = write(folder, chosen, sys.stdout.buffer, verbosity)
        sys.stdout.buffer.flush()
        _report_damage(damage)
        return
    done = export_run(folder, chosen, path or default_path(folder, chosen, verbosity), verbosity)
    _report_damage(done.damage)
    if as_json:
        damaged = [{"offset": d.offset, "length": d.length, "reason": d.reason} for d in done.damage]
        output.emit({"path": str(done.path), "format": chosen, "entries": done.entries, "damage": damaged})
    else:
        output.result(f"{count(done.entries, 'entry', 'entries')} in {done.path}")


OTHER_FORMATS = ("csv", "parquet", "tensorboard", "trl", "axolotl", "card")
"""Formats that do not hold the journal's events."""


def _export_other(folder: Path, file_format: str, path: Path | None, as_json: bool) -> None:
    """Write the tables, curves, settings or card of a run."""
    from engine.errors import InputError
    from engine.files import expanded

    if path is not None and str(path) == "-":
        raise InputError("this format has several files.", where="--output -", next_step="Name a folder.")
    files = write_other(folder, file_format, expanded(path) if path is not None else None)
    if as_json:
        output.emit({"format": file_format, "paths": [str(file) for file in files]})
        return
    for file in files:
        output.result(str(file))


def write_other(folder: Path, file_format: str, path: Path | None) -> list[Path]:
    """Write one of `OTHER_FORMATS`; returns the files, or the folder of event files.

    Args:
        folder: the run's.
        path: a folder (for the card a file); None takes one in the run's `exports`.

    Raises:
        RedraftError: the run has nothing of the kind, or a file cannot be written.
    """
    target = path or folder / "exports" / ("README.md" if file_format == "card" else file_format)
    if file_format in ("csv", "parquet"):
        from engine.export.tables import write_tables

        return write_tables(folder, target, file_format)
    if file_format == "tensorboard":
        from engine.export.tensorboard import write_events

        write_events(folder, target)
        return [target]
    if file_format == "card":
        from engine.export.model_card import model_card
        from engine.files import write_atomically

        write_atomically(target, model_card(folder).encode(), 0o644)
        return [target]
    from engine.export.trainer_configs import write_axolotl, write_trl

    return (write_trl if file_format == "trl" else write_axolotl)(folder, target)


def journal_reference() -> None:
    """Print docs/journal.md, generated from the stages of the engine."""
    from engine.events.docs import reference

    output.result(reference().rstrip("\n"))


def _report_damage(damage: tuple[Damage, ...]) -> None:
    if damage:
        first = damage[0]
        output.notice(
            f"redraft: the journal is damaged in {len(damage)} place{'s' if len(damage) > 1 else ''}, "
            f"first at byte {first.offset} ({first.reason}); every whole record is in the export."
        )
