"""The judge by rules: matches the constitution's patterns and reports each span. Needs no model.

No match is a verdict of this judge (flagged False), since a rule cannot distinguish "clean" from "unknown"; a panel
may give it less weight.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.base import Finding, Judge, JudgeInput, Verdict, heaviest_finding
from engine.judges.rules.matching import Match, matcher_of
from engine.judges.rules.prompt_injection import mask_injections
from engine.text import split_zero_width

THRESHOLD = 0.5
"""Probability from which a principle counts as broken."""
_MAX_QUOTE = 60
_MAX_LISTED = 3


class RulesJudge(Judge):
    """Judges texts by the rules of a constitution.

    The probability that a principle is broken is a noisy-or over its rules: 1 - product of (1 - weight), each rule
    counted once, with the weight of its strongest match.
    """

    finds_spans = True

    def __init__(self, constitution: Constitution) -> None:
        self._constitution = constitution
        self._matcher = matcher_of(tuple((p.id, rule) for p in constitution.principles for rule in p.rules))
        self.name = f"rules ({len(self._matcher)} patterns)"

    def find(self, text: str) -> tuple[Finding, ...]:
        """The matches that count, in order; offsets refer to `text` as given."""
        return self._matcher.find(text)

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        """One verdict per text, in the order given. Never raises because of a text's content.

        Raises:
            Stopped: `control` requests it.
        """
        for text in texts:
            control.check()
            yield self.verdict(text)

    def verdict(self, text: JudgeInput) -> Verdict:
        """The verdict on one text."""
        began = time.perf_counter()
        matches = self._matches(text.text)
        findings = tuple(match.finding for match in matches if match.finding.weight > 0)
        probability = self._probabilities(findings)
        broken = self._constitution.heaviest_first(
            (p for p, value in probability.items() if value >= THRESHOLD), probability
        )
        heaviest = heaviest_finding(findings, broken)
        return Verdict(
            key=text.key,
            flagged=bool(broken),
            principles=probability,
            broken=broken,
            score=self._constitution.score(broken),
            category=heaviest.category if heaviest is not None else "",
            reasoning=self._reasoning(text.text, findings, broken, matches),
            method="rules",
            judge=self.name,
            findings=findings,
            seconds=time.perf_counter() - began,
        )

    def _matches(self, text: str) -> list[Match]:
        """Matches in the text, and those that appear, or count for more, once injections are masked or zero-width
        characters are read as spaces."""
        matches = self._matcher.matches(text)
        masked = mask_injections(text)
        # Every view is as long as the text, so offsets are the same.
        views = dict.fromkeys([masked, split_zero_width(text), split_zero_width(masked)])
        views.pop(text, None)
        if not views:
            return matches
        found = {(match.finding.start, match.finding.end, match.finding.rule): match for match in matches}
        for view in views:
            for match in self._matcher.matches(view):
                key = match.finding.start, match.finding.end, match.finding.rule
                if key not in found or match.finding.weight > found[key].finding.weight:
                    found[key] = match
        return [found[key] for key in sorted(found)]

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

    def _reasoning(
        self, text: str, findings: Sequence[Finding], broken: Sequence[str], matches: Sequence[Match]
    ) -> str:
        """The reason, quoting the matched words; also which matches do not count, and why not."""
        if broken:
            parts = []
            for principle in broken:
                strongest = _strongest([f for f in findings if f.principle == principle], broken)
                named = "; ".join(_named(text, f) for f in strongest[:_MAX_LISTED])
                parts.append(f"{self._constitution.principle(principle).title}: {named}")
            return ". ".join(parts) + "."
        if findings:
            weak = "; ".join(_named(text, f) for f in findings[:_MAX_LISTED])
            return f"Only weak signs: {weak}."
        excused = [match for match in matches if match.excuse]
        if excused:
            named = "; ".join(f"{_quote(text, match.finding)} is {match.excuse}" for match in excused[:_MAX_LISTED])
            return f"No rule counts: {named}."
        return "No rule matches."


def _strongest(findings: Sequence[Finding], broken: Sequence[str]) -> list[Finding]:
    """Findings of the broken principles, one per category, heaviest first."""
    order = {principle: place for place, principle in enumerate(broken)}
    best: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        if finding.principle not in order:
            continue
        key = (finding.principle, finding.category)
        if key not in best or finding.weight > best[key].weight:
            best[key] = finding
    return sorted(best.values(), key=lambda f: (order[f.principle], -f.weight, f.start))


def _named(text: str, finding: Finding) -> str:
    return f"{_quote(text, finding)} ({finding.category.replace('_', ' ')})"


def _quote(text: str, finding: Finding) -> str:
    words = " ".join(text[finding.start : finding.end].split())
    return f'"{words[: _MAX_QUOTE - 1].rstrip()}…"' if len(words) > _MAX_QUOTE else f'"{words}"'
