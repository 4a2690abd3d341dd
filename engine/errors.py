"""Errors that a user can cause or has to know about: what was wrong, where, and what to do next.

Every error that reaches the user derives from `RedraftError`; `assert` and the built-in exceptions are for
ourselves.
"""

from __future__ import annotations

from pathlib import Path

from engine.secrets import redact


class RedraftError(Exception):
    """Something the user can fix. `str()` is the whole message, ready to be shown on one screen.

    Args:
        what: one sentence on what is wrong.
        where: the file, line, field, option or address that it is wrong at; empty where there is no such place.
        next_step: what to do about it, as an imperative sentence; empty where there is nothing to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what, self.where, self.next_step = redact(what), redact(where), redact(next_step)
        message = f"{self.where}: {self.what}" if self.where else self.what
        super().__init__(f"{message} {self.next_step}" if self.next_step else message)


class InputError(RedraftError):
    """A text, file, option or value from the user cannot be used."""

    exit_code = 2


class InputsChanged(InputError):
    """A run is not resumed because its inputs changed; the user decides.

    Args:
        folder: the run's.
    """

    def __init__(self, what: str, *, folder: Path, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.folder = folder


class ModelError(RedraftError):
    """A model is unknown, cannot be loaded, or does not fit this machine."""

    exit_code = 3


class StorageError(RedraftError):
    """A file could not be read or written: no permission, no space, damaged."""

    exit_code = 4


class EndpointError(RedraftError):
    """A server that a judge or a generator is reached at did not answer as it should."""

    exit_code = 5


class TrainingError(RedraftError):
    """Training diverged (NaN or infinity)."""

    exit_code = 6


class Stopped(Exception):
    """Raised inside the engine where a stop was asked for. Not an error: work done so far is in the journal."""


def failed_words(error: BaseException) -> str:
    """One sentence on a failure, for the user: without a traceback, and of an unexpected one without its own message,
    which may hold a text."""
    if isinstance(error, RedraftError):
        return str(error)
    return f"Redraft failed with {type(error).__name__}; the traceback is in the journal."
