"""`redraft report`: the report of a finished run as one HTML file to send to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands import options
from tui.terminal import output


def report(
    run: options.Run = "last",
    html: Annotated[bool, typer.Option("--html", help="Write one HTML file with everything in it.")] = False,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this file. [default: exports/ in the run's folder]"
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write the report of a finished run as a page: figures, conditions, curves, every compared and training pair.

    The file needs no network and no other file. Without --html the report is printed, as by `redraft show`.
    """
    from engine.export.html.write import default_path, write
    from engine.files import expanded
    from engine.runs.store import find_run

    if not html and path is None:
        from tui.commands.show import show

        show(run, as_json=as_json)
        return
    folder = find_run(run)
    written = write(folder, expanded(path) if path is not None else default_path(folder))
    if as_json:
        output.emit({"path": str(written), "bytes": written.stat().st_size})
    else:
        output.result(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
