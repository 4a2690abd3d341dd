"""Ways to damage a file that was good: bytes changed anywhere, or one value of a structure replaced by another."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

_PIECES = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"\xc2\x9b",
    b"\xed\xa0\x80",
    b"\r",
    b"\n\n",
    b'"',
    b"'''",
    b'"""',
    b"{",
    b"[" * 3_000,
    b"]",
    b",",
    b"=",
    b"#",
    b"9" * 5_000,
    b"1e999",
    b"NaN",
    b"true",
    b"null",
    b"inf",
    b"1979-05-27T07:32:00Z",
    b"[[principles]]\n",
    b"\\u0000",
    b"\\ud800",
)


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with one to four stretches taken out, doubled, overwritten or with something put between."""

    @st.composite
    def make(draw: Any) -> bytes:
        data = bytearray(good)
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(data)))
            end = min(len(data), start + draw(st.sampled_from((1, 1, 2, 7, 40, 400, 100_000))))
            piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=12))
            kind = draw(st.integers(0, 4))
            if kind == 0:
                del data[start:end]
            elif kind == 1:
                data[start:start] = data[start:end]
            elif kind == 2:
                data[start:end] = piece
            elif kind == 3:
                data[start:start] = piece
            elif data:
                data[start % len(data)] ^= 1 << draw(st.integers(0, 7))
        return bytes(data)

    return make()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(("", " ", "\0", "\x1b[31m", "\u202e", "x" * 3_000, "[bold]", "../..", "/", "nan", "\udcff", "-1"))
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
"""What JSON can hold, and then some."""


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a structure, the whole left out."""
    found: list[tuple[Any, ...]] = []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found += [(*at, key), *places(member, (*at, key))]
    return found


def replaced(good: Any) -> st.SearchStrategy[tuple[Any, tuple[Any, ...]]]:
    """The structure with one to three of its values replaced, taken out, or given a neighbour; and the first place."""

    @st.composite
    def make(draw: Any) -> tuple[Any, tuple[Any, ...]]:
        value = copy.deepcopy(good)
        first: tuple[Any, ...] = ()
        for _ in range(draw(st.integers(1, 3))):
            known = places(value)
            if not known:
                break
            place = draw(st.sampled_from(known))
            first = first or place
            inner = value
            for key in place[:-1]:
                inner = inner[key]
            kind = draw(st.integers(0, 3))
            if kind == 0:
                del inner[place[-1]]
            elif kind == 1 and isinstance(inner, dict):
                inner[draw(st.text(max_size=8))] = draw(VALUES)
            else:
                inner[place[-1]] = draw(VALUES)
        return value, first

    return make()


def as_json(value: Any) -> bytes:
    """The structure as JSON, with NaN and lone surrogates where it holds them."""
    return json.dumps(value).encode("utf-8", "surrogatepass")
