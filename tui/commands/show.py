"""`redraft show`: the report of a finished run."""

from __future__ import annotations

import sys

from tui.commands import options
from tui.terminal import output


def show(run: options.Run = "last", as_json: options.Json = False) -> None:
    """Show a finished run's report; with --json the whole report.json, every compared prompt included."""
    from engine.runs.store import REPORT, find_run, read_report
    from tui.commands.report_text import lines
    from tui.views.plain import columns, wrapped

    folder = find_run(run)
    report = read_report(folder)
    if as_json:
        output.emit(report)
        return
    width = max(40, columns(sys.stdout))
    for line in lines(report):
        for piece in wrapped(line, width, indent=14):
            output.result(piece)
    output.notice(f"Every compared prompt with both answers: {folder / REPORT}")
