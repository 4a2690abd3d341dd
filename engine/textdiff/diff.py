"""A base and a trained answer side by side: sentences aligned, words of aligned sentences marked, nothing lost.

Knows nothing of screens: it returns rows of spans, to be wrapped to a width by the view. Bounded in work, not in time,
so that the result does not depend on the machine; texts may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

from engine.textdiff.align import Group, align, alike, bag
from engine.textdiff.tokens import Tokens, sentences, tokenise
from engine.textdiff.word_diff import MAX_CELLS, Block, Budget, Range, changed_characters, matching_blocks

SpanKind = Literal["same", "removed", "added"]
RowKind = Literal["same", "changed", "replaced", "removed", "added"]


@dataclass(frozen=True)
class Span:
    """A piece of one text. "removed" stands only on the left, "added" only on the right; neither starts or ends with
    white space.

    Args:
        text: as in the text.
        kind: whether the other text has it.
        changed: ranges of characters of `text` that differ where a word became another form of it ("color", "colour");
            empty where words differ as a whole.
    """

    text: str
    kind: SpanKind
    changed: tuple[Range, ...] = ()


@dataclass(frozen=True)
class DiffRow:
    """Sentences of each text that are aligned, mostly one per side; none where there is nothing to show.

    Args:
        left, right: the spans of each side; their texts joined are that side's sentences with their white space.
        kind: "same" (but for white space and Unicode normal form), "changed" (aligned, some words differ), "replaced"
            (aligned for lack of a better match: nothing in common), "removed" or "added" (one side only).
    """

    left: tuple[Span, ...]
    right: tuple[Span, ...]
    kind: RowKind


@dataclass(frozen=True)
class AlignedDiff:
    """Two texts as rows. All left spans joined are the left text exactly, all right spans the right text.

    Args:
        rows: top to bottom.
        truncated: the bound on work was met, so more is marked as changed than need be. Show it.
        words_left, words_right: words of each text.
        changed_words_left, changed_words_right: words inside "removed" and "added" spans.
    """

    rows: tuple[DiffRow, ...]
    truncated: bool
    words_left: int
    words_right: int
    changed_words_left: int
    changed_words_right: int

    @property
    def left_text(self) -> str:
        return "".join(span.text for row in self.rows for span in row.left)

    @property
    def right_text(self) -> str:
        return "".join(span.text for row in self.rows for span in row.right)


def diff_texts(base: str, trained: str, max_cells: int = MAX_CELLS) -> AlignedDiff:
    """The diff of a base and a trained answer, word by word inside aligned sentences.

    The last few results are kept, so moving to and fro between comparisons costs nothing.

    Args:
        base: the left text. Any string.
        trained: the right text.
        max_cells: pairs of words that the search inside sentences may compare.
    """
    return _diff_texts(base, trained, max_cells)


@lru_cache(maxsize=64)
def _diff_texts(base: str, trained: str, max_cells: int) -> AlignedDiff:
    budget = Budget(max_cells)
    sides = _Side(tokenise(base), "removed"), _Side(tokenise(trained), "added")
    left, right = sides
    alignment = align(left.bags, right.bags)
    rows: list[DiffRow] = []
    done_left = done_right = 0
    for group in [*alignment.groups, (len(left.sentences),) * 2 + (len(right.sentences),) * 2]:
        for one, other in zip_longest(range(done_left, group[0]), range(done_right, group[2])):
            if one is not None and other is not None and alike(left.bags[one], right.bags[other]):
                rows.append(_aligned(left, right, (one, one + 1, other, other + 1), budget))
            else:
                rows.append(_unaligned(left, right, one, other))
        if group[0] < group[1]:
            rows.append(_aligned(left, right, group, budget))
        _, done_left, _, done_right = group
    return AlignedDiff(
        tuple(rows),
        budget.exceeded or not alignment.complete,
        left.words,
        right.words,
        left.changed,
        right.changed,
    )


class _Side:
    """One text while its rows are made: makes spans of ranges of tokens and counts the changed words."""

    def __init__(self, tokens: Tokens, marked: SpanKind) -> None:
        self.tokens = tokens
        self.marked = marked
        # A text of white space alone is one sentence without tokens, so that it stays in the rows.
        self.sentences = sentences(tokens) or ([(0, 0)] if tokens.text else [])
        self.bags = [bag(tokens, sentence) for sentence in self.sentences]
        self.words = tokens.count_words()
        self.changed = 0

    def word(self, token: int) -> str:
        """A token as it is written in the text."""
        return self.tokens.text[self.tokens.starts[token] : self.tokens.ends[token]]

    def range(self, first: int, last: int) -> tuple[int, int]:
        """The range of tokens of the sentences from `first` to before `last`."""
        return self.sentences[first][0], self.sentences[last - 1][1]

    def spans(
        self,
        tokens_range: tuple[int, int],
        same: Sequence[tuple[int, int]],
        changed: Mapping[int, tuple[Range, ...]] | None = None,
    ) -> tuple[Span, ...]:
        """The spans of a range of tokens.

        Args:
            tokens_range: first token, one past the last.
            same: the ranges (start, size) inside it that the other side has too.
            changed: token, counted from the range's first -> its characters that differ from the word it replaces.
        """
        tokens = self.tokens
        first, last = tokens_range
        position = tokens.starts[first] if first else 0
        end = tokens.starts[last] if last < len(tokens.keys) else len(tokens.text)
        spans: list[Span] = []
        changed_from = first
        for start, size in [*((first + start, size) for start, size in same), (last, 0)]:
            if changed_from < start:
                begin, until = tokens.starts[changed_from], tokens.ends[start - 1]
                if position < begin:
                    spans.append(Span(tokens.text[position:begin], "same"))
                parts = (changed or {}).get(changed_from - first, ()) if start - changed_from == 1 else ()
                spans.append(Span(tokens.text[begin:until], self.marked, parts))
                self.changed += tokens.count_words(changed_from, start)
                position = until
            changed_from = start + size
        if position < end:
            spans.append(Span(tokens.text[position:end], "same"))
        return tuple(spans)


def _unaligned(left: _Side, right: _Side, one: int | None, other: int | None) -> DiffRow:
    kind: RowKind = "added" if one is None else "removed" if other is None else "replaced"
    return DiffRow(
        left.spans(left.sentences[one], ()) if one is not None else (),
        right.spans(right.sentences[other], ()) if other is not None else (),
        kind,
    )


def _aligned(left: _Side, right: _Side, group: Group, budget: Budget) -> DiffRow:
    range_left, range_right = left.range(*group[:2]), right.range(*group[2:])
    keys_left, keys_right = left.tokens.keys[slice(*range_left)], right.tokens.keys[slice(*range_right)]
    same = keys_left == keys_right
    blocks = [(0, 0, len(keys_left))] if same else matching_blocks(keys_left, keys_right, budget)
    kind: RowKind = "same" if same else "changed" if blocks else "replaced"
    forms = _forms(left, right, blocks, (range_left, range_right))
    return DiffRow(
        left.spans(range_left, [(start, size) for start, _, size in blocks], {one: f[0] for one, _, f in forms}),
        right.spans(range_right, [(start, size) for _, start, size in blocks], {other: f[1] for _, other, f in forms}),
        kind,
    )


def _forms(
    left: _Side, right: _Side, blocks: Sequence[Block], ranges: tuple[tuple[int, int], tuple[int, int]]
) -> list[tuple[int, int, tuple[tuple[Range, ...], tuple[Range, ...]]]]:
    """Each single word that another single word took the place of, with the characters that differ in both."""
    (first, last), (other_first, other_last) = ranges
    found = []
    one = other = 0
    for start, other_start, size in [*blocks, (last - first, other_last - other_first, 0)] if blocks else ():
        if start - one == other_start - other == 1:
            found.append((one, other, changed_characters(left.word(first + one), right.word(other_first + other))))
        one, other = start + size, other_start + size
    return found
