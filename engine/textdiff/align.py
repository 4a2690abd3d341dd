"""Which sentence of one text answers to which of the other: similarity, and the best alignment that keeps the order.

Work is bounded: identical sentences that occur once are anchors, and what lies between two anchors is cut into pieces
where a full table would be too large. Knows nothing of words inside a sentence beyond the bag of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from engine.textdiff.tokens import Tokens

SIMILAR = 0.4
"""Least similarity (Dice, see `similarity`) of two sentences that are compared word by word."""

_CELLS = 40_000
"""Pairs of sentences that are scored for one stretch between anchors; about 40 ms."""

_WIDEST = 8
"""Most sentences in a group, both sides together."""

_STOP_WEIGHT = 0.5
_STEM = 5
_STOP_WORD_LIST = """
a an and are as at be been but by can could do does for from had has have he her his i if in into is it it's its just
may me more most my no not of on or our she should so some than that the their them there these they this to too up
very was we were what when which who will with would you your you're
"""
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


@dataclass(frozen=True)
class Bag:
    """What a sentence is about: its content words (by their beginning, so "pursue" meets "pursuing"), and the rest."""

    content: frozenset[str]
    rest: frozenset[str]
    weight: float
    keys: tuple[str, ...]


Group = tuple[int, int, int, int]
"""Sentences that belong together: from and to (excluded) on the left, from and to on the right."""


@dataclass(frozen=True)
class Alignment:
    """The sentences that belong together, rising on both sides.

    Args:
        groups: mostly one sentence a side; more where one was split or several were joined.
        complete: False where the bound on work was met.
    """

    groups: tuple[Group, ...]
    complete: bool


def bag(tokens: Tokens, sentence: tuple[int, int]) -> Bag:
    """The bag of one sentence, a range of token indices."""
    keys = tokens.keys[slice(*sentence)]
    distinct = set(keys)
    folded = {key.casefold() for key in distinct & tokens.words} or distinct
    rest = frozenset(folded & _STOP_WORDS)
    content = frozenset(word[:_STEM] for word in folded - rest)
    return _bag(content, rest, keys)


def _bag(content: frozenset[str], rest: frozenset[str], keys: tuple[str, ...]) -> Bag:
    return Bag(content, rest, len(content) + _STOP_WEIGHT * len(rest), keys)


def similarity(left: Bag, right: Bag) -> float:
    """Dice coefficient of the words of two sentences, 0 to 1; stop words count half, order counts nothing."""
    total = left.weight + right.weight
    return 2 * _shared(left, right) / total if total else 0.0


def alike(left: Bag, right: Bag) -> bool:
    """Whether two aligned sentences are worth a comparison word by word.

    Here their place speaks for them, so stop words count as much as others.
    """
    total = len(left.content) + len(left.rest) + len(right.content) + len(right.rest)
    return 2 * (len(left.content & right.content) + len(left.rest & right.rest)) >= SIMILAR * max(total, 1)


def _shared(left: Bag, right: Bag) -> float:
    return len(left.content & right.content) + _STOP_WEIGHT * len(left.rest & right.rest)


def align(left: Sequence[Bag], right: Sequence[Bag]) -> Alignment:
    """The alignment, in the order of both texts, whose pairs share most words; each pair is at least `SIMILAR`.

    Free sentences next to a pair join it where that makes both sides more similar.
    """
    anchors = unique_anchors([one.keys for one in left], [one.keys for one in right])
    pairs: list[tuple[int, int]] = []
    complete = True
    done_left = done_right = 0
    for anchor_left, anchor_right in [*anchors, (len(left), len(right))]:
        between = (done_left, anchor_left, done_right, anchor_right)
        for piece in _pieces(*between):
            pairs += _align_table(left, right, *piece)
        complete = complete and _fits(*between)
        pairs.append((anchor_left, anchor_right))
        done_left, done_right = anchor_left + 1, anchor_right + 1
    return Alignment(tuple(_grouped(left, right, pairs[:-1])), complete)


def _grouped(left: Sequence[Bag], right: Sequence[Bag], pairs: Sequence[tuple[int, int]]) -> list[Group]:
    """The pairs, each with the neighbours taken in that it is more similar with: a sentence split or joined."""
    groups: list[Group] = []
    for index, (one, other) in enumerate(pairs):
        low_left, low_right = (groups[-1][1], groups[-1][3]) if groups else (0, 0)
        high_left, high_right = pairs[index + 1] if index + 1 < len(pairs) else (len(left), len(right))
        group = (one, one + 1, other, other + 1)
        if left[one].keys != right[other].keys:
            group = _widened(left, right, group, (low_left, high_left, low_right, high_right))
        groups.append(group)
    return groups


def _widened(left: Sequence[Bag], right: Sequence[Bag], group: Group, limits: Group) -> Group:
    """The group extended by the adjacent free sentence that makes its sides most similar, repeated until none does."""
    score = _group_similarity(left, right, group)
    while group[1] - group[0] + group[3] - group[2] < _WIDEST:
        wider = [
            (group[0] - (group[0] > limits[0]), group[1], group[2], group[3]),
            (group[0], group[1] + (group[1] < limits[1]), group[2], group[3]),
            (group[0], group[1], group[2] - (group[2] > limits[2]), group[3]),
            (group[0], group[1], group[2], group[3] + (group[3] < limits[3])),
        ]
        scores = [_group_similarity(left, right, one) for one in wider]
        if max(scores) <= score:
            break
        score = max(scores)
        group = wider[scores.index(score)]
    return group


def _group_similarity(left: Sequence[Bag], right: Sequence[Bag], group: Group) -> float:
    return similarity(_union(left[group[0] : group[1]]), _union(right[group[2] : group[3]]))


def _union(bags: Sequence[Bag]) -> Bag:
    if len(bags) == 1:
        return bags[0]
    return _bag(frozenset().union(*(one.content for one in bags)), frozenset().union(*(one.rest for one in bags)), ())


def unique_anchors(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The longest rising run of items that occur exactly once on each side (patience diff). O(n log n)."""
    places_left = _once(left)
    places_right = _once(right)
    common = [(place, places_right[item]) for item, place in places_left.items() if item in places_right]
    return _longest_rising(common)


