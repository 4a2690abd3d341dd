"""An event: one thing that happened in a run, with its texts. Plain data that every reader works from.

What an event shows at which verbosity is decided by `engine.events.verbosity`, never by the writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OFF, SUMMARY, KEY, ALL = 0, 1, 2, 3
"""Verbosity: nothing, a line for each stage, key stages with texts cut, everything uncut."""


@dataclass(frozen=True)
class Event:
    """One record of a journal.

    Args:
        seq: position in the journal, from 0, without gaps.
        time: seconds since the epoch, UTC, by the writer's wall clock (may jump; `seq` gives the order).
        stage: the stage's name, such as "INITIAL-GENERATION" or "EPOCH-1-BATCH-3" (`engine.events.stages`).
        level: the lowest verbosity that shows the event: SUMMARY, KEY or ALL.
        summary: one line on what happened, without a word of any prompt, answer or other text.
        item: id of the prompt or text that it is about; "" for none.
        texts: label -> text, in the order of showing; shown from verbosity KEY on (there cut to 500 characters).
        raw: label -> text that only verbosity ALL shows: prompts as sent, raw outputs, candidates.
        data: numbers, ids and flags; no texts. JSON types only.
    """

    seq: int
    time: float
    stage: str
    level: int
    summary: str
    item: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
