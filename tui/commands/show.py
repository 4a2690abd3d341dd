"""`redraft show`: the report of a finished run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tui.commands import options
from tui.terminal import output


def show(
    run: options.Run = "last",
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Write the report as Markdown.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the report of a finished run; with --json the whole report.json, every compared prompt included."""
    from engine.errors import InputError
    from engine.runs.report import Report
    from engine.runs.store import REPORT, find_run, read_report
    from tui.commands.plain import columns, wrapped
    from tui.views.report import lines, markdown, plain

    if as_json and as_markdown:
        raise InputError("stdout cannot hold both.", where="--json", next_step="Remove --json or --markdown.")
    folder = find_run(run)
    data = read_report(folder)
    if as_json:
        output.emit(data)
        return
    report = Report.of(data)
    if as_markdown:
        for line in markdown(report).splitlines():
            output.result(line)
        return
    width = max(40, columns(sys.stdout))
    for line in plain(lines(report, width)).splitlines():
        for piece in wrapped(line, width, indent=14):
            output.result(piece)
    output.notice(f"Every compared prompt with both answers: {folder / REPORT}")
