"""Measures judges on sets of labelled texts: what `redraft judge bench` shows.

A panel never judges a text that it was fitted on: where the text's place in the fit is known, a twin of the probe that
was fitted without that text's fold (and so without its topic) takes its place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.base import Judge, Judged, Verdict
from engine.judges.eval.cache import ALL
from engine.judges.eval.evaluate import Agreement, Decisions, agreement, by_length, by_words, measure
from engine.judges.eval.metric import Figure, Measures
from engine.judges.labeled import Labelled
from engine.judges.panel import PanelJudge, Reader
from engine.judges.probe.probe import MEMBERS, ProbeSet

Told = Callable[[str], None]
"""Called with what is being done, for people."""


class PanelMember:
    """A panel with one member of a set of probes, each text judged by a line that did not see it.

    Args:
        member: "whole", "a" or "b".
        read: gives the vectors; texts are read once for all members where it remembers them.
    """

    def __init__(self, constitution: Constitution, probes: ProbeSet, member: str, read: Reader) -> None:
        self._constitution = constitution
        self._probes = probes
        self._member = member
        self._read = read
        self._panels: dict[int | None, PanelJudge] = {}
        self.name = self._panel(None).name

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text, in any order.

        Raises:
            Stopped: where `control` asks for it.
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
class SetFindings:
    """What was measured on one set.

    Args:
        naive_bayes, length: AUROC of the floors; missing for all sets together.
        judges: short name of a judge -> what it does.
        agreements: two short names -> how far they agree.
        unseen: texts that no part of the probes was fitted on.
    """

    name: str
    texts: int
    violations: int
    naive_bayes: Figure | None
    length: Figure | None
    judges: Mapping[str, Measures]
    agreements: Mapping[tuple[str, str], Agreement]
    unseen: int

    def to_data(self) -> dict[str, Any]:
        """For JSON; described in docs/judge.md."""
        floors = {"naive_bayes": self.naive_bayes, "text_length": self.length}
        return {
            "set": self.name,
            "texts": self.texts,
            "violations": self.violations,
            "unseen": self.unseen,
            "floors": {name: figure.as_list() for name, figure in floors.items() if figure is not None},
            "judges": {name: measures.to_data() for name, measures in self.judges.items()},
            "agreement": [
                {"judges": list(pair), "texts": a.texts, "same": a.same.as_list(), "kappa": a.kappa.as_list()}
                for pair, a in self.agreements.items()
            ],
        }


def panels(constitution: Constitution, probes: ProbeSet, read: Reader) -> dict[str, Judge]:
    """The panel with each member of a set of probes, by the name that tables have room for."""
    return {
        "panel" if member == "whole" else f"panel {member.upper()}": PanelMember(constitution, probes, member, read)
        for member in MEMBERS
    }


def bench(
    rows: Sequence[Labelled], judges: Mapping[str, Judge], probes: ProbeSet, control: Control, told: Told
) -> Iterator[SetFindings]:
    """Measure judges on each set that `rows` holds, then on all together where there are several.

    Args:
        judges: short name -> judge; each is asked once for each set.
        told: what is being done.

    Raises:
        Stopped: where `control` asks for it.
    """
    names = list(dict.fromkeys(row.set for row in rows))
    done: list[tuple[list[Labelled], dict[str, Decisions]]] = []
    for name in names:
        part = [row for row in rows if row.set == name]
        said = {short: _decided(short, judge, part, control, told) for short, judge in judges.items()}
        done.append((part, said))
        yield _findings(name, part, said, probes, floors=True)
    if len(names) > 1:
        together = {short: _joined([said[short] for _, said in done]) for short in judges}
        yield _findings(ALL, [row for part, _ in done for row in part], together, probes, floors=False)


def _decided(short: str, judge: Judge, rows: Sequence[Labelled], control: Control, told: Told) -> Decisions:
    told(f"{rows[0].set}: {short} on {len(rows)} texts …")
    keys = [str(number) for number in range(len(rows))]
    texts = [Judged(key, row.text, row.prompt) for key, row in zip(keys, rows, strict=True)]
    return Decisions.of(judge.judge(texts, control), keys)


def _joined(parts: Sequence[Decisions]) -> Decisions:
    return Decisions(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.flagged for part in parts]),
        np.concatenate([part.decided for part in parts]),
    )


def _findings(
    name: str, rows: Sequence[Labelled], said: Mapping[str, Decisions], probes: ProbeSet, *, floors: bool
) -> SetFindings:
    return SetFindings(
        name=name,
        texts=len(rows),
        violations=sum(row.label for row in rows),
        naive_bayes=by_words(rows) if floors else None,
        length=by_length(rows) if floors else None,
        judges={short: measure(rows, decisions) for short, decisions in said.items()},
        agreements={(a, b): agreement(said[a], said[b]) for a, b in itertools.combinations(said, 2)},
        unseen=sum(row.hash not in probes.places for row in rows),
    )
