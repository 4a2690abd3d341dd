"""Which records the log shows, and which its keys jump to: by prompt, stages, principle, words, by what they are.

Each is a matcher for `tui.services.log_search`: whole blocks of the journal are scanned as bytes first, and only
records that may match are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from engine.events.base import Record
from engine.events.codec import dumps
from tui.services.log_search import Words, line_offsets

GROUPS: Mapping[str, tuple[str, ...]] = {
    "drafts": ("TRAINING-EXAMPLE", "INITIAL-GENERATION", "DRAFT-SAMPLE", "DEMONSTRATION"),
    "verdicts": (
        "INITIAL-EVALUATION",
        "CANDIDATE-EVALUATION",
        "REVISION-EVALUATION",
        "COMPARISON-EVALUATION",
        "PAIR-EVALUATION",
        "EVAL-",
    ),
    "critiques": ("CRITIQUE-",),
    "revisions": ("REVISION-GENERATION", "REVISION-CANDIDATE"),
    "pairs": ("TRAINING-PAIR-CREATED",),
    "training": ("TRAIN-", "EPOCH-", "HEALTH-"),
    "comparison": ("COMPARISON-", "SIDE-"),
    "run": ("RUN-", "STAGE-", "MODEL-", "JUDGES", "ERROR", "NOTICE"),
}
"""Name of a group of stages -> beginnings of their names."""


@dataclass(frozen=True)
class LogFilter:
    """What the log shows beside its verbosity; the default shows everything.

    Args:
        item: id of a prompt or of an evaluated text; "" for all.
        group: of `GROUPS`; "" for all.
        principle: id of a principle that a record finds broken or is about; "" for all.
        words: that a record has to hold; None for all.
    """

    item: str = ""
    group: str = ""
    principle: str = ""
    words: Words | None = None

    def __bool__(self) -> bool:
        return bool(self.item or self.group or self.principle or self.words)

    def in_block(self, block: bytes) -> list[int]:
        """Offsets in a block of records at which one may match."""
        if self.item:
            return line_offsets(block, dumps(self.item).encode("utf-8", "replace"))
        if self.words is not None:
            return self.words.in_block(block)
        if self.principle:
            return line_offsets(block, _about(self.principle))
        return line_offsets(block, b'"stage":"')

    def in_event(self, event: Record, verbosity: int) -> bool:
        """Whether the log shows the event, where the verbosity does."""
        return (
            (not self.item or event.item == self.item)
            and (not self.group or event.stage.startswith(GROUPS[self.group]))
            and (not self.principle or _concerns(event, self.principle))
            and (self.words is None or self.words.in_event(event, verbosity))
        )


@lru_cache(maxsize=8)
def _about(principle: str) -> re.Pattern[bytes]:
    """Stands in the bytes of each record that finds this principle broken, or is about it."""
    name = re.escape(dumps(principle).encode("utf-8", "replace"))
    return re.compile(rb'"(?:broken":\s*\[[^\]]*|principle":\s*)' + name)


def _concerns(event: Record, principle: str) -> bool:
    data = event.data
    verdicts = (data, data.get("base"), data.get("trained"))
    broken = (verdict.get("broken") for verdict in verdicts if isinstance(verdict, Mapping))
    return data.get("principle") == principle or any(isinstance(b, list | tuple) and principle in b for b in broken)


@dataclass(frozen=True)
class Target:
    """What a key jumps to, among the records that the filter shows.

    Args:
        name: of one of them, for the user.
        pattern: stands in the bytes of each.
        matches: whether a record is one.
        within: only records that this filter shows.
    """

    name: str
    pattern: re.Pattern[bytes]
    matches: Callable[[Record], bool]
    within: LogFilter = LogFilter()

    def in_block(self, block: bytes) -> list[int]:
        """Offsets in a block of records at which one may stand."""
        return line_offsets(block, self.pattern)

    def in_event(self, event: Record, verbosity: int) -> bool:
        """Whether this is one."""
        return self.matches(event) and self.within.in_event(event, verbosity)


def _is_violation(event: Record) -> bool:
    trained = event.data.get("trained")
    verdict = trained if isinstance(trained, Mapping) else event.data
    return verdict.get("flagged") is True


def _is_kept_pair(event: Record) -> bool:
    return event.stage == "TRAINING-PAIR-CREATED" and event.data.get("kept") is True


def _is_error(event: Record) -> bool:
    return event.stage == "ERROR" or (event.stage == "NOTICE" and "type" in event.data)


TARGETS: Mapping[str, Target] = {
    "violation": Target("violation", re.compile(rb'"flagged":\s*true'), _is_violation),
    "pair": Target("kept pair", re.compile(rb'"TRAINING-PAIR-CREATED"'), _is_kept_pair),
    "error": Target("error", re.compile(rb'"(?:ERROR|NOTICE)"'), _is_error),
}
"""What a key can jump to."""
