"""Writes a run's events: the one place that knows what each stage's event carries.

Knows nothing of models; what it writes is defined in `engine.events.stages`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import RedraftError, failed_words
from engine.events.base import ALL, SUMMARY, Event
from engine.runs.journal_writer import JournalWriter
from engine.secrets import redact

_PROGRESS_EVERY = 1.0
"""Seconds between two events on how far something is."""


class Recorder:
    """Appends events to a journal and hands each to `applied`, which keeps the run's state.

    Args:
        journal: where events go.
        applied: called with every event, its texts included.
    """

    def __init__(self, journal: JournalWriter, applied: Callable[[Event], None]) -> None:
        self.journal = journal
        self._applied = applied
        self._stage = ""
        self._total = 0
        self._done = 0
        self._known = 0
        self._tokens = 0
        self._began = 0.0
        self._told = 0.0
        self._waits_since = 0.0

    @property
    def stage(self) -> str:
        """Name of the stage that began last; "" before the first."""
        return self._stage

    @property
    def partly_known(self) -> bool:
        """Whether some items of the running stage, not all, were known when it began."""
        return 0 < self._known < self._total

    def event(
        self,
        stage: str,
        level: int,
        summary: str,
        *,
        item: str = "",
        texts: Mapping[str, str] | None = None,
        raw: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        sync: bool = False,
    ) -> Event:
        """Write one event (see `JournalWriter.append`)."""
        event = self.journal.append(stage, level, summary, item=item, texts=texts, raw=raw, data=data, sync=sync)
        self._applied(event)
        return event

    def stage_start(self, name: str, total: int, *, done: int = 0) -> None:
        """A stage begins; `done` of its `total` items are known from before an interruption."""
        self._stage, self._total, self._tokens = name, total, 0
        self._done = self._known = done
        self._began = self._told = time.monotonic()
        again = f", {done} known already" if done else ""
        self.event(
            "STAGE-START", SUMMARY, f"{name}: {total} to do{again}", data={"name": name, "total": total, "done": done}
        )

    def step(self, items: int = 1, tokens: int = 0) -> None:
        """`items` more of the running stage are done; tells readers at most once a second."""
        self._done += items
        self._tokens += tokens
        now = time.monotonic()
        if now - self._told < _PROGRESS_EVERY:
            return
        self._told = now
        seconds = now - self._began
        rate = self._tokens / seconds if self._tokens else None
        self._progress_event(self._stage, self._done, self._total, rate, seconds)

    def progress(self, name: str, done: int, total: int, rate: float | None) -> None:
        """How far a stage is whose steps have events of their own; at most once a second, and at its end."""
        self._done, self._total = done, total
        now = time.monotonic()
        if now - self._told < _PROGRESS_EVERY and done < total:
            return
        self._told = now
        self._progress_event(name, done, total, rate, now - self._began)

    def _progress_event(self, name: str, done: int, total: int, rate: float | None, seconds: float) -> None:
        speed = f" · {rate:.0f} tokens/s" if rate else ""
        self.event(
            "PROGRESS",
            ALL,
            f"{name} {done}/{total}{speed}",
            data={
                "name": name,
                "done": done,
                "total": total,
                "tokens": self._tokens,
                "rate": None if rate is None else round(rate, 1),
                "seconds": round(seconds, 3),
            },
        )

    def loading(self, model: str) -> Callable[[float, str], None]:
        """A model is about to be loaded; gives what tells readers how far that is, at most once a second."""
        self.event("MODEL-LOADING", SUMMARY, model, data={"model": model})
        told = 0.0

        def progress(fraction: float, sentence: str) -> None:
            nonlocal told
            if time.monotonic() - told >= _PROGRESS_EVERY:
                told = time.monotonic()
                self.event("MODEL-LOADING", ALL, f"{sentence} {fraction:.0%}", data={"model": model})

        return progress

    def pause(self, paused: bool) -> None:
        """The run waits from now on, or goes on: waiting is no time that its stage took."""
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
        self.event(
            "STAGE-END",
            SUMMARY,
            f"{self._stage}: {self._done} in {seconds:.1f} s{speed}",
            data={
                "name": self._stage,
                "done": self._done,
                "total": self._total,
                "seconds": round(seconds, 3),
                "tokens": self._tokens,
                "rate": None if rate is None else round(rate, 1),
            },
            sync=True,
        )

    def notice(self, sentence: str, **data: Any) -> None:
        """Something that a person has to know, without a word of any text."""
        self.event("NOTICE", SUMMARY, sentence, data=data)

    def failed(self, error: BaseException) -> None:
        """A failure that the run goes on after: of one that nobody foresaw the traceback is kept, too."""
        trace = {} if isinstance(error, RedraftError) else {"traceback": _trace(error)}
        self.event("NOTICE", SUMMARY, failed_words(error), raw=trace, data={"type": type(error).__name__})

    def error(self, error: BaseException) -> None:
        """A failure: its message for a person, its traceback for the journal only."""
        self.event(
            "ERROR",
            SUMMARY,
            failed_words(error),
            raw={"traceback": _trace(error)},
            data={"type": type(error).__name__},
            sync=True,
        )


def _trace(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)))
