"""An event as one line of a journal and back.

A line is a JSON object whose last member is the CRC-32 of all bytes before it, so every line is whole or recognisably
damaged, and any tool that reads JSON lines reads a journal. Format version 1; described in docs/journal.md.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from engine.journal.event import Event

VERSION = 1
_TAIL = b',"crc":"00000000"}'


class DamagedLine(ValueError):
    """The bytes are not one whole record."""


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
    try:
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        body = json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    head = body.encode("utf-8", "replace")[:-1]
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
        record = json.loads(head + b"}")
    except (ValueError, RecursionError) as error:
        raise DamagedLine(str(error)) from error
    if record.get("v") != VERSION:
        raise DamagedLine(f"version {record.get('v')!r} is not known; this program reads version {VERSION}")
    try:
        return Event(
            seq=int(record["seq"]),
            time=float(record["time"]),
            stage=str(record["stage"]),
            level=int(record["level"]),
            summary=str(record["summary"]),
            item=str(record.get("item", "")),
            texts=record.get("texts", {}),
            raw=record.get("raw", {}),
            data=record.get("data", {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedLine(f"member {error} is missing or of another type") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(member) for member in value]
    return value
