"""Which tokens two sequences have in common, in order; and which characters differ inside a changed word.

Knows nothing of text layout: it takes keys and returns blocks of equal keys. The longest common subsequence is found by
rapidfuzz (bit-parallel, Hyyrö 2004) on numbers that stand for tokens, then cleaned up for readers; characters are
compared by diff-match-patch (Myers 1986 with its semantic cleanup).
"""

from __future__ import annotations

from collections.abc import Sequence

import regex  # type: ignore[import-untyped]
from diff_match_patch import diff_match_patch
from rapidfuzz.distance import LCSseq

from engine.textdiff.tokens import is_word

Block = tuple[int, int, int]
"""Equal tokens: where they start on the left, where on the right, how many."""

Range = tuple[int, int]
"""Characters of a word: start, end (exclusive)."""

MAX_CELLS = 400_000_000
"""Pairs of tokens that one diff may compare: 20,000 against 20,000, which takes .1 s and 50 MB."""

_MAX_WORD = 80
"""Characters of the longest word whose characters are compared."""
_MIN_ALIKE = 0.5
"""Share of the longer word's characters that both words must have in common; less is another word."""

_LIGHT_WORDS = "a an and as at be but by for from if in is it its of on or so than that the their this to"
_LIGHT = frozenset(_LIGHT_WORDS.split())
_HEAVY_WEIGHT = 3


