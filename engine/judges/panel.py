"""Rules and a probe that decide together: the rules name places and kinds, the probe knows what has no fixed words.

A principle that the probe was not fitted on is judged by its rules alone; one without rules by the probe alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.base import Judged, Verdict, worst_of
from engine.judges.eval.metric import Measures
from engine.judges.probe.features import Vectors
from engine.judges.probe.probe import Probe, evidence
from engine.judges.rules.judge import THRESHOLD, RulesJudge

_BATCH = 64
"""Texts that are read together: verdicts come as soon as theirs are done."""

Reader = Callable[[Sequence[Judged], Control], Vectors]
"""Reads texts by the layers that the probe was fitted on."""

Floats = NDArray[np.float64]


class PanelJudge:
    """Judges by rules and a probe.

    Args:
        constitution: its principles are judged.
        probe: one member of a set of probes.
        read: gives the probe's vectors.
        title: how the probe is named, such as "probe A on smollm2-135m-instruct".
    """

    def __init__(self, constitution: Constitution, probe: Probe, read: Reader, title: str) -> None:
        self._constitution = constitution
        self._rules = RulesJudge(constitution)
        self._probe = probe
        self._read = read
        self._known = tuple(p for p in probe.principles if p in constitution.ids)
        self.name = f"{self._rules.name} and {title}" if self._known else self._rules.name

    @property
    def accuracy(self) -> str:
        """How well the panel did on texts that it was not fitted on; "" where the probe has no say."""
        return self._probe.accuracy if self._known else ""

    @property
    def measures(self) -> Mapping[str, Measures]:
        """The same as figures, by set of texts ("own", "all", ...); empty where the probe has no say."""
        return self._probe.measures if self._known else {}

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text, in the order given. Never raises for what a text holds.

        Raises:
            Stopped: where `control` asks for it.
        """
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            by_rules = list(self._rules.judge(batch, control))
            began = time.perf_counter()
            if self._known:
                vectors = self._read(batch, control)
                logits = vectors.highest(self._probe.logits(vectors.values), len(batch))
                share = (time.perf_counter() - began) / len(batch)
                for text, verdict, row in zip(batch, by_rules, logits, strict=True):
                    yield self._together(text, verdict, row, share)
            else:
                for verdict in by_rules:
                    yield replace(verdict, judge=self.name)

    def _together(self, text: Judged, rules: Verdict, logits: Floats, seconds: float) -> Verdict:
        """The verdict from the rules' verdict and the probe's logits, [principles of the probe]."""
        if not text.text.strip():
            return replace(rules, judge=self.name)
        said = np.array([rules.principles.get(p, 0.0) for p in self._probe.principles])
        alone = self._probe.alone(logits)
        combined = self._probe.combined(logits, evidence(said))
        probabilities = dict(rules.principles)
        over: list[str] = []
        unsure: list[str] = []
        ways: dict[str, str] = {p: "rules" for p in rules.broken if p not in self._known}
        for place, principle in enumerate(self._probe.principles):
            if principle not in self._known:
                continue
            how = self._probe.combinations[place]
            has_rules = bool(self._constitution.principle(principle).rules)
            value = float(combined[place] if has_rules else alone[place])
            probabilities[principle] = round(value, 6)
            named = rules.principles.get(principle, 0.0) >= THRESHOLD
            if value >= how.threshold or (named and value >= how.low):
                over.append(principle)
                sure = float(alone[place]) >= how.threshold
                ways[principle] = "panel" if named == sure else "rules" if named else "probe"
            elif value >= how.low:
                unsure.append(principle)
        over += [p for p in rules.broken if p not in self._known]
        broken = self._constitution.heaviest_first(over, probabilities)
        decided = bool(broken) or not unsure
        worst = worst_of(rules.findings, broken)
        by_probe = dict(zip(self._probe.principles, alone.tolist(), strict=True))
        return Verdict(
            key=text.key,
            flagged=bool(broken) if decided else None,
            principles=probabilities,
            broken=broken,
            score=self._constitution.score(broken) if decided else None,
            category=(worst.category if worst is not None else broken[0]) if broken else "",
            reasoning=self._reasoning(rules, broken, unsure, by_probe),
            method=(ways[broken[0]] if broken else "panel") if decided else "none",
            judge=self.name,
            findings=rules.findings,
            seconds=rules.seconds + seconds,
            note="" if decided else "The probability lies where this judge is not sure enough to decide.",
        )

    def _reasoning(
        self, rules: Verdict, broken: Sequence[str], unsure: Sequence[str], by_probe: dict[str, float]
    ) -> str:
        """Which words the rules matched, and what the probe says of the principles that matter."""
        shown = [p for p in (*broken, *unsure) if p in by_probe] or [max(self._known, key=lambda p: by_probe[p])]
        says = ", ".join(f"{self._constitution.principle(p).short} {by_probe[p]:.2f}" for p in shown)
        return f"Rules: {rules.reasoning.rstrip('.')}. Probe: {says}."
