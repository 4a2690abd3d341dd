"""An event as one line of a journal and back.

A line is a JSON object whose last member is the CRC-32 of all bytes before it, so every line is whole or recognisably
damaged, and any tool that reads JSON lines reads a journal. Format version 1; described in docs/journal.md.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

from engine.events.base import Event

VERSION = 1
MAX_TIME = 253_402_300_799.0
"""Seconds since the epoch at the end of the year 9999: later times have no ISO 8601 form."""

_TAIL = b',"crc":"00000000"}'


class DamagedLine(ValueError):
    """The bytes are not one whole record."""


class NewerLine(DamagedLine):
    """A whole record of a version of the format that this program does not know."""


def encode(event: Event) -> bytes:
    """The event as one line, newline included. Non-finite numbers become null: JSON has none."""
    record: dict[str, Any] = {
        "v": VERSION,
        "seq": event.seq,
        "time": round(event.time, 6),
        "stage": event.stage,
        "level": event.level,
        "summary": event.summary,
    }
    if event.item:
        record["item"] = event.item
    for name in ("texts", "raw", "data"):
        members = getattr(event, name)
        if members:
            record[name] = dict(members)
    head = dumps(record).encode("utf-8", "replace")[:-1]
    return head + b',"crc":"%08x"}\n' % zlib.crc32(head)


def decode(line: bytes) -> Event:
    """The event of one line (with or without its newline).

    Raises:
        DamagedLine: the line is cut, changed, or of no version that this program reads.
    """
    line = line.rstrip(b"\n")
    head, tail = line[: -len(_TAIL)], line[-len(_TAIL) :]
    if len(tail) != len(_TAIL) or tail[:8] != _TAIL[:8] or tail[-2:] != b'"}':
        raise DamagedLine("no checksum")
    if tail[8:16] != b"%08x" % zlib.crc32(head):
        raise DamagedLine("checksum does not fit")
    try:
        # The checksum only tells damage from wholeness: anyone can write a line that fits it.
        record = json.loads(head + b"}", parse_constant=_nothing)
    except (ValueError, RecursionError) as error:
        raise DamagedLine(str(error)) from error
    version = record.get("v")
    if version != VERSION or isinstance(version, bool):
        kind = NewerLine if isinstance(version, int) and version > VERSION else DamagedLine
        raise kind(f"version {str(version)[:20]!r} of the journal is not known; this program reads version {VERSION}")
    return Event(
        seq=_member(record, "seq", int),
        time=_time(record),
        stage=_member(record, "stage", str),
        level=_member(record, "level", int),
        summary=_member(record, "summary", str),
        item=_member(record, "item", str, ""),
        texts=_texts(record, "texts"),
        raw=_texts(record, "raw"),
        data=_member(record, "data", dict, {}),
    )


def dumps(value: Any) -> str:
    """The value as JSON without spaces; non-finite numbers become null, numbers of other libraries plain ones."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


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


def _nothing(_name: str) -> None:
    """What NaN and Infinity become: they are not JSON, though Python reads them."""


_Member = TypeVar("_Member")


def _member(record: dict[str, Any], name: str, kind: type[_Member], default: _Member | None = None) -> _Member:
    value = record.get(name, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DamagedLine(f"member {name!r} is missing or of another type")
    return value


def _time(record: dict[str, Any]) -> float:
    value = record.get("time")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        raise DamagedLine("member 'time' is no time")
    return float(value)


def _texts(record: dict[str, Any], name: str) -> dict[str, str]:
    texts = _member(record, name, dict, {})
    if not all(isinstance(text, str) for text in texts.values()):
        raise DamagedLine(f"member {name!r} holds something that is no text")
    return texts
