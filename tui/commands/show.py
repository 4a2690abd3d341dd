"""`redraft show`: the report of a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tui import output
from tui.commands import options


def show(run: options.Run = "last", as_json: options.Json = False) -> None:
    """Show a finished run's report; with --json the whole report.json, every compared prompt included."""
    from engine.journal.runs import find_run, read_report

    folder = find_run(run)
    report = read_report(folder)
    if as_json:
        output.emit(report)
        return
    for line in lines(report):
        output.result(line)
    output.notice(f"The whole report: {folder / 'report.json'}")


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report's figures, a line each; lists of texts only by their length."""
    figures = list(_figures(report))
    width = max((len(name) for name, _ in figures), default=0)
    for name, value in figures:
        yield f"{name.ljust(width)}  {value}"


def _figures(members: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    from engine.text import clean, cut

    for key, value in members.items():
        name = clean(f"{prefix}{key}").replace("\n", " ")
        if isinstance(value, Mapping):
            yield from _figures(value, f"{name}.")
        elif isinstance(value, list):
            scalar = all(not isinstance(member, Mapping | list) for member in value) and len(value) <= 8
            yield name, ", ".join(_scalar(member) for member in value) if scalar else f"{len(value)} entries"
        else:
            yield name, cut(clean(_scalar(value)).replace("\n", " "), 200)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)
