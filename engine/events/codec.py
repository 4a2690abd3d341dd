"""A record as one line of a journal and back.

A line is a JSON object whose last member is the CRC-32 of all bytes before it, so every line is whole or recognizably
damaged, and any tool that reads JSON lines reads a journal. Format version 1; described in docs/journal.md.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from engine.events.base import Record

VERSION = 1
MAX_TIME = 253_402_300_799.0
"""Seconds since the epoch at the end of the year 9999: later times have no ISO 8601 form."""

_TAIL = b',"crc":"00000000"}'


class DamagedLine(ValueError):
    """The bytes are not one whole record."""


class NewerLine(DamagedLine):
    """A whole record of a version of the format that this program does not know."""


def encode(record: Record) -> bytes:
    """The record as one line, newline included. Non-finite numbers become null: JSON has none."""
    members: dict[str, Any] = {
        "v": VERSION,
        "seq": record.seq,
        "time": round(record.time, 6),
        "stage": record.stage,
        "level": record.level,
        "summary": record.summary,
    }
    if record.item:
        members["item"] = record.item
    for name in ("texts", "raw", "data"):
        inner = getattr(record, name)
        if inner:
            members[name] = dict(inner)
    head = dumps(members).encode("utf-8", "replace")[:-1]
    return head + b',"crc":"%08x"}\n' % zlib.crc32(head)


def decode(line: bytes) -> Record:
    """The record of one line (with or without its newline).

    Raises:
        DamagedLine: the line is cut, changed, or of a version that this program cannot read.
    """
    line = line.rstrip(b"\n")
    head = line[: -len(_TAIL)]
    if line[-len(_TAIL) :] != b',"crc":"%08x"}' % zlib.crc32(head):
        raise DamagedLine("checksum does not match" if _has_checksum(line) else "no checksum")
    try:
        # The checksum only detects damage: anyone can write a line that has a matching one.
        members = _parse(str(head, "utf-8") + "}")
    except (ValueError, RecursionError) as error:
        raise DamagedLine(str(error)) from error
    if not isinstance(members, dict):
        raise DamagedLine("expected an object")
    get = members.get
    version, seq, time, stage = get("v"), get("seq"), get("time"), get("stage")
    level, summary, item = get("level"), get("summary"), get("item", "")
    texts, raw, data = get("texts", {}), get("raw", {}), get("data", {})
    # Millions of lines pass here: one look at all types, and the reasons only where something is wrong.
    if not (
        type(version) is type(seq) is type(level) is int
        and version == VERSION
        and type(stage) is type(summary) is type(item) is str
        and type(texts) is type(raw) is type(data) is dict
        and type(time) is float
        and 0 <= time <= MAX_TIME
    ):
        time = _check(members)
    for name, held in (("texts", texts), ("raw", raw)):
        for text in held.values():
            if type(text) is not str:
                raise DamagedLine(f"member {name!r} holds something other than strings")
    record = object.__new__(Record)
    # The constructor of a frozen dataclass sets its fields one by one, which takes a tenth of the time of a record.
    record.__dict__.update(
        seq=seq,
        time=time,
        stage=stage,
        level=level,
        summary=summary,
        item=item,
        texts=texts,
        raw=raw,
        data=data,
    )
    return record


def _has_checksum(line: bytes) -> bool:
    tail = line[-len(_TAIL) :]
    return len(tail) == len(_TAIL) and tail[:8] == _TAIL[:8] and tail[-2:] == b'"}'


def _parse(text: str) -> Any:
    """As `json.loads`, without its search for white space around the value, which the encoder does not write."""
    try:
        value, end = _SCAN(text, 0)
    except StopIteration:
        return _DECODER.decode(text)
    return value if end == len(text) else _DECODER.decode(text)


def _check(members: dict[str, Any]) -> float:
    """Say which member is not what it should be; a time may be a whole number. Returns the time.

    Raises:
        DamagedLine: one is not.
    """
    version = members.get("v")
    if version != VERSION or isinstance(version, bool):
        kind = NewerLine if isinstance(version, int) and version > VERSION else DamagedLine
        raise kind(f"version {str(version)[:20]!r} of the journal is not known; this program reads version {VERSION}")
    for name, expected in _TYPES.items():
        if type(members.get(name, _DEFAULTS.get(name))) is not expected:
            raise DamagedLine(f"member {name!r} is missing or of another type")
    time = members.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time <= MAX_TIME:
        raise DamagedLine("member 'time' is not a time")
    return float(time)


def dumps(value: Any) -> str:
    """The value as JSON without spaces; non-finite numbers become null, numbers of other libraries plain ones."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError):
        return _ENCODER.encode(plain(value))


def plain(value: Any) -> Any:
    """The value in JSON's own types: a stray path or array element in an event's data must not end a run."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(member) for member in value]
    if hasattr(value, "tolist"):  # numpy's and torch's scalars and arrays
        return plain(value.tolist())
    return str(value)


def _null(_name: str) -> None:
    """What NaN and Infinity become: they are not JSON, though Python reads them."""


# `json.loads` and `json.dumps` would make one of these for every line.
_DECODER = json.JSONDecoder(parse_constant=_null)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_SCAN = cast(Callable[[str, int], tuple[Any, int]], _DECODER.scan_once)  # type: ignore[attr-defined]

_TYPES = {"seq": int, "stage": str, "level": int, "summary": str, "item": str, "texts": dict, "raw": dict, "data": dict}
_DEFAULTS: dict[str, Any] = {"item": "", "texts": {}, "raw": {}, "data": {}}
