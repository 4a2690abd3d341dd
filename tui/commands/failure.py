"""Runs a command line: a failure is a sentence on stderr, with --json an object on stdout, and an exit code.

Knows nothing of the commands. docs/cli.md describes the codes and the object.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from engine.errors import InputError, RedraftError, Stopped, StorageError
from engine.secrets import redact
from tui.terminal import output

FAILURE = 1
STOPPED = 130
"""Exit code of what the user stopped: 128 + SIGINT, as in shells."""

PIPE_CLOSED = 141
"""Exit code where the reader of stdout is gone: 128 + SIGPIPE."""

# typer brings its own copy of click, older ones use the real one; both derive BadParameter from the parser's error.
_PARSER_ERROR: Any = typer.BadParameter.__mro__[2]


class PipeClosed(Exception):
    """The reader of stdout is gone; the run was stopped for it, and can be resumed."""


def run_app(
    app: typer.Typer, arguments: Sequence[str], name: str, codes: Mapping[str, Mapping[int, int]] | None = None
) -> int:
    """Run a command line and return its exit code. Only the code and the two streams come out of it; no traceback.

    Args:
        app: its commands.
        arguments: the words after the program's name.
        name: the program's name in messages.
        codes: name of a command whose own exit codes mean results -> exit code of an error -> what it is there.
    """
    output.prepare()
    # Words after "--" are texts, whatever they look like.
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    command = next((word for word in options if not word.startswith("-")), "")
    return _flush(_run(app, arguments, name, "--json" in options, (codes or {}).get(command, {})))


def _run(app: typer.Typer, arguments: Sequence[str], name: str, as_json: bool, codes: Mapping[int, int]) -> int:
    try:
        code = app(list(arguments), standalone_mode=False, prog_name=name)
    except (KeyboardInterrupt, Stopped, typer.Abort):
        return STOPPED
    except PipeClosed:
        return PIPE_CLOSED
    except SystemExit as end:  # how typer ends where stdout was closed, in spite of `standalone_mode`
        return PIPE_CLOSED if isinstance(end.__context__, BrokenPipeError) else 1
    except _PARSER_ERROR as error:
        context = getattr(error, "ctx", None)
        code = report(usage(error.format_message(), context.command_path if context else name), as_json)
        return codes.get(code, code)
    except Exception as error:  # noqa: BLE001 -- the last resort: a user must not see a traceback
        code = report(error, as_json)
        return codes.get(code, code)
    return code if isinstance(code, int) else 0


def _flush(code: int) -> int:
    """Write out what is buffered, while a failure to do so can still be reported."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or PIPE_CLOSED
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        code = code or report(error, as_json=False)
    return code


def _discard_stdout() -> None:
    """Python flushes stdout again at exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def report(error: BaseException, as_json: bool) -> int:
    """Write what failed to stderr, and with as_json as an object to stdout; return the exit code."""
    known = known_error(error)
    code = known.exit_code
    if as_json:
        with contextlib.suppress(OSError):  # stdout itself may be what failed
            output.emit({"error": to_object(known, error)})
    output.notice(f"redraft: {known}")
    return code


def to_object(known: RedraftError, error: BaseException) -> dict[str, str]:
    """The value of `error` in the object that --json writes."""
    kind = type(error).__name__ if isinstance(error, RedraftError) else type(known).__name__
    if type(known) is RedraftError:
        kind = type(error).__name__
    return {"what": known.what, "where": known.where, "next": known.next_step, "type": kind}


def known_error(error: BaseException) -> RedraftError:
    """The error as one that says what to do. The traceback of an unexpected one goes into a file."""
    if isinstance(error, RedraftError):
        return error
    if isinstance(error, OSError):
        return StorageError(
            f"a file could not be read or written ({error.strerror or error}).",
            where=str(error.filename or ""),
            next_step=_details(error),
        )
    if isinstance(error, MemoryError):
        return RedraftError("there is not enough memory.", next_step="Close other programs, or use a smaller model.")
    return RedraftError(f"Redraft failed with {type(error).__name__}, which it should not.", next_step=_details(error))


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it has half written is removed."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def usage(message: str, command: str) -> InputError:
    """The command line parser's error as one of ours."""
    sentence = message.strip().rstrip(".") + "."
    return InputError(
        sentence[:1].lower() + sentence[1:], where=command, next_step=f"`{command} --help` shows what it takes."
    )


def _details(error: BaseException) -> str:
    path = _save(error)
    return f"Please report it with {path}, which holds the details." if path else ""


def _save(error: BaseException) -> Path | None:
    """Write the traceback into the data folder; None where even that fails."""
    from engine.files import own_folder
    from engine.paths import data_dir

    folder = data_dir() / "errors"
    path = folder / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}.txt")
    try:
        own_folder(folder)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(redact("".join(traceback.format_exception(error))))
    except OSError:
        return None
    return path