def _once(items: Sequence[Hashable]) -> dict[Hashable, int]:
    """Where each item stands that occurs exactly once, in order of place."""
    places: dict[Hashable, int] = {}
    for place, item in enumerate(items):
        places[item] = -1 if item in places else place
    return {item: place for item, place in places.items() if place >= 0}


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence with rising second places; the first places rise already."""
    tops: list[int] = []
    top_index: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        before.append(top_index[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(place)
            top_index.append(index)
        else:
            tops[pile] = place
            top_index[pile] = index
    run: list[tuple[int, int]] = []
    index = top_index[-1] if top_index else -1
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


def _fits(left_from: int, left_to: int, right_from: int, right_to: int) -> bool:
    return (left_to - left_from) * (right_to - right_from) <= _CELLS


def _pieces(left_from: int, left_to: int, right_from: int, right_to: int) -> list[tuple[int, int, int, int]]:
    """A stretch cut into as many proportional pieces as it takes for their tables together to have `_CELLS` cells."""
    rows, columns = left_to - left_from, right_to - right_from
    count = max(1, -(-rows * columns // _CELLS))
    return [
        (
            left_from + rows * piece // count,
            left_from + rows * (piece + 1) // count,
            right_from + columns * piece // count,
            right_from + columns * (piece + 1) // count,
        )
        for piece in range(count)
    ]


def _align_table(
    left: Sequence[Bag], right: Sequence[Bag], left_from: int, left_to: int, right_from: int, right_to: int
) -> list[tuple[int, int]]:
    """The best monotone alignment of one piece by dynamic programming over all its pairs."""
    columns = right_to - right_from
    if left_to == left_from or columns == 0:
        return []
    # best[i][j]: most weight shared by the first i sentences of the left piece and the first j of the right one.
    best = [[0.0] * (columns + 1)]
    matches: list[list[bool]] = []
    for one in left[left_from:left_to]:
        above = best[-1]
        line = [0.0]
        matched = [False] * (columns + 1)
        reached = 0.0
        for column, other in enumerate(right[right_from:right_to], 1):
            reached = max(reached, above[column])
            total = one.weight + other.weight
            # The lesser bag bounds what two can share, which spares most of the set operations.
            if 2 * min(one.weight, other.weight) >= SIMILAR * total:
                shared = _shared(one, other)
                if 2 * shared >= SIMILAR * total and above[column - 1] + shared > reached:
                    reached = above[column - 1] + shared
                    matched[column] = True
            line.append(reached)
        best.append(line)
        matches.append(matched)
    return _trace(best, matches, left_from, right_from)


def _trace(
    best: list[list[float]], matches: list[list[bool]], left_from: int, right_from: int
) -> list[tuple[int, int]]:
    """The pairs on the best way through a table, first to last."""
    pairs: list[tuple[int, int]] = []
    row, column = len(matches), len(best[0]) - 1
    while row and column:
        if matches[row - 1][column]:
            row -= 1
            column -= 1
            pairs.append((left_from + row, right_from + column))
        elif best[row][column] == best[row - 1][column]:
            row -= 1
        else:
            column -= 1
    return pairs[::-1]
