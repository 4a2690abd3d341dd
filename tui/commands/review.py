"""`redraft review`: blind reading of a run's answers, in the app or in an editor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands import options
from tui.terminal import output


def review(
    run: options.Run = "last",
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=0, help="Read this many pairs; 0 for all.")
    ] = 50,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", help="Seed of order and sides. [default: that of the last reading, else 0]"
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the pairs as a sheet to fill in, '-' for stdout."),
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Read the choices of a sheet that was filled in.")
    ] = None,
    result: Annotated[bool, typer.Option("--result", help="Show what the last reading adds up to.")] = False,
    as_json: options.Json = False,
) -> None:
    """Read answers of a run without knowing which model wrote them, and say which are better.

    Opens the app; with --export and --import the reading is done in an editor. Choices are kept in the run's folder,
    so a reading can be interrupted and resumed. The report then shows how often the trained model's answer was
    preferred, with interval and sign test, and the agreement with the judge.
    """
    from engine.errors import InputError
    from engine.files import expanded
    from engine.runs.review import Review, import_sheet, review_result, sheet
    from engine.runs.store import find_run
    from tui.commands.runs import open_app

    if sum((export is not None, import_ is not None, result)) > 1:
        raise InputError("choose one.", where="--export, --import, --result", next_step="Leave out the others.")
    folder = find_run(run)
    if import_ is not None:
        path = expanded(import_)
        found, new = import_sheet(folder, _text(path), str(path))
        output.notice(f"{new} new or changed choices kept for {folder.name}.")
        _show(found.result().to_data(), as_json)
    elif export is not None:
        _export(sheet(Review(folder, seed, count)), export, folder.name, as_json)
    elif result:
        known = review_result(folder)
        if known is None:
            raise InputError(
                "no blind reading yet.", where=str(folder), next_step=f"Begin one: `redraft review {folder.name}`."
            )
        _show(known.to_data(), as_json)
    else:
        Review(folder, seed, count)  # refuse before the screen opens
        if as_json or not output.has_terminal():
            raise InputError(
                "blind reading needs a terminal.", where="redraft review", next_step="Without one, use --export FILE."
            )
        open_app(folder, reading=(count, seed))


def _export(text: str, target: Path, run: str, as_json: bool) -> None:
    """Write a sheet, to stdout for "-"."""
    from engine.files import expanded, write_atomically

    if str(target) == "-":
        for line in text.split("\n"):
            output.result(line)
        return
    path = expanded(target)
    _refuse_folder(path)
    write_atomically(path, text.encode())
    output.notice(f"Fill in {path}, then: redraft review {run} --import {path}")
    if as_json:
        output.emit({"path": str(path)})


def _show(found: dict[str, object], as_json: bool) -> None:
    from engine.runs.report import Report
    from tui.views.report import plain, reading

    if as_json:
        output.emit(found)
        return
    for line in plain(list(reading(Report.of({"review": found}).reading))).splitlines():
        output.result(line)


def _text(path: Path) -> str:
    from engine.errors import StorageError

    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StorageError(f"the sheet cannot be read ({reason}).", where=str(path)) from error


def _refuse_folder(path: Path) -> None:
    from engine.errors import StorageError

    if path.is_dir():
        raise StorageError("this is a folder.", where=str(path), next_step="Name a file in it.")
