"""A record, which is one line of a journal, and the verbosities at which records are shown.

What a stage's records hold is declared by its event class (`engine.events.schema`). What a record shows at which
verbosity is decided by `engine.events.verbosity`, never by the writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OFF, SUMMARY, KEY, ALL = 0, 1, 2, 3
"""Verbosity: nothing, one line per stage, key stages with truncated texts, everything in full."""


@dataclass(frozen=True)
class Record:
    """One line of a journal, of a known stage or of any other.

    Args:
        seq: position in the journal, from 0, without gaps.
        time: seconds since the epoch, UTC, by the writer's wall clock (may jump; `seq` is the order).
        stage: name of the stage, such as "INITIAL-GENERATION" or "EPOCH-1-BATCH-3" (`engine.events.registry`).
        level: the lowest verbosity that shows the record: SUMMARY, KEY or ALL.
        summary: one line on what happened, without a word of any prompt, answer or other text.
        item: id of the prompt or text that it is about; "" for none.
        texts: label -> text, in display order; shown from verbosity KEY on (there truncated to 500 characters).
        raw: label -> text shown at verbosity ALL only: prompts as sent, raw outputs, candidates.
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
