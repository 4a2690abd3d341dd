"""Hashed n-gram features of a text, in addition to hidden states: words, word bigrams and character 4-grams. Disguised
spellings ("h4te", "h a t e") are normalized first.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.judges.rules.normalize import normalize

N_FEATURES = 8192
"""Hash buckets; a power of two."""
_CHARACTERS = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")


def ngram_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Binary occurrence of each hash bucket, L2-normalized per text.

    Returns:
        float32 [texts, N_FEATURES]; zeros for a text without a token.
    """
    out = np.zeros((len(texts), N_FEATURES), dtype=np.float32)
    for row, text in zip(out, texts, strict=True):
        buckets = np.fromiter({zlib.crc32(ngram) % N_FEATURES for ngram in _ngrams(text)}, dtype=np.int64)
        if len(buckets):
            row[buckets] = 1.0 / np.sqrt(len(buckets))
    return out


def _ngrams(text: str) -> set[bytes]:
    tokens = _TOKEN.findall(normalize(text).text.lower())
    joined = " ".join(tokens)
    bigrams = (f"{a} {b}" for a, b in itertools.pairwise(tokens))
    characters = (f"#{joined[i : i + _CHARACTERS]}" for i in range(len(joined) - _CHARACTERS + 1))
    return {ngram.encode("utf-8", "replace") for ngram in itertools.chain(tokens, bigrams, characters)}
