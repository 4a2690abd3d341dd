"""A text's own words as numbers, beside what a model's layers make of it: which words, pairs of words and runs of four
letters occur, hashed into a vector. Disguised letters ("h4te", "h a t e") are read as what they stand for.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.judges.rules.normalize import fold

SIZE = 8192
"""Places of the vector; a power of two."""
_LETTERS = 4
_WORD = re.compile(r"\w+|[^\w\s]")


def words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Which of its parts a text has: 1 or 0 for each place, divided so that the squares of a text's row sum to 1.

    Returns:
        float32 [texts, SIZE]; zeros for a text without a word.
    """
    out = np.zeros((len(texts), SIZE), dtype=np.float32)
    for row, text in zip(out, texts, strict=True):
        places = np.fromiter({zlib.crc32(part) % SIZE for part in _parts(text)}, dtype=np.int64)
        if len(places):
            row[places] = 1.0 / np.sqrt(len(places))
    return out


def _parts(text: str) -> set[bytes]:
    found = _WORD.findall(fold(text).text.lower())
    run = " ".join(found)
    pairs = (f"{a} {b}" for a, b in itertools.pairwise(found))
    letters = (f"#{run[i : i + _LETTERS]}" for i in range(len(run) - _LETTERS + 1))
    return {part.encode("utf-8", "replace") for part in itertools.chain(found, pairs, letters)}
