"""Measures judges on labeled data sets, for `redraft judge bench`.

A panel never judges a text that it was fitted on: a fold model judges it, fitted without the text's fold and topic.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.constitution.model import Constitution
from engine.control import Control
from engine.errors import InputError
from engine.judges.accuracy import ALL, Estimate, EvalMetrics
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.judges.eval.evaluate import Agreement, Decisions, agreement, length_baseline, measure, naive_bayes_baseline
from engine.judges.labeled import LabeledText
from engine.judges.panel import PanelJudge
from engine.judges.probe.features import ReadVectors
from engine.judges.probe.probe import MEMBERS, ProbeSet

Progress = Callable[[str], None]
"""Called with what is being done."""


class CrossFittedPanel(Judge):
    """A panel with one member of a set of probes; each text is judged by a probe that was not fitted on it.

    Args:
        member: "whole", "a" or "b".
        read: computes the vectors.
    """

    finds_spans = True

    def __init__(self, constitution: Constitution, probes: ProbeSet, member: str, read: ReadVectors) -> None:
        self._constitution = constitution
        self._probes = probes
        self._member = member
        self._read = read
        self._panels: dict[int | None, PanelJudge] = {}
        self.name = self._panel(None).name

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        """One verdict per text, in any order.

        Raises:
            Stopped: `control` requests it.
        """
        folds = [self._probes.fold_of(text.text, self._member) for text in texts]
        for fold in sorted(set(folds), key=str):
            yield from self._panel(fold).judge([t for t, f in zip(texts, folds, strict=True) if f == fold], control)

    def _panel(self, fold: int | None) -> PanelJudge:
        if fold not in self._panels:
            probe = self._probes.unseen(self._member, fold)
            self._panels[fold] = PanelJudge(self._constitution, probe, self._read, self._probes.title(self._member))
        return self._panels[fold]


@dataclass(frozen=True)
class SetResults:
    """The results on one data set.

    Args:
        naive_bayes, length: AUROC of the baselines; None for all sets together.
        judges: short name of a judge -> metrics.
        agreements: two short names -> their agreement.
        unseen: texts that no part of the probes was fitted on.
    """

    name: str
    texts: int
    violations: int
    naive_bayes: Estimate | None
    length: Estimate | None
    judges: Mapping[str, EvalMetrics]
    agreements: Mapping[tuple[str, str], Agreement]
    unseen: int

    def to_data(self) -> dict[str, Any]:
        """For JSON; described in docs/judge.md."""
        baselines = {"naive_bayes": self.naive_bayes, "text_length": self.length}
        return {
            "set": self.name,
            "texts": self.texts,
            "violations": self.violations,
            "unseen": self.unseen,
            "floors": {name: estimate.as_list() for name, estimate in baselines.items() if estimate is not None},
            "judges": {name: measures.to_data() for name, measures in self.judges.items()},
            "agreement": [
                {"judges": list(pair), "texts": a.texts, "same": a.same.as_list(), "kappa": a.kappa.as_list()}
                for pair, a in self.agreements.items()
            ],
        }


def panels(constitution: Constitution, probes: ProbeSet, read: ReadVectors) -> dict[str, Judge]:
    """The panel with each member of a set of probes, by short name."""
    return {
        "panel" if member == "whole" else f"panel {member.upper()}": CrossFittedPanel(
            constitution, probes, member, read
        )
        for member in MEMBERS
    }


def _without_seen(rows: Sequence[LabeledText], judges: Mapping[str, Judge], progress: Progress) -> list[LabeledText]:
    seen = frozenset().union(*(judge.seen for judge in judges.values()))
    left = [row for row in rows if row.hash not in seen]
    if len(left) < len(rows):
        progress(f"{len(rows) - len(left)} texts are left out: a judge is shown them with their labels.")
    if not left:
        raise InputError("all texts are left out.", next_step="Measure it on texts that it is not shown.")
    return left


def bench(
    rows: Sequence[LabeledText], judges: Mapping[str, Judge], probes: ProbeSet, control: Control, progress: Progress
) -> Iterator[SetResults]:
    """Measure judges on each data set in `rows`, then on all together if there are several.

    Texts that one of the judges is shown or calibrated on are left out for all.

    Args:
        judges: short name -> judge; each is called once per set.
        progress: called with what is being done.

    Raises:
        InputError: no text is left.
        Stopped: `control` requests it.
    """
    left = _without_seen(rows, judges, progress)
    names = list(dict.fromkeys(row.set for row in left))
    done: list[tuple[list[LabeledText], dict[str, Decisions]]] = []
    for name in names:
        part = [row for row in left if row.set == name]
        decisions = {short: _decide(short, judge, part, control, progress) for short, judge in judges.items()}
        done.append((part, decisions))
        yield _results(name, part, decisions, probes, baselines=True)
    if len(names) > 1:
        together = {short: _concatenate([decisions[short] for _, decisions in done]) for short in judges}
        yield _results(ALL, [row for part, _ in done for row in part], together, probes, baselines=False)


def _decide(short: str, judge: Judge, rows: Sequence[LabeledText], control: Control, progress: Progress) -> Decisions:
    progress(f"{rows[0].set}: {short} on {len(rows)} texts …")
    keys = [str(number) for number in range(len(rows))]
    texts = [JudgeInput(key, row.text, row.prompt) for key, row in zip(keys, rows, strict=True)]
    return Decisions.of(judge.judge(texts, control), keys)


def _concatenate(parts: Sequence[Decisions]) -> Decisions:
    return Decisions(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.flagged for part in parts]),
        np.concatenate([part.decided for part in parts]),
    )


def _results(
    name: str, rows: Sequence[LabeledText], decisions: Mapping[str, Decisions], probes: ProbeSet, *, baselines: bool
) -> SetResults:
    return SetResults(
        name=name,
        texts=len(rows),
        violations=sum(row.label for row in rows),
        naive_bayes=naive_bayes_baseline(rows) if baselines else None,
        length=length_baseline(rows) if baselines else None,
        judges={short: measure(rows, one) for short, one in decisions.items()},
        agreements={(a, b): agreement(decisions[a], decisions[b]) for a, b in itertools.combinations(decisions, 2)},
        unseen=sum(row.hash not in probes.folds["whole"] for row in rows),
    )
