"""The display without a screen: the same entries as the app's log, as lines; progress on stderr.

Reads events and writes to two streams; knows nothing of how a run is performed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from engine.events.base import Record
from engine.events.verbosity import Entry, Part, entry
from engine.json_values import is_number
from engine.runs import time_left
from engine.text import sanitize
from tui.terminal import output
from tui.views.formatting import duration
from tui.views.wrap import cells, untab, wrap

WIDTH = 100
"""Columns where the stream is no terminal and COLUMNS is not set."""

_TEXT_INDENT = 4
_LINE_EVERY = 30.0
"""Seconds between two lines of progress where stderr is no terminal; one is also written at every tenth."""


@dataclass
class _Stage:
    """The stage that runs now, as far as its progress is known."""

    name: str = ""
    done: int = 0
    total: int = 0
    rate: int | None = None
    began: float = 0.0  # time of its first news by the writer's clock, which may be set back or forth
    at_first: int = 0  # items done then
    seconds: float = 0.0  # since then
    measured: float | None = None  # seconds left as the writer estimates them

    def left(self) -> float | None:
        """Seconds until its end at the speed so far; None before it can be known."""
        if self.measured is not None:
            return self.measured
        return time_left.by_items(self.name, self.done, self.at_first, self.total, self.seconds)

    def sentence(self) -> str:
        parts = [f"{self.name} {self.done}/{self.total}"]
        left = self.left()
        if left is not None and self.done < self.total:
            parts.append(f"{duration(left)} left")
        if self.rate:
            parts.append(f"{self.rate} tokens/s")
        return " · ".join(parts)


class PlainDisplay:
    """Prints entries to `out` and progress to `err`.

    Args:
        out: where entries go; lines are wrapped to its width.
        err: where progress goes: one line that changes on a terminal, a line now and then elsewhere.
        verbosity: what is shown, as in `engine.events.verbosity`.
    """

    def __init__(self, out: TextIO, err: TextIO, verbosity: int) -> None:
        self._out = out
        self._err = err
        self._verbosity = verbosity
        self._colour = output.coloured(out)
        self._live = output.is_terminal(err) and not output.is_dumb()
        self._stage = _Stage()
        self._drawn = False
        self._told = (-1, 0.0)  # tenth and time of the last line of progress
        self.muted = False
        """True stops all writing: whoever read the streams is gone."""

    def show(self, events: Sequence[Record]) -> None:
        """Print what these events show, then the progress that they report.

        Raises:
            OSError: `out` cannot be written (BrokenPipeError: its reader has gone).
        """
        moved = False
        for event in events:
            moved = self._follow(event) or moved
            shown = None if event.stage == "PROGRESS" else entry(event, self._verbosity)
            if shown is not None and not self.muted:
                self._erase()
                self._out.writelines(line + "\n" for line in self._lines(shown))
        if events and not self.muted:
            self._out.flush()
            if moved and self._stage.total > 0:  # the last of several events may begin a stage of unknown length
                self._progress()

    def notice(self, text: str) -> None:
        """A line for the person, on `err`."""
        if not self.muted:
            self._erase()
            output.notice(text)

    def close(self) -> None:
        """Take the line of progress away."""
        if not self.muted:
            self._erase()

    def _lines(self, shown: Entry) -> Iterator[str]:
        width = max(20, columns(self._out))
        head = f"{shown.time} {shown.stage}"
        summary = f" {shown.summary}" if shown.summary else ""
        first, *more = wrapped(head + summary, width, len(shown.time) + 1)
        if self._colour and len(first) >= len(head):
            alarm = {"ERROR": "red", "NOTICE": "yellow", "HEALTH-ALARM": "yellow"}.get(shown.stage, "cyan")
            stage = output.paint(shown.stage, "bold", alarm)
            first = f"{output.paint(shown.time, 'dim')} {stage}{first[len(head) :]}"
        yield first
        yield from more
        for part in shown.parts:
            yield from self._part(part, width)

    def _part(self, part: Part, width: int) -> Iterator[str]:
        label = " " * (_TEXT_INDENT - 2) + part.label + ":"
        yield output.paint(label, "dim") if self._colour else label
        text = untab(part.text).rstrip()
        for start, end in wrap(text, width - _TEXT_INDENT):
            yield (" " * _TEXT_INDENT + text[start:end]).rstrip()

    def _follow(self, event: Record) -> bool:
        """Take what the event says of the running stage; whether there is something new to show."""
        if event.stage not in {"STAGE-START", "PROGRESS", "STAGE-END"}:
            return False
        name = " ".join(sanitize(str(event.data.get("name", ""))).split())
        done, total = _number(event.data.get("done")), _number(event.data.get("total"))
        if event.stage == "STAGE-START" or name != self._stage.name:
            self._stage = _Stage(name=name, began=event.time, at_first=done)
            self._told = (-1, 0.0)
        self._stage.done = done
        self._stage.seconds = _seconds(event.data.get("seconds"), event.time - self._stage.began)
        self._stage.total = total or self._stage.total
        left = event.data.get("left")
        self._stage.measured = _seconds(left, 0.0) if left is not None else None
        self._stage.rate = _number(event.data.get("rate")) or None
        if event.stage == "STAGE-END":
            self._erase()
        return event.stage != "STAGE-END" and self._stage.total > 0

    def _progress(self) -> None:
        sentence = self._stage.sentence()
        try:
            if self._live:
                room = columns(self._err) - 1
                start, end = wrap(sentence, room)[0]
                self._err.write(f"\r\x1b[K{sentence[start:end]}")
                self._drawn = True
            elif self._due():
                self._err.write(sentence + "\n")
            self._err.flush()
        except OSError:
            self._live = False

    def _due(self) -> bool:
        tenth, now = 10 * self._stage.done // self._stage.total, time.monotonic()
        if tenth == self._told[0] and now - self._told[1] < _LINE_EVERY:
            return False
        self._told = (tenth, now)
        return True

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            try:
                self._err.write("\r\x1b[K")
                self._err.flush()
            except OSError:
                self._live = False


def columns(stream: TextIO) -> int:
    """Columns of the terminal behind a stream; of COLUMNS, or `WIDTH`, where there is none."""
    if "COLUMNS" not in os.environ:
        try:
            return os.get_terminal_size(stream.fileno()).columns or WIDTH
        except (OSError, ValueError):
            pass
    return shutil.get_terminal_size((WIDTH, 24)).columns


def wrapped(text: str, width: int, indent: int) -> Iterator[str]:
    """Lines of the text; those after the first begin under its words."""
    text = untab(text)
    if cells(text) <= width:
        yield text
        return
    (start, end), *_ = wrap(text, width)
    yield text[start:end]
    rest = text[end:].lstrip()
    if rest:
        for start, end in wrap(rest, width - indent):
            yield " " * indent + rest[start:end]


def _seconds(value: object, otherwise: float) -> float:
    """The writer's own count of seconds, which runs evenly; the difference of times where it gives none."""
    return float(value) if is_number(value) and 0 <= value < 1e9 else max(0.0, otherwise)


def _number(value: object) -> int:
    """A count from an event's data; 0 for what cannot be one (a journal may come from elsewhere)."""
    if not is_number(value) or not value > 0:
        return 0
    return round(min(value, 10**15))
