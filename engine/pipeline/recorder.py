"""Writes a run's events, and knows how far the running stage is.

Knows nothing of models; what the events carry is declared in `engine.events`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from engine.errors import RedraftError, failed_words
from engine.events.base import ALL, Record
from engine.events.notices import Failure, Notice, RunError
from engine.events.run import ModelLoading, StageEnd, StageProgress, StageStart
from engine.events.schema import Event
from engine.runs.journal_writer import JournalWriter
from engine.secrets import redact

_PROGRESS_EVERY = 1.0
"""Seconds between two events on how far something is."""


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
        self._began = 0.0
        self._last_progress = 0.0
        self._waits_since = 0.0

    @property
    def stage(self) -> str:
        """Name of the stage that began last; "" before the first."""
        return self._stage

    @property
    def partly_known(self) -> bool:
        """Whether some items of the running stage, not all, were known when it began."""
        return 0 < self._known < self._total

    def write(self, event: Event, *, sync: bool = False) -> Record:
        """Write one event (see `JournalWriter.write`)."""
        record = self.journal.write(event, sync=sync)
        self._apply(record)
        return record

    def stage_start(self, name: str, total: int, *, done: int = 0) -> None:
        """A stage begins; `done` of its `total` items were finished before an interruption."""
        self._stage, self._total, self._tokens = name, total, 0
        self._done = self._known = done
        self._began = self._last_progress = time.monotonic()
        finished = f", {done} finished already" if done else ""
        self.write(StageStart(summary=f"{name}: {total} to do{finished}", name=name, total=total, done=done))

    def step(self, items: int = 1, tokens: int = 0) -> None:
        """`items` more of the running stage are done; writes a progress event at most once a second."""
        self._done += items
        self._tokens += tokens
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_EVERY:
            return
        self._last_progress = now
        seconds = now - self._began
        rate = self._tokens / seconds if self._tokens else None
        self._progress_event(self._stage, self._done, self._total, rate, seconds)

    def progress(self, name: str, done: int, total: int, rate: float | None) -> None:
        """Progress of a stage whose steps have events of their own; at most once a second, and at its end."""
        self._done, self._total = done, total
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_EVERY and done < total:
            return
        self._last_progress = now
        self._progress_event(name, done, total, rate, now - self._began)

    def _progress_event(self, name: str, done: int, total: int, rate: float | None, seconds: float) -> None:
        speed = f" · {rate:.0f} tokens/s" if rate else ""
        self.write(
            StageProgress(
                summary=f"{name} {done}/{total}{speed}",
                name=name,
                done=done,
                total=total,
                tokens=self._tokens,
                rate=rate,
                seconds=seconds,
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
                summary = f"{sentence} {fraction:.0%}"
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
