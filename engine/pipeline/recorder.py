"""Writes a run's events, and knows how far the running stage is.

Knows nothing of models; what the events carry is declared in `engine.events`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from engine.control import InFlight
from engine.errors import RedraftError, failed_words
from engine.events.base import ALL, Record
from engine.events.notices import Failure, Notice, RunError
from engine.events.run import ModelLoading, StageEnd, StageProgress, StageStart
from engine.events.schema import Event
from engine.runs import time_left
from engine.runs.journal_writer import JournalWriter
from engine.secrets import redact
from engine.text import percent

_PROGRESS_EVERY = 1.0
"""Seconds between two events on how far something is."""

_WRITING_CHARS = 240
"""Characters of a text that is being written: its last words, a line or two."""


class Recorder:
    """Writes events to a journal and passes each record to `apply`, which keeps the run's state.

    Args:
        journal: where events go.
        apply: called with every record, its texts included.
    """

    def __init__(self, journal: JournalWriter, apply: Callable[[Record], None]) -> None:
        self.journal = journal
        self._apply = apply
        self._stage = ""
        self._total = 0
        self._done = 0
        self._known = 0
        self._tokens = 0
        self._limit = 0
        self._ended = 0
        self._reports = False
        self._began = 0.0
        self._last_progress = 0.0
        self._waits_since = 0.0

    @property
    def stage(self) -> str:
        """Name of the stage that began last; "" before the first."""
        return self._stage

    @property
    def generates(self) -> bool:
        """Whether the items of the running stage are texts that a model writes."""
        return self._limit > 0

    @property
    def partly_known(self) -> bool:
        """Whether some items of the running stage, not all, were known when it began."""
        return 0 < self._known < self._total

    def write(self, event: Event, *, sync: bool = False) -> Record:
        """Write one event (see `JournalWriter.write`)."""
        record = self.journal.write(event, sync=sync)
        self._apply(record)
        return record

    def stage_start(self, name: str, total: int | None, *, done: int = 0) -> None:
        """A stage begins; `done` of its `total` items were finished before an interruption. None: it has no items that
        are counted here (a training says how many steps it takes)."""
        self._stage, self._total, self._tokens = name, total or 0, 0
        self._limit = self._ended = 0
        self._reports = False
        self._done = self._known = done
        self._began = self._last_progress = time.monotonic()
        left = f"{self._total - done} of {total}" if done else total
        summary = name if total is None else f"{name}: {left} to do"
        self.write(StageStart(summary=summary, name=name, total=self._total, done=done))

    def limit_tokens(self, limit: int) -> None:
        """The items of the running stage are texts of at most so many tokens."""
        self._limit = limit

    def step(self, items: int = 1, tokens: int = 0) -> None:
        """`items` more of the running stage are done; writes a progress event at most once a second."""
        self._done += items
        self._tokens += tokens
        self._ended += 0 < tokens < self._limit
        # A model that reports what it is writing does so after every token, and knows more.
        if not (self._limit and self._reports) and self._is_due():
            self._stage_progress(InFlight())

    def in_flight(self, look: Callable[[], InFlight]) -> None:
        """The running stage works on a batch; writes a progress event at most once a second, and calls `look` only
        then."""
        self._reports = True
        if self._is_due():
            self._stage_progress(look())

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_EVERY:
            return False
        self._last_progress = now
        return True

    def _stage_progress(self, batch: InFlight) -> None:
        seconds = time.monotonic() - self._began
        tokens = self._tokens + sum(batch.tokens)
        waiting = max(0, self._total - self._done - len(batch.tokens))
        part = min(batch.read, self._total - self._done)
        if self._limit:
            left = time_left.by_tokens(self._tokens, self._ended, batch.tokens, waiting, self._limit, seconds)
            part = min(sum(batch.tokens) / self._limit, self._total - self._done)
        else:
            whole = not batch.read
            left = time_left.by_items(self._stage, self._done + part, self._known, self._total, seconds, whole=whole)
        rate = tokens / seconds if tokens and seconds > 0 else None
        self._write_progress(
            self._stage,
            tokens,
            rate,
            seconds,
            item=batch.key,
            part=part or None,
            left=left,
            writing=batch.text[-_WRITING_CHARS:],
        )

    def progress(self, name: str, done: int, total: int, rate: float | None) -> None:
        """Progress of a stage whose steps have events of their own; at most once a second, and at its end."""
        self._done, self._total = done, total
        if self._is_due() or done >= total:
            self._write_progress(name, self._tokens, rate, time.monotonic() - self._began)

    def _write_progress(self, name: str, tokens: int, rate: float | None, seconds: float, **more: Any) -> None:
        speed = f" · {rate:.0f} tokens/s" if rate else ""
        self.write(
            StageProgress(
                summary=f"{name} {self._done}/{self._total}{speed}",
                name=name,
                done=self._done,
                total=self._total,
                tokens=tokens,
                rate=rate,
                seconds=seconds,
                **more,
            )
        )

    def loading(self, model: str) -> Callable[[float, str], None]:
        """A model is about to be loaded; returns the callback for its progress, which writes at most once a second."""
        self.write(ModelLoading(summary=model, model=model))
        last = 0.0

        def progress(fraction: float, sentence: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY:
                last = time.monotonic()
                summary = f"{sentence} {percent(fraction)}"
                self.write(ModelLoading(level=ALL, summary=summary, model=model, fraction=fraction))

        return progress

    def pause(self, paused: bool) -> None:
        """The run was paused, or continues: pauses do not count as time of the stage."""
        now = time.monotonic()
        if paused:
            self._waits_since = now
        elif self._waits_since:
            self._began += now - self._waits_since
            self._waits_since = 0.0

    def stage_end(self) -> None:
        """The running stage is complete; its records are on the disk when this returns."""
        seconds = time.monotonic() - self._began
        rate = self._tokens / seconds if self._tokens and seconds > 0 else None
        speed = f" · {rate:.0f} tokens/s" if rate else ""
        self.write(
            StageEnd(
                summary=f"{self._stage}: {self._done} in {seconds:.1f} s{speed}",
                name=self._stage,
                done=self._done,
                total=self._total,
                seconds=seconds,
                tokens=self._tokens,
                rate=rate,
            ),
            sync=True,
        )

    def notice(self, sentence: str) -> None:
        """Something that the user should know, without a word of any text."""
        self.write(Notice(summary=sentence))

    def failed(self, error: BaseException) -> None:
        """A failure after which the run continues; of an unforeseen one the traceback is kept, too."""
        trace = "" if isinstance(error, RedraftError) else _trace(error)
        self.write(Failure(summary=failed_words(error), type=type(error).__name__, traceback=trace))

    def error(self, error: BaseException) -> None:
        """The failure that ends the run: its message for the user, its traceback for the journal only."""
        self.write(RunError(summary=failed_words(error), type=type(error).__name__, traceback=_trace(error)), sync=True)


def _trace(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)))
