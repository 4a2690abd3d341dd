"""Matches rules against a text in linear time, and discounts matches that the text does not assert.

Knows rules and text; knows nothing of probabilities or verdicts.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import re2

from engine.constitution.model import Rule
from engine.constitution.patterns import PatternError, compile_pattern, pattern_options
from engine.judges.base import Finding
from engine.judges.rules.context import Excuse, excuse, sentence
from engine.judges.rules.normalize import normalize

_PIECE = 300
_OVERLAP = 120
_RULES_PER_FILTER = 70
"""About half of what a filter can hold, since building one that turns out to be full is wasted work."""
MAX_FINDINGS = 32
"""Findings of one rule in one text; more of them say nothing new."""
MAX_EXAMINED = 64
"""Matches of one rule in one text that are examined, including those that do not count."""

_NAMES_NEGATION = re.compile(r"\b(?:not|never|no longer|cannot|n't?)\b|n't|n'\?t|\bnot?\b", re.IGNORECASE)
_AROUND = b" \n\t.!?:;,\"'()-"
_SENTENCE_END = re.compile(r"[.!?]\s|\n")


@dataclass(frozen=True)
class Match:
    """A match: the finding, and why it does not count in full ("" if it does). A finding of weight 0 does not count."""

    finding: Finding
    excuse: str = ""


@functools.lru_cache(maxsize=4)
def matcher_of(rules: tuple[tuple[str, Rule], ...]) -> Matcher:
    """The matcher of these (principle id, rule) pairs, shared by all judges of a constitution: compiling some hundred
    patterns takes half a second. Thread-safe."""
    return Matcher(rules)


class Matcher:
    """Matches all rules of a constitution.

    Patterns are compiled at the first text. A prefilter over the substrings that each pattern requires selects the few
    rules that can match a piece of the text at all; only those are run.

    Args:
        rules: (principle id, rule) pairs.
    """

    def __init__(self, rules: Iterable[tuple[str, Rule]]) -> None:
        self._rules: Sequence[tuple[str, Rule]] = tuple(rules)
        self._filters: list[tuple[range, re2.Filter | None]] = []
        self._patterns: list[re2._Regexp] = []
        self._exceptions: dict[int, re2._Regexp] = {}
        self._negatable = [not _NAMES_NEGATION.search(rule.pattern) for _, rule in self._rules]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rules)

    def compile(self) -> None:
        """Compile now instead of at the first text.

        Raises:
            PatternError: a pattern is not valid (those of a loaded file are already checked).
        """
        with self._lock:
            if self._filters or not self._rules:
                return
            self._patterns = []
            every = range(len(self._rules))
            parts = (every[start : start + _RULES_PER_FILTER] for start in range(0, len(every), _RULES_PER_FILTER))
            self._filters = [compiled for part in parts for compiled in self._compiled(part)]

    def _compiled(self, part: range) -> Iterator[tuple[range, re2.Filter | None]]:
        """Filters over the rules with these indices; appends the compiled patterns.

        A filter has a fixed memory for the substrings of its patterns. If that is full, the rules are split over two
        filters; a rule that is too large for a filter of its own has none and is always run.
        """
        made = re2.Filter()
        for _, rule in self._rules[part.start : part.stop]:
            try:
                made.Add(rule.pattern.encode(), pattern_options())
            except re2.error:
                compile_pattern(rule.pattern)  # raises with a short reason
                raise PatternError(f"{rule.id} cannot be used") from None
        try:
            made.Compile()
        except re2.error:
            if len(part) > 1:
                half = len(part) // 2
                yield from self._compiled(part[:half])
                yield from self._compiled(part[half:])
                return
            self._patterns.append(made.re(0))
            yield part, None
        else:
            self._patterns += [made.re(index) for index in range(len(part))]
            yield part, made

    def matches(self, text: str) -> list[Match]:
        """Every match in order, including those that do not count. Linear in the text; never raises because of its
        content."""
        self.compile()
        normalized = normalize(text)
        found: dict[tuple[int, int, int], Match] = {}
        kept = [0] * len(self._rules)
        seen = [0] * len(self._rules)
        for offset, piece in _pieces(normalized.text):
            data = piece.encode("utf-8", "replace")
            ascii_only = len(data) == len(piece)
            for index in self._candidates(data):
                if kept[index] >= MAX_FINDINGS or seen[index] >= MAX_EXAMINED:
                    continue
                for match in self._patterns[index].finditer(data):
                    if kept[index] >= MAX_FINDINGS or seen[index] >= MAX_EXAMINED:
                        break
                    begin, end = _trimmed(data, *match.span())
                    if end <= begin:
                        continue
                    if not ascii_only:
                        begin, end = len(data[:begin].decode()), len(data[:end].decode())
                    place = (index, offset + begin, offset + end)
                    if place in found:
                        continue
                    seen[index] += 1
                    hit = self._match(normalized.text, *place, normalized.span(place[1], place[2]))
                    kept[index] += hit.finding.weight > 0
                    found[place] = hit
        return sorted(found.values(), key=lambda hit: (hit.finding.start, hit.finding.end, hit.finding.rule))

    def _candidates(self, data: bytes) -> Iterator[int]:
        """Indices of the rules that can match a piece at all."""
        for part, made in self._filters:
            if made is None:
                yield part.start
            else:
                for index in made.Match(data, True) or ():
                    yield part.start + index

    def find(self, text: str) -> tuple[Finding, ...]:
        """The findings that count, in order."""
        return tuple(hit.finding for hit in self.matches(text) if hit.finding.weight > 0)

    def _match(self, text: str, index: int, start: int, end: int, span: tuple[int, int]) -> Match:
        principle, rule = self._rules[index]
        reason = excuse(text, start, end, self._negatable[index])
        if (
            reason is None
            and rule.except_if
            and self._exception(index).search(sentence(text, start, end).encode("utf-8", "replace"))
        ):
            reason = Excuse("ordinary here", 0.0)
        weight = rule.weight if reason is None else rule.weight * reason.keep
        finding = Finding(principle, rule.category, span[0], span[1], rule.id, weight)
        return Match(finding, "" if reason is None else reason.reason)

    def _exception(self, index: int) -> re2._Regexp:
        pattern = self._exceptions.get(index)
        if pattern is None:
            pattern = self._exceptions[index] = compile_pattern(self._rules[index][1].except_if)
        return pattern


def failed_examples(principle_id: str, rule: Rule) -> Iterator[tuple[str, int, str]]:
    """The example texts that a rule gets wrong: ("match" or "must_not_match", index from 0, text)."""
    matcher = Matcher([(principle_id, rule)])
    for index, text in enumerate(rule.match):
        if not matcher.find(text):
            yield "match", index, text
    for index, text in enumerate(rule.must_not_match):
        if matcher.find(text):
            yield "must_not_match", index, text


def _trimmed(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The match without the surrounding punctuation and space that patterns include to find sentence starts."""
    found = data[start:end]
    return start + len(found) - len(found.lstrip(_AROUND)), start + len(found.rstrip(_AROUND))


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The text in pieces of whole sentences.

    A sentence longer than a piece is cut between words, with an overlap that is longer than most matches.
    """
    start = 0
    while len(text) - start > _PIECE:
        sentence_end = 0
        for match in _SENTENCE_END.finditer(text, start + 1, start + _PIECE):
            sentence_end = match.end()
        if sentence_end:
            yield start, text[start:sentence_end]
            start = sentence_end
            continue
        end = start + _PIECE
        space = text.rfind(" ", start + _PIECE // 2, end)
        end = space if space > 0 else end
        yield start, text[start:end]
        word = text.find(" ", end - _OVERLAP, end)
        start = word + 1 if word > 0 else end - _OVERLAP
    if start < len(text):
        yield start, text[start:]
