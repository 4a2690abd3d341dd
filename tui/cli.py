"""The command `redraft`: what it can be asked, and how it ends. Each command's work is in `tui.commands`.

Nothing heavy is imported here or at the top of a command's module: `redraft --help` must answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from benchmarks import command
from tui.commands import doctor, evaluate, export, judge, models, run, runs, show, watch
from tui.commands.failure import PIPE_CLOSED, STOPPED, PipeClosed, tell, usage
from tui.terminal import output

# typer brings its own copy of click, older ones use the real one; both derive BadParameter from the parser's error.
_PARSER_ERROR: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="redraft",
    help="Make a small language model follow a written constitution, and see every text on the way.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 3 model, 4 storage, 5 endpoint, 6 training, 130 stopped. "
    "See docs/cli.md.",
    add_completion=True,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("watch")(watch.watch)
app.command("eval")(evaluate.evaluate)
app.command("runs")(runs.runs)
app.command("open")(runs.open_run)
app.command("show")(show.show)
app.command("export")(export.export)
app.command("models")(models.models)
app.command("bench")(command.bench)
app.add_typer(judge.app, name="judge")
app.command("doctor")(doctor.doctor)
app.command("journal-reference", hidden=True)(export.journal_reference)


@app.callback(invoke_without_command=True)
def redraft(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    """Make a small language model follow a written constitution, and see every text on the way.

    Without a command the app opens; where stdout is no terminal, the demo run is performed in the plain display.
    """
    if version:
        _version(as_json)
    elif context.invoked_subcommand is None:
        if runs.has_terminal():
            runs.open_app()
        else:
            run.start(preset="demo", as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code. Nothing but the exit code and the two streams comes out of it."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    output.prepare()
    # Words after "--" are texts, whatever they look like.
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    code = _run(arguments, as_json="--json" in options)
    return _flushed(code)


def _run(arguments: Sequence[str], as_json: bool) -> int:
    from engine.errors import Stopped

    try:
        code = app(list(arguments), standalone_mode=False, prog_name="redraft")
    except (KeyboardInterrupt, Stopped, typer.Abort):
        return STOPPED
    except PipeClosed:
        return PIPE_CLOSED
    except SystemExit as end:  # how typer ends where stdout was closed, whatever it is told
        return PIPE_CLOSED if isinstance(end.__context__, BrokenPipeError) else 1
    except _PARSER_ERROR as error:
        context = getattr(error, "ctx", None)
        return tell(usage(error.format_message(), context.command_path if context else "redraft"), as_json)
    except Exception as error:  # noqa: BLE001 -- the last resort: a person must not see a traceback
        return tell(error, as_json)
    return code if isinstance(code, int) else 0


def _flushed(code: int) -> int:
    """Write out what is buffered, now that it can still be told where that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or PIPE_CLOSED
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        code = code or tell(error, as_json=False)
    return code


def _discard_stdout() -> None:
    """Python flushes stdout again at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


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
