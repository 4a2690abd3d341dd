"""How much short texts have in common, and files to read, for the tests of this folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

_FUNCTION_WORDS = """
a about after all am an and any are as at be because been before but by can could did do does doesn't don't for from
get give had has have he her him his how i i'd i'll i'm i've if in into is isn't it it's its just make me more my no not
of on one or our out she should so some tell than that that's the their them then there they this to too up us was we
what what's when where which while who whom why will with without won't would write yes you your please
"""


@dataclass(frozen=True)
class Likeness:
    """What two texts share, each from 0 (nothing) to 1 (everything).

    Args:
        ids: of the two.
        jaccard: content words in both, of those in either.
        trigrams: runs of three words in both, of those in the text that has fewer.
    """

    ids: tuple[str, str]
    jaccard: float
    trigrams: float


Likenesses = Callable[[Iterable[tuple[str, str]]], Iterator[Likeness]]


@pytest.fixture(scope="session")
def likenesses() -> Likenesses:
    """Compares each of the texts (id, text) with each other."""

    def compare(texts: Iterable[tuple[str, str]]) -> Iterator[Likeness]:
        prepared = [
            (
                name,
                frozenset(words).difference(_FUNCTION_WORDS.split()),
                frozenset(zip(words, words[1:], words[2:], strict=False)),
            )
            for name, text in texts
            for words in [re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower())]
        ]
        for (a, words_a, runs_a), (b, words_b, runs_b) in combinations(prepared, 2):
            either = len(words_a | words_b)
            fewer = min(len(runs_a), len(runs_b))
            yield Likeness(
                (a, b),
                len(words_a & words_b) / either if either else 0.0,
                len(runs_a & runs_b) / fewer if fewer else 0.0,
            )

    return compare


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Writes a file of this name and gives its path."""

    def to_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file
