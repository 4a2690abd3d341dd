"""Events that report something unusual: notices, after which the run continues, and errors, which end it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import ALL
from engine.events.schema import Event, data, raw


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something that the user should know."""

    STAGE = "NOTICE"


@dataclass(frozen=True, kw_only=True)
class TornRecord(Notice):
    """The end of the journal was cut off by a crash, and was moved to a file of its own."""

    bytes: int = data("Bytes that were moved.")


@dataclass(frozen=True, kw_only=True)
class RowTruncated(Notice):
    """A training row was longer than the limit and was truncated."""

    level: int = ALL
    what: str = data("The truncated part: prompt, completion, chosen or rejected.")
    tokens: int = data("Tokens that were cut off.")


@dataclass(frozen=True, kw_only=True)
class Failure(Notice):
    """Something failed, and the run continues without it."""

    type: str = data("Type of the exception.")
    traceback: str = raw("The traceback of an unforeseen failure.", optional=True)


@dataclass(frozen=True, kw_only=True)
class RunError(Event):
    """The run failed; it can be resumed."""

    STAGE = "ERROR"
    type: str = data("Type of the exception.", absent="")
    traceback: str = raw("The traceback.")
