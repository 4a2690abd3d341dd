"""Which tokens two sequences have in common, in order: diff-match-patch on tokens, within a deadline, cleaned up.

Knows nothing of text layout: it takes keys and gives blocks of equal keys. Source of the method: Myers 1986 as in
diff-match-patch, on one code point per token; patience diff (unique common items) where the sequences are long or
the time is over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from diff_match_patch import diff_match_patch

from engine.textdiff.align import unique_anchors
from engine.textdiff.tokens import is_word

try:
    from fast_diff_match_patch import diff as fast_diff
except ImportError:  # The C++ twin is an option: the same kind of answer, sooner, without holding the GIL.
    fast_diff = None

Block = tuple[int, int, int]
"""Equal tokens: where they start on the left, where on the right, how many."""

_LONG = 400
"""Tokens on one side above which a stretch is first split at what is unique on both sides."""
_LONGEST = 2000
"""Most tokens on one side that Myers is given at once: its half-match step does not look at the clock."""
_DEPTH = 6
"""How often a stretch is split again at what became unique inside it."""
_SHINGLES = (4, 3, 2, 1)
"""Lengths of runs that are looked at for uniqueness: a longer one hardly ever meets its twin by chance."""

_LIGHT_WORDS = "a an and as at be but by for from if in is it its of on or so than that the their this to"
_LIGHT = frozenset(_LIGHT_WORDS.split())
_HEAVY_WEIGHT = 3


class Clock:
    """The time that a diff may take. `late` says that work was cut short by it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.late = False

    def left(self) -> float:
        """Seconds that remain, 0 when the time is over."""
        return max(0.0, self._end - time.monotonic())


def matching_blocks(left: Sequence[str], right: Sequence[str], clock: Clock) -> list[Block]:
    """The blocks that two token sequences share, rising on both sides, without short islands between edits.

    Where `clock` runs out, a stretch is split at the runs of tokens that are unique on both sides; what has none
    counts as changed, and `clock.late` is set.
    """
    numbers: dict[str, int] = {}
    one = [numbers.setdefault(key, len(numbers)) for key in left]
    other = [numbers.setdefault(key, len(numbers)) for key in right]
    blocks = _joined(_stretch(one, other, clock, long=_LONG))
    blocks = _slide(blocks, left, right)
    return _without_islands(blocks, left, len(right))


def _stretch(one: list[int], other: list[int], clock: Clock, *, long: int, depth: int = 0) -> list[Block]:
    """The blocks of a stretch: its common ends, then anchors where it is longer than `long`, then Myers."""
    head = _common_head(one, other)
    tail = _common_head(one[head:][::-1], other[head:][::-1])
    inner_one, inner_other = one[head : len(one) - tail], other[head : len(other) - tail]
    found: list[Block] = [(0, 0, head)]
    if inner_one and inner_other:
        anchors: list[Block] = []
        if max(len(inner_one), len(inner_other)) > long and depth < _DEPTH:
            anchors = _anchors(inner_one, inner_other)
        if anchors:
            inner = _between(inner_one, inner_other, anchors, clock, long=long, depth=depth + 1)
        else:
            inner = _leaf(inner_one, inner_other, clock)
        found += _moved(inner, head, head)
    found.append((len(one) - tail, len(other) - tail, tail))
    return found


def _between(
    one: list[int], other: list[int], anchors: list[Block], clock: Clock, *, long: int, depth: int
) -> list[Block]:
    """The anchors, and the blocks of each stretch between two of them."""
    found: list[Block] = []
    done_one = done_other = 0
    for start_one, start_other, size in [*anchors, (len(one), len(other), 0)]:
        inner = _stretch(one[done_one:start_one], other[done_other:start_other], clock, long=long, depth=depth)
        found += _moved(inner, done_one, done_other)
        found.append((start_one, start_other, size))
        done_one, done_other = start_one + size, start_other + size
    return found


