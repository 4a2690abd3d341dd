"""A record is one line that is whole or recognisably damaged, whatever is put into it and whatever happens to it."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events.base import Record
from engine.events.codec import MAX_TIME, DamagedLine, decode, encode

_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
_ENCODABLE = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _ENCODABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ENCODABLE, inner, max_size=3),
    max_leaves=8,
)
_EVENTS = st.builds(
    Record,
    seq=st.integers(0, 2**60),
    time=st.integers(0, int(MAX_TIME)).map(float),
    stage=_ENCODABLE,
    level=st.integers(1, 3),
    summary=_ENCODABLE,
    item=_ENCODABLE,
    texts=st.dictionaries(_ENCODABLE, _ENCODABLE, max_size=3),
    raw=st.dictionaries(_ENCODABLE, _ENCODABLE, max_size=3),
    data=st.dictionaries(_ENCODABLE, _JSON, max_size=3),
)


def sealed(record: dict[str, Any] | bytes) -> bytes:
    """A line with a checksum that fits, as anyone can make one."""
    head = (record if isinstance(record, bytes) else json.dumps(record).encode())[:-1]
    return head + b',"crc":"%08x"}\n' % zlib.crc32(head)


def record(**changes: Any) -> dict[str, Any]:
    return {"v": 1, "seq": 0, "time": 1.0, "stage": "NOTICE", "level": 1, "summary": "", **changes}


@given(_EVENTS)
def test_what_is_written_is_what_is_read(event: Record) -> None:
    assert decode(encode(event)) == event


@given(_EVENTS)
def test_a_record_is_one_line(event: Record) -> None:
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


@given(_TEXT, _TEXT)
def test_any_text_can_be_written_lone_surrogates_included(text: str, label: str) -> None:
    event = decode(encode(Record(0, 0.0, "NOTICE", 1, text, texts={label: text})))
    assert event.summary == text.encode("utf-8", "replace").decode()


def test_a_record_is_a_json_object_that_any_reader_of_json_lines_understands() -> None:
    line = encode(Record(3, 1.5, "NOTICE", 1, "ä", item="a", texts={"draft": "x\ny"}, data={"n": 1}))
    assert json.loads(line) | {"crc": ""} == {
        "v": 1,
        "seq": 3,
        "time": 1.5,
        "stage": "NOTICE",
        "level": 1,
        "summary": "ä",
        "item": "a",
        "texts": {"draft": "x\ny"},
        "data": {"n": 1},
        "crc": "",
    }


def test_numbers_that_are_not_finite_become_null_wherever_they_stand() -> None:
    data = {"loss": math.nan, "more": [math.inf, {"x": -math.inf, "y": 1.0}], "fine": 2}
    event = decode(encode(Record(0, 0.0, "NOTICE", 1, "", data=data)))
    assert event.data == {"loss": None, "more": [None, {"x": None, "y": 1.0}], "fine": 2}


def test_values_of_other_libraries_become_plain_ones_instead_of_ending_the_run() -> None:
    data = {
        "scalar": numpy.float32(0.5),
        "nan": numpy.float32("nan"),
        "array": numpy.arange(3),
        "path": Path("a/b"),
        "set": {1},
        1: "number as key",
    }
    event = decode(encode(Record(0, 0.0, "NOTICE", 1, "", data=data)))
    assert event.data == {
        "scalar": 0.5,
        "nan": None,
        "array": [0, 1, 2],
        "path": "a/b",
        "set": [1],
        "1": "number as key",
    }


def test_a_text_of_ten_megabytes_survives() -> None:
    text = "Grüße \x1b[31m\n" * 1_000_000
    assert decode(encode(Record(0, 0.0, "NOTICE", 1, "", texts={"text": text}))).texts["text"] == text


@settings(max_examples=300)
@given(_EVENTS, st.data())
def test_a_changed_bit_is_always_noticed(event: Record, data: st.DataObject) -> None:
    line = bytearray(encode(event)[:-1])
    position = data.draw(st.integers(0, len(line) - 1))
    line[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedLine):
        decode(bytes(line))


@settings(max_examples=300)
@given(_EVENTS, st.data())
def test_a_line_that_was_cut_is_always_noticed(event: Record, data: st.DataObject) -> None:
    line = encode(event)[:-1]
    end = data.draw(st.integers(0, len(line) - 1))
    with pytest.raises(DamagedLine):
        decode(line[:end])
    with pytest.raises(DamagedLine):
        decode(line[len(line) - end :])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_damage_and_nothing_worse(line: bytes) -> None:
    with pytest.raises(DamagedLine):
        decode(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": None},
        {"seq": "1"},
        {"seq": None},
        {"seq": 1.5},
        {"seq": True},
        {"time": "now"},
        {"time": -1},
        {"time": 1e300},
        {"time": 10**400},
        {"time": None},
        {"time": math.nan},
        {"time": math.inf},
        {"stage": 5},
        {"level": "x"},
        {"level": []},
        {"summary": None},
        {"item": 5},
        {"texts": ["a"]},
        {"texts": {"a": 5}},
        {"raw": "a"},
        {"raw": {"a": None}},
        {"data": []},
        {"data": None},
    ],
)
def test_a_line_whose_checksum_fits_but_whose_members_do_not_is_damage(changes: dict[str, Any]) -> None:
    with pytest.raises(DamagedLine):
        decode(sealed(record(**changes)))


@pytest.mark.parametrize(
    "line",
    [
        b'{"v":1}',
        b"{}",
        b'"text}',
        b"[1}",
        b'{"v":1,"seq":' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"v":1,"stage":"\xff"}',
    ],
)
def test_a_line_whose_checksum_fits_but_that_is_no_record_is_damage(line: bytes) -> None:
    with pytest.raises(DamagedLine):
        decode(sealed(line))


def test_members_that_a_newer_program_added_are_passed_over() -> None:
    assert decode(sealed(record(colour="red"))).stage == "NOTICE"


def test_nan_in_a_foreign_record_is_read_as_null() -> None:
    assert decode(sealed(record(data={"loss": math.nan}))).data == {"loss": None}
