"""What an event shows at a verbosity: the one rule that the app, the plain display and every export follow."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass

from engine.events.base import ALL, KEY, OFF, SUMMARY, Record
from engine.text import PREVIEW_CHARS, sanitize, truncate

ONE_LINE = frozenset({"DRAFT-SAMPLE", "DEMONSTRATION", "REVISION-CANDIDATE", "COMPARISON-ANSWER"})
"""Stages with many texts for a prompt, of which one is shown in full by a later event: at verbosity KEY their summary
and the text's first words are enough."""

_FIRST_WORDS = 60

NAMES = {OFF: "off", SUMMARY: "summary", KEY: "key stages", ALL: "everything"}


@dataclass(frozen=True)
class Part:
    """A labelled text of an event; `kind` is "text" or "raw"."""

    label: str
    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Entry:
    """An event as it is shown: a headline and, from verbosity KEY on, its texts.

    Args:
        one_line: the headline is cut where it does not fit on a line.
    """

    time: str
    stage: str
    summary: str
    parts: tuple[Part, ...]
    one_line: bool = False


def shown(event: Record, verbosity: int) -> bool:
    """Whether the event is shown at all."""
    return verbosity > OFF and event.level <= verbosity


def entry(event: Record, verbosity: int) -> Entry | None:
    """The event as it is shown at this verbosity; None where it is not."""
    if not shown(event, verbosity):
        return None
    parts: list[Part] = []
    summary = _line(event.summary)
    one_line = verbosity == KEY and event.stage in ONE_LINE
    if one_line:
        words = truncate(_line(str([*event.texts.values()][-1])), _FIRST_WORDS) if event.texts else ""
        summary = f"{words} · {summary}" if words else summary
    elif verbosity >= KEY:
        for label, text in event.texts.items():
            text = sanitize(str(text))
            parts.append(Part(_line(label), text if verbosity >= ALL else truncate(text, PREVIEW_CHARS)))
    if verbosity >= ALL:
        parts += [Part(_line(label), sanitize(str(text)), "raw") for label, text in event.raw.items()]
    stamp = clock.strftime("%H:%M:%S", clock.localtime(max(0.0, min(event.time, 4e9))))
    return Entry(stamp, _line(event.stage), summary, tuple(parts), one_line)


def _line(text: str) -> str:
    """A name or a headline: a journal from elsewhere may hold line breaks in it."""
    return sanitize(str(text)).replace("\n", " ").replace("\t", " ")