def _leaf(one: list[int], other: list[int], clock: Clock) -> list[Block]:
    """The blocks of a stretch that nothing splits, by Myers while there is time."""
    if clock.left() <= 0:
        clock.late = True
        return []
    longest = max(len(one), len(other))
    if longest > _LONGEST:
        # No unique run in thousands of tokens: one text repeats itself. Proportional pieces keep the work bounded.
        clock.late = True
        return _in_pieces(one, other, -(-longest // _LONGEST), clock)
    blocks, in_time = _myers(one, other, clock)
    if in_time:
        return blocks
    clock.late = True
    anchored = _stretch(one, other, Clock(0), long=0)
    return max(blocks, anchored, key=lambda some: sum(size for _, _, size in some))


def _in_pieces(one: list[int], other: list[int], count: int, clock: Clock) -> list[Block]:
    found: list[Block] = []
    for piece in range(count):
        from_one, to_one = (len(one) * edge // count for edge in (piece, piece + 1))
        from_other, to_other = (len(other) * edge // count for edge in (piece, piece + 1))
        found += _moved(
            _stretch(one[from_one:to_one], other[from_other:to_other], clock, long=_LONGEST), from_one, from_other
        )
    return found


def _myers(one: list[int], other: list[int], clock: Clock) -> tuple[list[Block], bool]:
    """The blocks as diff-match-patch finds them, and whether it ended before the clock did."""
    numbers: dict[int, int] = {}
    # One code point a token, below the surrogates: there are at most 2 * `_LONGEST` different ones.
    text_one = "".join(chr(0x100 + numbers.setdefault(token, len(numbers))) for token in one)
    text_other = "".join(chr(0x100 + numbers.setdefault(token, len(numbers))) for token in other)
    blocks: list[Block] = []
    at_one = at_other = 0
    for operation, size in _operations(text_one, text_other, min(clock.left(), 3600.0)):
        if operation == 0:
            blocks.append((at_one, at_other, size))
        at_one += size if operation <= 0 else 0
        at_other += size if operation >= 0 else 0
    return blocks, clock.left() > 0


def _operations(one: str, other: str, seconds: float) -> list[tuple[int, int]]:
    """Edit operations (-1 removed, 0 same, 1 added) and their lengths, by the faster package that is installed."""
    if fast_diff is not None:
        signs = {"-": -1, "=": 0, "+": 1}
        operations = fast_diff(one, other, timelimit=max(seconds, 0.001), checklines=False, cleanup="No")
        return [(signs[sign], size) for sign, size in operations]
    matcher = diff_match_patch()
    matcher.Diff_Timeout = seconds
    return [(operation, len(text)) for operation, text in matcher.diff_main(one, other, False)]


def _anchors(one: list[int], other: list[int]) -> list[Block]:
    """Runs of tokens that are unique on both sides, as blocks that do not overlap."""
    for size in _SHINGLES:
        runs_one = list(zip(*(one[start:] for start in range(size)), strict=False))
        runs_other = list(zip(*(other[start:] for start in range(size)), strict=False))
        anchors: list[Block] = []
        done_one = done_other = 0
        for start_one, start_other in unique_anchors(runs_one, runs_other):
            # Runs overlap their neighbours: only what the last one did not take yet is new.
            skip = max(done_one - start_one, done_other - start_other, 0)
            if skip < size:
                anchors.append((start_one + skip, start_other + skip, size - skip))
                done_one, done_other = start_one + size, start_other + size
        if anchors:
            return anchors
    return []


def _common_head(one: Sequence[int], other: Sequence[int]) -> int:
    for place, (token, twin) in enumerate(zip(one, other, strict=False)):
        if token != twin:
            return place
    return min(len(one), len(other))


def _moved(blocks: Sequence[Block], by_one: int, by_other: int) -> list[Block]:
    return [(start_one + by_one, start_other + by_other, size) for start_one, start_other, size in blocks]


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
    """Drop the blocks between two edits that say less than both: reading "x [the] y" as two edits helps nobody.

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