class Budget:
    """The work that a diff may do, as pairs of tokens compared. `exceeded` is set where the search was cut short."""

    def __init__(self, cells: int = MAX_CELLS) -> None:
        self._cells = cells
        self.exceeded = False

    def pieces(self, left: int, right: int) -> int:
        """Into how many pieces a stretch of `left` and `right` tokens has to be cut, and take their cost."""
        wanted = max(1, -(-left * right // max(self._cells, 1)))
        count = max(1, min(wanted, left, right))
        self._cells = max(0, self._cells - left * right // count)
        self.exceeded = self.exceeded or count > 1
        return count


def matching_blocks(left: Sequence[str], right: Sequence[str], budget: Budget) -> list[Block]:
    """The blocks that two token sequences share, rising on both sides, without short islands between edits.

    Where `budget` does not allow the whole search, the sequences are compared in proportional pieces: what moved from
    one piece to another counts as changed, and `budget.exceeded` is set.
    """
    numbers: dict[str, int] = {}
    one = [numbers.setdefault(key, len(numbers)) for key in left]
    other = [numbers.setdefault(key, len(numbers)) for key in right]
    blocks = _slide(_joined(_common_blocks(one, other, budget)), left, right)
    return _without_islands(blocks, left, len(right))


def changed_characters(word: str, other: str) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """The characters of two different words that differ, as ranges of whole grapheme clusters in each.

    Both are empty where the words have too little in common to be forms of one: then they differ as a whole.
    """
    if max(len(word), len(other)) > _MAX_WORD or not (is_word(word) and is_word(other)):
        return (), ()
    matcher = diff_match_patch()
    matcher.Diff_Timeout = 0.0  # no limit: the words are short, and the result must not depend on the machine
    operations = matcher.diff_main(word, other, False)
    matcher.diff_cleanupSemantic(operations)
    same = sum(len(text) for operation, text in operations if operation == matcher.DIFF_EQUAL)
    if same < _MIN_ALIKE * max(len(word), len(other)):
        return (), ()
    return _ranges(word, operations, matcher.DIFF_DELETE), _ranges(other, operations, matcher.DIFF_INSERT)


def _ranges(word: str, operations: Sequence[tuple[int, str]], kind: int) -> tuple[Range, ...]:
    """Where the operations of this kind lie in a word, widened to whole grapheme clusters."""
    clusters = [match.span() for match in regex.finditer(r"\X", word)]
    found: list[Range] = []
    position = 0
    for operation, text in operations:
        if operation not in (0, kind):
            continue
        start, end = position, position + len(text)
        position = end
        if operation == kind:
            touched = [(first, last) for first, last in clusters if first < end and last > start]
            start, end = touched[0][0], touched[-1][1]
            if found and start <= found[-1][1]:
                start = found.pop()[0]
            found.append((start, end))
    return tuple(found)


def _common_blocks(one: list[int], other: list[int], budget: Budget) -> list[Block]:
    """The blocks of the longest common subsequence, in as many pieces as the budget asks for."""
    head = _common_head(one, other)
    tail = _common_head(one[head:][::-1], other[head:][::-1])
    one, other = one[head : len(one) - tail], other[head : len(other) - tail]
    found: list[Block] = [(0, 0, head)]
    count = budget.pieces(len(one), len(other)) if one and other else 0
    for piece in range(count):
        from_one, to_one = (len(one) * edge // count for edge in (piece, piece + 1))
        from_other, to_other = (len(other) * edge // count for edge in (piece, piece + 1))
        for block in LCSseq.opcodes(one[from_one:to_one], other[from_other:to_other]):
            if block.tag == "equal":
                size = block.src_end - block.src_start
                found.append((head + from_one + block.src_start, head + from_other + block.dest_start, size))
    found.append((head + len(one), head + len(other), tail))
    return found


def _common_head(one: Sequence[int], other: Sequence[int]) -> int:
    for place, (token, twin) in enumerate(zip(one, other, strict=False)):
        if token != twin:
            return place
    return min(len(one), len(other))


def _joined(blocks: Sequence[Block]) -> list[Block]:
    """The blocks without empty ones, those that touch on both sides made one."""
    joined: list[Block] = []
    for start_one, start_other, size in blocks:
        if not size:
            continue
        if joined:
            last_one, last_other, last_size = joined[-1]
            if last_one + last_size == start_one and last_other + last_size == start_other:
                joined[-1] = (last_one, last_other, last_size + size)
                continue
        joined.append((start_one, start_other, size))
    return joined


def _slide(blocks: list[Block], left: Sequence[str], right: Sequence[str]) -> list[Block]:
    """Move pure insertions and deletions to where a reader would cut: "a, [b, ]c" rather than "a[, b], c"."""
    blocks = list(blocks)
    for index in range(len(blocks) - 1):
        (one, other, size), (next_one, next_other, next_size) = blocks[index], blocks[index + 1]
        if one + size == next_one:
            shift = _best_shift(right, other + size, next_other, size, next_size)
        elif other + size == next_other:
            shift = _best_shift(left, one + size, next_one, size, next_size)
        else:
            continue
        blocks[index] = (one, other, size + shift)
        blocks[index + 1] = (next_one + shift, next_other + shift, next_size - shift)
    return _joined(blocks)


def _best_shift(keys: Sequence[str], start: int, end: int, before: int, after: int) -> int:
    """By how many tokens (negative: to the left) the edit keys[start:end] best moves between its two blocks.

    Neither block may vanish, so that the ones around them keep their places.
    """
    best, best_score = 0, _cut_score(keys, start) + _cut_score(keys, end)
    for direction, room in ((-1, before), (1, after)):
        shift = 0
        while abs(shift) < room - 1:
            into = start + shift if direction > 0 else start + shift - 1
            if keys[into] != keys[into + end - start]:
                break
            shift += direction
            score = _cut_score(keys, start + shift) + _cut_score(keys, end + shift)
            if score > best_score:
                best, best_score = shift, score
    return best


def _cut_score(keys: Sequence[str], place: int) -> int:
    """How natural a cut before the token at `place` is: after a sentence, after a comma, after a word."""
    if place == 0 or place == len(keys):
        return 3
    key = keys[place - 1]
    return 3 if key in (".", "!", "?", "。") else 2 if key in (",", ";", ":", "、", "，") else 0


def _without_islands(blocks: Sequence[Block], left: Sequence[str], right_size: int) -> list[Block]:
    """Drop the blocks between two edits that say less than both: "x [the] y" as two edits is harder to read.

    The semantic cleanup of diff-match-patch, with weights of tokens in place of numbers of characters.
    """
    kept: list[Block] = []

    def edit(end: tuple[int, int], start: tuple[int, int]) -> int:
        return max(start[0] - end[0], start[1] - end[1])

    def drop_light(following: tuple[int, int]) -> None:
        while kept:
            one, other, size = kept[-1]
            behind = (kept[-2][0] + kept[-2][2], kept[-2][1] + kept[-2][2]) if len(kept) > 1 else (0, 0)
            lesser = min(edit(behind, (one, other)), edit((one + size, other + size), following))
            if not lesser or _weight(left[one : one + size]) > lesser:
                return
            kept.pop()

    for block in blocks:
        drop_light(block[:2])
        kept.append(block)
    drop_light((len(left), right_size))
    return kept


def _weight(keys: Sequence[str]) -> int:
    """How much a run of equal tokens says: nothing for punctuation, 1 for a stop word, 3 for any other word."""
    return sum(0 if not is_word(key) else 1 if key.casefold() in _LIGHT else _HEAVY_WEIGHT for key in keys)
