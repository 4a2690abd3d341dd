"""How a command's failure is told: a sentence on stderr, one object on stdout with --json, an exit code; no traceback.

Knows nothing of the commands. The codes and the object are described in docs/cli.md.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from pathlib import Path

from engine.errors import InputError, RedraftError, StorageError
from engine.secrets import redact
from tui.terminal import output

FAILURE = 1
STOPPED = 130
"""Exit code of what a person stopped: 128 + SIGINT, as shells have it."""

PIPE_CLOSED = 141
"""Exit code where nobody reads stdout any more: 128 + SIGPIPE."""


class PipeClosed(Exception):
    """Whoever read stdout has gone; the run was stopped for it, and can be resumed."""


def tell(error: BaseException, as_json: bool) -> int:
    """Tell a person, and with --json a program, what failed; gives the exit code."""
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
    """The error as one that says what to do. Of an unexpected one the traceback goes into a file."""
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


def usage(message: str, command: str) -> InputError:
    """What the command line's parser says, as an error of ours."""
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
