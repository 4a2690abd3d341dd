"""Finds exact and near duplicates among texts: copies are not independent samples and count once.

Two texts are duplicates where their normalized tokens are equal (case, punctuation, white space, list numbers and words
of courtesy ignored), or where the Jaccard similarity of their token 3-shingles is at least `MIN_SIMILARITY`. Shingles
are padded at both ends, so one substituted word costs three shingles wherever it stands; texts of fewer than 19 words
that differ in a word are therefore never duplicates. The similarity join is exact (prefix filtering over the rarest
shingles: Bayardo et al. 2007, "Scaling up all pairs similarity search").
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from engine.text import sanitize

MIN_SIMILARITY = 0.75
"""Jaccard similarity of two texts' shingles from which they are near duplicates."""

SHINGLE = 3
"""Tokens of a shingle."""

_MIN_TOKENS = 15
"""Shorter texts cannot reach `MIN_SIMILARITY` without being equal: one appended token leaves k of k + 5 shingles."""

_COUNTERS = 1 << 24
_WATCHED = 256
"""Texts between two reports of progress."""

_NO_SPACES = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
"""Characters of scripts that write no spaces between words: each is a token."""

_LIST_NUMBER = re.compile(
    r"\s*(?:\(?(?:\d{1,4}[.)]|[a-z]\))|#\d{1,4}:?|(?:q|question)(?: ?\d{1,4})?[.:]|[-*•])\s+(?=\S)", re.IGNORECASE
)
_MINUS = re.compile(r"(?:(?<=[\s=(<>+*/,:])|^)[-−–](?=\d)")
"""A sign of a number, not a hyphen."""
_MINUS_TOKEN = " ⊖ "
_MARKS: dict[int, str | None] = {
    **dict.fromkeys(map(ord, '.,;:!?"`_*()[]{}-\u2010\u2011\u2012–—\u2015−“”„«»…¿¡。、！？；：「」『』（）·•'), " "),
    # The dot above is what is left of a Turkish capital İ in lower case.
    **dict.fromkeys(map(ord, "'‘’ʼ′\u0307\u00ad\u180e\u200b\u200c\u200d\u2060\ufe0e\ufe0f")),
    0x2044: "/",
}
"""Marks of sentences, which separate words, and what is dropped inside a word."""

_GREETINGS = frozenset({"hi", "hello", "hey"})
_REQUESTS = frozenset({"please", "kindly"})
_COURTESY = _GREETINGS | _REQUESTS | {"thanks"}
_THANKS_AT_END = re.compile(r"[.,;:!?]\s*thanks\W*$")


def tokens(text: str) -> list[str]:
    """The text's tokens as they are compared: words in lower case, single characters of scripts without spaces, and
    symbols that carry meaning (+, #, <); the text itself where that leaves nothing."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", sanitize(text).replace("\u00b4", "'"))
    if number := _LIST_NUMBER.match(text):
        text = text[number.end() :]
    folded = text.casefold()
    signed = _MINUS.sub(_MINUS_TOKEN, folded) if "-" in folded or not folded.isascii() else folded
    plain = signed.translate(_MARKS)
    found = (plain if plain.isascii() else _NO_SPACES.sub(r" \1 ", plain)).split()
    if not _COURTESY.isdisjoint(found):
        found = _without_courtesy(found, folded)
    return found or [folded.strip()]


def _without_courtesy(found: list[str], folded: str) -> list[str]:
    """The tokens without a greeting before the question, thanks after it, and "please": elsewhere these words are what
    is asked about ("the French word for thanks")."""
    kept = [token for token in found if token not in _REQUESTS]
    while len(kept) > 1 and kept[0] in _GREETINGS:
        kept = kept[1:]
    if len(kept) > 1 and _THANKS_AT_END.search(folded):
        kept = kept[:-1]
    return kept or found


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two texts' shingles, 0 to 1."""
    a, b = _shingles(tokens(one)), _shingles(tokens(other))
    return len(a & b) / len(a | b)


