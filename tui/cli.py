"""The command `redraft`. Each command's work is in `tui.commands`.

Nothing heavy is imported here or at the top of a command's module: `redraft --help` must answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tui.commands import (
    compare,
    constitution,
    data,
    doctor,
    endpoint,
    evaluate,
    export,
    gate,
    judge,
    merge,
    models,
    prompts,
    push,
    replay,
    report,
    review,
    run,
    runs,
    show,
    status,
    try_models,
    watch,
)
from tui.commands.failure import run_app
from tui.commands.settings_flags import GroupedCommand, build_config, reference
from tui.terminal import output

app = typer.Typer(
    name="redraft",
    help="Make a small language model follow a written constitution, and see every text on the way.",
    epilog="Exit codes: 0 success, 1 failure, 2 bad input, 3 model, 4 storage, 5 endpoint, 6 training, 130 stopped "
    "(docs/cli.md).",
    add_completion=True,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.command("run", cls=GroupedCommand)(run.run)
app.command("resume")(run.resume)
app.command("compare", cls=GroupedCommand)(compare.compare)
app.command("watch")(watch.watch)
app.command("eval", cls=GroupedCommand)(evaluate.evaluate)
app.command("runs")(runs.runs)
app.command("status")(status.status)
app.command("open")(runs.open_run)
app.command("show")(show.show)
app.command("review")(review.review)
app.command("try")(try_models.try_models)
app.command("replay")(replay.replay)
app.command("report")(report.report)
app.command("gate")(gate.gate)
app.command("export")(export.export)
app.command("merge")(merge.merge)
app.command("push")(push.push)
app.command("models")(models.models)
app.command("prompts")(prompts.prompts)
app.add_typer(judge.app, name="judge")
app.add_typer(constitution.app, name="constitution")
app.add_typer(data.app, name="data")
app.add_typer(endpoint.app, name="endpoint")
app.command("doctor")(doctor.doctor)
app.command("journal-reference", hidden=True)(export.journal_reference)


@app.command("settings-reference", hidden=True)
def settings_reference() -> None:
    """Print the tables of settings in docs/cli.md."""
    output.result(reference())


@app.callback(invoke_without_command=True)
def redraft(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    """Make a small language model follow a written constitution, and see every text on the way.

    Without a command the app opens; without a terminal the demo run is printed instead.
    """
    if version:
        _version(as_json)
    elif context.invoked_subcommand is None:
        if output.has_terminal():
            runs.open_app()
        else:
            run.start(build_config("demo", {}), as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    return run_app(app, words, "redraft", codes={"gate": gate.ERROR_CODES})


def _version(as_json: bool) -> None:
    import importlib.metadata

    try:
        version = importlib.metadata.version("redraft")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    if as_json:
        output.emit({"version": version})
    else:
        output.result(f"redraft {version}")


if __name__ == "__main__":
    sys.exit(main())
