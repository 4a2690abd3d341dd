"""The judge that says what can be said exactly: patterns of the constitution, with the place of each match.

"Nothing found" is a verdict of this judge (flagged False), since a rule cannot tell "clean" from "unknown"; a panel
may weigh it for less. Needs no model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.base import Finding, Judged, Verdict, worst_of
from engine.judges.rules import prompt_injection
from engine.judges.rules.matching import Hit, matcher_of
from engine.text import split_zero_width

THRESHOLD = 0.5
"""Probability from which a principle counts as broken."""
_QUOTED = 60
_LISTED = 3


class RulesJudge:
    """Judges texts by the rules of a constitution.

    The probability that a principle is broken is a noisy-or over its rules: 1 - product of (1 - weight), each rule
    counted once, with the weight of its strongest match.
    """

    def __init__(self, constitution: Constitution) -> None:
        self._constitution = constitution
        self._matcher = matcher_of(tuple((p.id, rule) for p in constitution.principles for rule in p.rules))

    @property
    def name(self) -> str:
        return f"rules ({len(self._matcher)} patterns)"

    def find(self, text: str) -> tuple[Finding, ...]:
        """The places of the text that break a principle, in order; spans are characters of `text` as given."""
        return self._matcher.find(text)

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text, in the order given. Never raises for what a text holds.

        Raises:
            Stopped: where `control` asks for it.
        """
        for judged in texts:
            control.check()
            yield self.verdict(judged)

    def verdict(self, judged: Judged) -> Verdict:
        """The verdict on one text."""
        began = time.perf_counter()
        hits = self._hits(judged.text)
        findings = tuple(hit.finding for hit in hits if hit.finding.weight > 0)
        probability = self._probabilities(findings)
        broken = self._constitution.heaviest_first(
            (p for p, value in probability.items() if value >= THRESHOLD), probability
        )
        worst = worst_of(findings, broken)
        return Verdict(
            key=judged.key,
            flagged=bool(broken),
            principles=probability,
            broken=broken,
            score=self._constitution.score(broken),
            category=worst.category if worst is not None else "",
            reasoning=self._reasoning(judged.text, findings, broken, hits),
            method="rules",
            judge=self.name,
            findings=findings,
            seconds=time.perf_counter() - began,
        )

    def _hits(self, text: str) -> list[Hit]:
        """Matches in the text, and those that come to light, or count for more, without what it says to its judge, or
        with zero-width characters read as spaces."""
        hits = self._matcher.hits(text)
        masked = prompt_injection.masked(text)
        # Both are as long as the text, so that places in them are places in the text.
        views = dict.fromkeys([masked, split_zero_width(text), split_zero_width(masked)])
        views.pop(text, None)
        if not views:
            return hits
        found = {(hit.finding.start, hit.finding.end, hit.finding.rule): hit for hit in hits}
        for view in views:
            for hit in self._matcher.hits(view):
                place = hit.finding.start, hit.finding.end, hit.finding.rule
                if place not in found or hit.finding.weight > found[place].finding.weight:
                    found[place] = hit
        return [found[place] for place in sorted(found)]

    def _probabilities(self, findings: Sequence[Finding]) -> dict[str, float]:
        strongest: dict[str, dict[str, float]] = {p: {} for p in self._constitution.ids}
        for finding in findings:
            rules = strongest[finding.principle]
            rules[finding.rule] = max(rules.get(finding.rule, 0.0), finding.weight)
        result: dict[str, float] = {}
        for principle, rules in strongest.items():
            clean = 1.0
            for weight in rules.values():
                clean *= 1.0 - weight
            result[principle] = round(1.0 - clean, 6)
        return result

    def _reasoning(self, text: str, findings: Sequence[Finding], broken: Sequence[str], hits: Sequence[Hit]) -> str:
        """Why, with the words that were matched; also what was matched and not counted, and why not."""
        if broken:
            parts = []
            for principle in broken:
                strongest = _strongest([f for f in findings if f.principle == principle], broken)
                named = "; ".join(f"{_quote(text, f)} ({f.category.replace('_', ' ')})" for f in strongest[:_LISTED])
                parts.append(f"{self._constitution.principle(principle).title}: {named}")
            return ". ".join(parts) + "."
        if findings:
            weak = "; ".join(f"{_quote(text, f)} ({f.category.replace('_', ' ')})" for f in findings[:_LISTED])
            return f"Only weak signs: {weak}."
        excused = [hit for hit in hits if hit.excuse]
        if excused:
            named = "; ".join(f"{_quote(text, hit.finding)} is {hit.excuse}" for hit in excused[:_LISTED])
            return f"No rule counts: {named}."
        return "No rule matches."


def _strongest(findings: Sequence[Finding], broken: Sequence[str]) -> list[Finding]:
    """Findings of the broken principles, one a category, heaviest first."""
    order = {principle: place for place, principle in enumerate(broken)}
    best: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        if finding.principle not in order:
            continue
        key = (finding.principle, finding.category)
        if key not in best or finding.weight > best[key].weight:
            best[key] = finding
    return sorted(best.values(), key=lambda f: (order[f.principle], -f.weight, f.start))


def _quote(text: str, finding: Finding) -> str:
    words = " ".join(text[finding.start : finding.end].split())
    return f'"{words[: _QUOTED - 1].rstrip()}…"' if len(words) > _QUOTED else f'"{words}"'
