"""`redraft export`: a run's journal as JSON, JSON lines or Markdown."""

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
            help="Write json, jsonl or md. [default: by the file's extension, else json]",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file, '-' for stdout. [default: exports/ in the run's folder]",
        ),
    ] = None,
    verbosity: options.Verbosity = 3,
    as_json: options.Json = False,
) -> None:
    """Export the events of a run to one file: each stage with its texts, figures and time."""
    from engine.errors import InputError
    from engine.runs.export import FORMATS, default_path, write
    from engine.runs.export import export as export_run
    from engine.runs.store import find_run
    from tui.views.formatting import count

    folder = find_run(run)
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
