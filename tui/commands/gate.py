"""`redraft gate`: the result of a run as an exit code, for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.runs.report import Report

CONFIRMED, NOT_CONFIRMED, WORSE = 0, 1, 2
"""Exit codes of a result."""

ERROR_CODES = {1: 70, 2: 64}
"""Exit codes of errors that would be taken for a result -> theirs here, as in sysexits.h: EX_SOFTWARE, EX_USAGE."""


def gate(
    run: options.Run = "last",
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write the conditions of the rule as JUnit XML to this file."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Exit with 0 if the improvement is confirmed, 1 if not, 2 if the trained model is worse; print the reason.

    For a comparison of two models: 0 if B is better, 2 if B is worse, 1 where no difference is shown.

    A run without a report is an error, not a result: nothing is printed on stdout, and the code is 64, as for any bad
    input to this command; 70 is an unexpected failure.
    """
    from engine.files import expanded, write_atomically
    from engine.runs.report import Report
    from engine.runs.store import find_run, read_report

    folder = find_run(run)
    report = Report.of(read_report(folder))
    line = reason(report)
    if junit is not None:
        from engine.export.junit import junit as as_junit

        write_atomically(expanded(junit), as_junit(report, folder.name, line), 0o644)
    code = exit_code(report)
    if as_json:
        unmet = [condition.id for condition in report.conditions if condition.needed and not condition.met]
        output.emit({"run": folder.name, "outcome": report.outcome, "code": code, "reason": line, "unmet": unmet})
    else:
        output.result(line)
    if code:
        raise typer.Exit(code)


def exit_code(report: Report) -> int:
    """The exit code of an outcome."""
    if report.passed:
        return CONFIRMED
    return WORSE if report.outcome in ("worse", "B worse") else NOT_CONFIRMED


def reason(report: Report) -> str:
    """Outcome, change of the score, and the first needed condition that is not met, in one line."""
    from engine.runs.more_prompts import needed_prompts
    from tui.views.formatting import range_text, signed_share

    parts = [report.outcome or "no outcome"]
    score = report.score
    if score is not None and score.base is not None and score.trained is not None:
        change = f"score {score.base:.2f} → {score.trained:.2f}"
        if score.relative_interval is not None:
            low, high = score.relative_interval
            change += f", 95 % interval {range_text(signed_share(low), signed_share(high))}"
        parts.append(change)
    unmet = [condition for condition in report.conditions if condition.needed and not condition.met]
    for condition in unmet[:1]:
        more = needed_prompts(report, condition)
        parts.append(f"{condition.id} not met{': ' + more if more else ''} ({condition.detail.rstrip('.')})")
    if len(unmet) > 1:
        parts.append(f"also not met: {', '.join(condition.id for condition in unmet[1:])}")
    return " · ".join(parts)
