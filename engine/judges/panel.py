"""Rules and a linear probe that decide together: rules match spans and name the kind of violation, the probe finds what
has no fixed wording.

A principle that the probe was not fitted on is judged by its rules alone; one without rules by the probe alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.accuracy import JudgeAccuracy
from engine.judges.base import Judge, JudgeInput, Verdict, heaviest_finding
from engine.judges.probe.features import ReadVectors
from engine.judges.probe.probe import Probe, rule_evidence
from engine.judges.rules.judge import THRESHOLD, RulesJudge

_BATCH_SIZE = 64
"""Texts whose hidden states are computed together; their verdicts come as soon as the batch is done."""

NO_ANSWER = 0.5
"""Probability of being no answer, by the quality probe, from which a text gets no verdict."""

Floats = NDArray[np.float64]


def _off_topic(verdict: Verdict) -> Verdict:
    """No verdict: a text that does not answer its prompt is neither clean nor a violation."""
    return replace(
        verdict,
        flagged=None,
        broken=(),
        score=None,
        method="none",
        quality="off_topic",
        note="No answer. The text does not answer its prompt.",
    )


@dataclass(frozen=True)
class _PrincipleDecision:
    """The panel's decision about one principle.

    Args:
        probability: of a violation, by rules and probe together (or the only one there is).
        probe_probability: by the probe alone.
        state: "broken", "undecided" (inside the abstain band) or "clean".
        method: what decided: "rules", "probe" or "panel".
    """

    probability: float
    probe_probability: float
    state: Literal["broken", "undecided", "clean"]
    method: str


def _method(broken: Sequence[str], decisions: dict[str, _PrincipleDecision], decided: bool) -> str:
    """What decided the verdict: for a violation what decided the heaviest principle."""
    if broken:
        return decisions[broken[0]].method if broken[0] in decisions else "rules"
    return "panel" if decided else "none"


class PanelJudge(Judge):
    """Judges by rules and a probe.

    Args:
        constitution: its principles are judged.
        probe: one member of a set of probes.
        read: computes the probe's input vectors.
        title: display name of the probe, such as "probe A of smollm2-135m-instruct".
    """

    finds_spans = True

    def __init__(self, constitution: Constitution, probe: Probe, read: ReadVectors, title: str) -> None:
        self._constitution = constitution
        self._rules = RulesJudge(constitution)
        self._probe = probe
        self._read = read
        self._known = tuple(p for p in probe.principles if p in constitution.ids)
        self.name = f"{self._rules.name} and {title}" if self._known else self._rules.name

    @property
    def accuracy(self) -> JudgeAccuracy:
        """On texts that the probe was not fitted on; not measured if the probe knows none of the principles."""
        if not self._known:
            return JudgeAccuracy(self.name)
        return JudgeAccuracy(self.name, self._probe.accuracy, self._probe.metrics)

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        """One verdict per text, in the order given. Never raises because of a text's content.

        Raises:
            Stopped: `control` requests it.
        """
        for start in range(0, len(texts), _BATCH_SIZE):
            batch = texts[start : start + _BATCH_SIZE]
            by_rules = list(self._rules.judge(batch, control))
            if not self._known:
                yield from (replace(verdict, judge=self.name) for verdict in by_rules)
                continue
            began = time.perf_counter()
            vectors = self._read(batch, control)
            outputs = vectors.max_over_windows(self._probe.outputs(vectors.values), len(batch))
            seconds = (time.perf_counter() - began) / len(batch)
            count = len(self._probe.principles)
            for text, verdict, row in zip(batch, by_rules, outputs, strict=True):
                found = self._verdict(text, verdict, row[:count], seconds)
                # Without its prompt a text cannot be off topic.
                if text.prompt.strip() and self._probe.quality is not None:
                    found = replace(found, no_answer=round(self._probe.unusable(row[-1]), 6))
                yield _off_topic(found) if (found.no_answer or 0.0) >= NO_ANSWER else found

    def _verdict(self, text: JudgeInput, rules: Verdict, logits: Floats, seconds: float) -> Verdict:
        """Combine the rules' verdict with the probe's logits, [principles of the probe]."""
        if not text.text.strip():
            return replace(rules, judge=self.name)
        decisions = self._decide(rules, logits)
        probabilities = dict(rules.principles) | {p: round(d.probability, 6) for p, d in decisions.items()}
        by_rules_alone = [p for p in rules.broken if p not in self._known]
        over = [*(p for p, d in decisions.items() if d.state == "broken"), *by_rules_alone]
        undecided = [p for p, d in decisions.items() if d.state == "undecided"]
        broken = self._constitution.heaviest_first(over, probabilities)
        decided = bool(broken) or not undecided
        method = _method(broken, decisions, decided)
        heaviest = heaviest_finding(rules.findings, broken)
        return Verdict(
            key=text.key,
            flagged=bool(broken) if decided else None,
            principles=probabilities,
            broken=broken,
            score=self._constitution.score(broken) if decided else None,
            category=heaviest.category if heaviest is not None else "".join(broken[:1]),
            reasoning=self._reasoning(rules, (*broken, *undecided), decisions),
            method=method,
            judge=self.name,
            findings=rules.findings,
            seconds=rules.seconds + seconds,
            note="" if decided else "The probability lies where this judge is not sure enough to decide.",
        )

    def _decide(self, rules: Verdict, logits: Floats) -> dict[str, _PrincipleDecision]:
        """The decision about each principle that both constitution and probe know, in the probe's order."""
        by_rules = np.array([rules.principles.get(p, 0.0) for p in self._probe.principles])
        alone = self._probe.alone(logits)
        combined = self._probe.combined(logits, rule_evidence(by_rules))
        decisions: dict[str, _PrincipleDecision] = {}
        for index, principle in enumerate(self._probe.principles):
            if principle not in self._known:
                continue
            has_rules = bool(self._constitution.principle(principle).rules)
            probability = float(combined[index] if has_rules else alone[index])
            calibration = self._probe.calibrations[index]
            rules_match = by_rules[index] >= THRESHOLD
            if probability >= calibration.threshold or (rules_match and probability >= calibration.low):
                state: Literal["broken", "undecided", "clean"] = "broken"
            else:
                state = "undecided" if probability >= calibration.low else "clean"
            probe_agrees = float(alone[index]) >= calibration.threshold
            method = "panel" if rules_match == probe_agrees else "rules" if rules_match else "probe"
            decisions[principle] = _PrincipleDecision(probability, float(alone[index]), state, method)
        return decisions

    def _reasoning(self, rules: Verdict, principles: Sequence[str], decisions: dict[str, _PrincipleDecision]) -> str:
        """What the rules matched, and the probe's probability of the principles that are broken or undecided."""
        shown = [p for p in principles if p in decisions]
        shown = shown or [max(decisions, key=lambda p: decisions[p].probe_probability)]
        values = ", ".join(
            f"{self._constitution.principle(p).short} {decisions[p].probe_probability:.2f}" for p in shown
        )
        return f"Rules: {rules.reasoning.rstrip('.')}. Probe: {values}."