def representatives(texts: Sequence[str], watch: Callable[[float], None] | None = None) -> list[int]:
    """For each text the position of the first text that it is a duplicate of; its own where it is the first.

    A duplicate is compared with first occurrences only, so a chain of small edits does not join distant texts.

    Args:
        watch: called now and then with the share of the work that is done, 0 to 1. What it raises ends the work.
    """
    result = list(range(len(texts)))
    first: dict[str, int] = {}
    long: list[int] = []
    shingles = array("q")
    starts = [0]
    for place, text in enumerate(texts):
        if watch is not None and place % _WATCHED == 0:
            watch(place / len(texts) / 2)
        found = tokens(text)
        result[place] = first.setdefault(" ".join(found), place)
        if result[place] == place and len(found) >= _MIN_TOKENS:
            long.append(place)
            shingles.extend(_shingles(found))
            starts.append(len(shingles))
    if len(long) > 1:
        _join(long, shingles, starts, result, watch)
    # Equal texts follow the first of them, which may itself turn out to be near another.
    return [result[twin] for twin in result]


def _join(
    long: Sequence[int],
    shingles: array[int],
    starts: Sequence[int],
    result: list[int],
    watch: Callable[[float], None] | None,
) -> None:
    """Write into `result` which of the long texts is a near duplicate of an earlier one.

    Args:
        long: positions of the texts in `result`.
        shingles, starts: those of text i are `shingles[starts[i]:starts[i + 1]]`.
    """
    import numpy as np  # only here: reading a few prompts needs no numpy

    # Collisions make a count too high, which costs time and never a duplicate.
    buckets = np.frombuffer(shingles, dtype=np.int64) & (_COUNTERS - 1)
    counts = np.bincount(buckets, minlength=_COUNTERS)[buckets]
    repeated = np.add.reduceat(counts > 1, np.asarray(starts[:-1]), dtype=np.int64)
    postings: defaultdict[int, list[int]] = defaultdict(list)
    for text in np.flatnonzero(repeated >= MIN_SIMILARITY * np.diff(np.asarray(starts))).tolist():
        if watch is not None and text % _WATCHED == 0:
            watch(0.5 + text / len(long) / 2)
        start, end = starts[text], starts[text + 1]
        needed = math.ceil(MIN_SIMILARITY * (end - start))
        rarest = sorted((int(n), h) for n, h in zip(counts[start:end], shingles[start:end], strict=True) if n > 1)
        # Two similar texts share one of the rarest len - needed + 1 shingles of each; unique ones are the rarest.
        prefix = [shingle for _, shingle in rarest[: len(rarest) - needed + 1]]
        candidates = {earlier for shingle in prefix for earlier in postings.get(shingle, ())}
        own = frozenset(shingles[start:end])
        near = (one for one in candidates if _alike(own, shingles[starts[one] : starts[one + 1]]))
        twin = min(near, default=None)
        if twin is None:
            for shingle in prefix:
                postings[shingle].append(text)
        else:
            result[long[text]] = long[twin]


def clusters(texts: Sequence[str]) -> list[str]:
    """A name per text, the same for duplicates; for `engine.stats.paired`."""
    return [str(place) for place in representatives(texts)]


def shared(texts: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Positions of `texts` that are duplicates of one of `others`, each with that one's position."""
    found = representatives([*others, *texts])
    return {
        place: found[len(others) + place] for place in range(len(texts)) if found[len(others) + place] < len(others)
    }


def _alike(one: frozenset[int], other: Sequence[int]) -> bool:
    fewer, more = sorted((len(one), len(other)))
    if fewer < MIN_SIMILARITY * more:
        return False
    both = len(one.intersection(other))
    return both >= MIN_SIMILARITY * (fewer + more - both)


def _shingles(found: Iterable[str]) -> frozenset[int]:
    """Hashes of the runs of `SHINGLE` tokens, the ends padded."""
    padding = [""] * (SHINGLE - 1)
    padded = [*padding, *found, *padding]
    return frozenset(map(hash, zip(*(padded[start:] for start in range(SHINGLE)), strict=False)))
