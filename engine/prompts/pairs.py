"""Preference pairs from a user's file: TRL's rows with `chosen` and `rejected`, with or without a prompt of their own.

Both answers are texts, or turns of which the last is the assistant's; where no column holds the prompt, it is what both
chats have in common (TRL's implicit prompt), also in hh-rlhf's transcripts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.prompts.columns import (
    ALL_COLUMNS,
    Usage,
    read_content,
    read_label,
    read_prompt,
    read_role,
    read_text,
    turns_in_text,
    with_known_names,
    without_parts,
)
from engine.prompts.files import read_bytes, show
from engine.prompts.load import Prompt, PromptSet, Skipped, mapped, notices_of, prompt_id
from engine.prompts.records import Record, read_records
from engine.text import is_blank, sanitize, truncate

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


@dataclass(frozen=True)
class GivenPair:
    """A better and a worse answer to one prompt, as the user brought them."""

    chosen: str
    rejected: str


@dataclass(frozen=True)
class PairSet:
    """The pairs of a file.

    Args:
        prompts: one per pair; the same prompt may stand there several times, under different ids.
        pairs: id of the prompt -> its pair.
    """

    prompts: PromptSet
    pairs: Mapping[str, GivenPair]


def load_pairs(path: Path | str, *, columns: Mapping[str, str] | None = None) -> PairSet:
    """The preference pairs of a file, in the formats of `load_prompts`.

    Args:
        columns: the name that a field is read by -> the name that it has in the file.

    Raises:
        InputError: the file cannot be read, or holds no pair that can be used; names file, line and field.
    """
    columns = columns or {}
    data = read_bytes(path)
    records = read_records(path, ("chosen", *ALL_COLUMNS, *columns.values()), data=data)
    rows = mapped(records.rows, columns, show(path)) if columns else records.rows
    prompts: list[Prompt] = []
    pairs: dict[str, GivenPair] = {}
    skipped: list[Skipped] = []
    usage = Usage()
    places: dict[str, str] = {}
    first_error: InputError | None = None
    for number, row in enumerate(map(with_known_names, rows), 1):
        try:
            record = _with_turns(_question(row), usage)
            text, messages = read_prompt(record, usage)
            pair = _pair(record)
            topic, principle = read_label(record, "topic"), read_label(record, "principle")
            identifier = prompt_id(row, f"pair-{number:03d}", places)
        except InputError as error:
            first_error = first_error or error
            skipped.append(Skipped(error.where, error.what))
            continue
        prompts.append(Prompt(identifier, text, topic, principle, messages))
        pairs[identifier] = pair
    if not prompts:
        raise first_error or InputError(
            "there is no pair in it.",
            where=show(path),
            next_step='Write {"prompt": ..., "chosen": ..., "rejected": ...}.',
        )
    usage.left_out.pop("answers after the last turn of the user", None)
    for name in ("chosen", "rejected", "score_chosen", "score_rejected", "expected_chosen", "expected_rejected"):
        usage.unused.pop(name, None)
    notices = (*records.notices, *notices_of(show(path), usage, skipped))
    digest = hashlib.sha256(data).hexdigest()
    found = PromptSet("pairs", str(path), digest, tuple(prompts), dict(usage.unused), tuple(skipped), notices)
    return PairSet(found, pairs)


def _question(record: Record) -> Record:
    """The row as a prompt's: a row of plain text has no answers to train on."""
    missing = [name for name in ("chosen", "rejected") if record.fields.get(name) is None]
    if missing:
        raise InputError(
            f"there is no {missing[0]} answer.",
            where=f"{record.place}, field {missing[0]!r}",
            next_step='Write {"prompt": ..., "chosen": ..., "rejected": ...}.',
        )
    return record


def _with_turns(record: Record, usage: Usage) -> Record:
    """The row with answers that are turns written as text as turns, and without thoughts and tool calls among their
    parts."""
    fields: dict[str, Any] = dict(record.fields)
    left_out: list[str] = []
    for column in ("chosen", "rejected"):
        value = turns_in_text(record, column) or fields[column]
        if isinstance(value, dict | list):
            turns = [value] if isinstance(value, dict) else value
            fields[column] = [without_parts(turn, left_out) for turn in turns]
    usage.left_out.update(set(left_out))
    return replace(record, fields=fields)


def _pair(record: Record) -> GivenPair:
    """The two answers of a row.

    Raises:
        InputError: one of them is none, both are the same, or they answer different chats.
    """
    pair = GivenPair(_answer(record, "chosen"), _answer(record, "rejected"))
    if pair.chosen == pair.rejected:
        raise InputError(
            "chosen and rejected are the same text.", where=record.place, next_step="Write two, or delete the row."
        )
    before = [_before(record, column) for column in ("chosen", "rejected")]
    if all(before) and before[0] != before[1]:
        raise InputError(
            "the chats of chosen and rejected differ before their last answers.",
            where=record.place,
            next_step="Write the chat that both answer as prompt, and the answers as texts.",
        )
    return pair


def _before(record: Record, column: str) -> Any:
    """The turns before an answer, where they stand with it; falsy where they do not."""
    value = record.fields[column]
    if isinstance(value, str):
        turns = list(_TURN.finditer(sanitize(value)))
        return sanitize(value)[: turns[-1].start()].strip() if len(turns) > 1 else ""
    if not isinstance(value, list):
        return []
    place = f"{record.place}, field {column!r}"
    return [(read_role(turn, place), read_content(turn, place, optional=True)) for turn in value[:-1]]


def _answer(record: Record, column: str) -> str:
    """One answer: a text, a turn, the last turn of a chat, or the last turn of a transcript."""
    value = record.fields[column]
    where = f"{record.place}, field {column!r}"
    if isinstance(value, list):
        text = _last_turn(value, where)
    else:
        text = read_text(record, column)
        turns = list(_TURN.finditer(text))
        if len(turns) > 1 and turns[-1][1] == "Assistant":
            text = text[turns[-1].end() :]
    text = text.strip()
    if is_blank(text):
        raise InputError(f"the {column} answer is empty.", where=where, next_step="Write a text, or delete the row.")
    return text


def _last_turn(turns: list[Any], where: str) -> str:
    if not turns or read_role(turns[-1], where) != "assistant":
        last = truncate(sanitize(str(turns[-1].get("role", turns[-1].get("from")))), 40) if turns else "missing"
        raise InputError(
            f"the last turn must be the assistant's text, but it is {last!r}.",
            where=where,
            next_step='End it with {"role": "assistant", "content": "..."}.',
        )
    return read_content(turns[-1], where) or ""
