"""The text that a verdict in the log is about: it stands in another record of the same journal, before the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.events.base import Record
from tui.services.log_store import LogStore

_LOOK_BACK = 50_000
"""Records that are searched at most."""


@dataclass(frozen=True)
class Judged:
    """A text, the prompt that it answers ("" where that is not known), and the data of a verdict on it."""

    name: str
    text: str
    prompt: str
    verdict: Mapping[str, Any]


def judged_texts(store: LogStore, number: int) -> list[Judged]:
    """The texts that a record has a verdict on: two of a comparison, else one; none where it has no verdict."""
    record = store.event(number)
    if record.stage.startswith("COMPARISON-TEST"):
        prompt = str(record.texts.get("prompt", ""))
        verdicts = ((arm, record.data.get(arm)) for arm in ("base", "trained"))
        return [
            Judged(arm, str(record.texts.get(arm, "")), prompt, found)
            for arm, found in verdicts
            if isinstance(found, Mapping)
        ]
    if "flagged" not in record.data:
        return []
    found = _text_of(store, number, record)
    return [found] if found is not None else []


def _text_of(store: LogStore, number: int, verdict: Record) -> Judged | None:
    """The text before a verdict, with its prompt, which may stand in a record before the text."""
    item = f'"item":{json.dumps(verdict.item, ensure_ascii=False)}'.encode("utf-8", "replace")
    text: str | None = None
    for earlier in range(number - 1, max(-1, number - 1 - _LOOK_BACK), -1):
        if verdict.item and item not in store.raw(earlier):
            continue
        record = store.event(earlier)
        if record.item != verdict.item:
            continue
        if text is None:
            text = _answers(verdict, record)
        if text is not None:
            prompt = record.texts.get("prompt")
            if prompt is not None or record.stage == "EVAL-INPUT":
                return Judged("", text, str(prompt or ""), verdict.data)
    return Judged("", text, "", verdict.data) if text is not None else None


_CANDIDATES = {"REVISION-CANDIDATE": "revision", "DRAFT-SAMPLE": "sample", "DEMONSTRATION": "demonstration"}
"""Stages whose texts a verdict on a candidate may be about -> name of the text."""


def _answers(verdict: Record, record: Record) -> str | None:
    """The text of a record, where the verdict is on it."""
    stage, texts, data = verdict.stage, record.texts, record.data
    if stage == "INITIAL-EVALUATION":
        return texts.get("draft") if record.stage == "INITIAL-GENERATION" else None
    if stage == "REVISION-EVALUATION":
        return texts.get("revision") if record.stage == "REVISION-GENERATION" else None
    if stage == "CANDIDATE-EVALUATION":
        same = record.stage in _CANDIDATES and _same(verdict, record, "candidate")
        return texts.get(_CANDIDATES[record.stage]) if same else None
    if stage in ("COMPARISON-EVALUATION", "COMPARISON-SECOND-VERDICT"):
        same = record.stage == "COMPARISON-ANSWER" and _same(verdict, record, "set", "arm", "sample")
        return texts.get("answer") if same else None
    if stage == "EVAL-DECISION":
        return texts.get("text") if record.stage == "EVAL-INPUT" and isinstance(data, Mapping) else None
    return None


def _same(verdict: Record, record: Record, *names: str) -> bool:
    return all(verdict.data.get(name) == record.data.get(name) for name in names)
