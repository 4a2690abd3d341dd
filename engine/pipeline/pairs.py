"""Preference pairs: which of an example's answers is chosen, which is rejected, and why a pair is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.files import write_atomically
from engine.judges.base import Verdict

MARGIN = 0.1
"""How far the expected score has to fall where the score itself stays: less is within what a judge cannot tell."""


@dataclass(frozen=True)
class Candidate:
    """An answer that could be chosen: the draft (`index` 0) or a revision (from 1), with its verdict."""

    index: int
    text: str
    verdict: Verdict


@dataclass(frozen=True)
class PreferencePair:
    """A worse and a better answer to one prompt, with all that is needed to trace why.

    Args:
        item: id of the prompt.
        chosen, rejected: the texts; equal to the taken candidate and to the draft.
        taken: index of the chosen candidate; 0 where nothing was better than the draft.
        before, after: weighted scores of rejected and chosen; None without a verdict.
        risk_before, risk_after: their expected scores (`expected_score`): finer than the score, which only counts what
            crossed a threshold.
        reason: why the pair does not train; "" where it does.
    """

    item: str
    prompt: str
    chosen: str
    rejected: str
    principle: str
    taken: int
    before: float | None
    after: float | None
    risk_before: float
    risk_after: float
    reason: str

    @property
    def kept(self) -> bool:
        return not self.reason

    @property
    def improvement(self) -> float:
        """Expected score of the rejected minus that of the chosen answer."""
        return self.risk_before - self.risk_after

    @property
    def percent(self) -> float | None:
        """The improvement in percent of the rejected answer's expected score; None where that is 0."""
        return 100.0 * self.improvement / self.risk_before if self.risk_before else None


def best(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> Candidate:
    """The candidate with the lowest score; among equals the lowest expected score, then the earliest.

    The draft is one of them, so a revision is taken only where it is better. Candidates without a verdict come last.
    """
    return min(candidates, key=lambda c: (*_rank(c.verdict, weights), c.index))


def expected_score(verdict: Verdict, weights: Mapping[str, float]) -> float:
    """Sum of weight times probability over the principles: the score before probabilities are cut at a threshold."""
    return sum(weights.get(principle, 0.0) * p for principle, p in verdict.principles.items())


def _rank(verdict: Verdict, weights: Mapping[str, float]) -> tuple[float, float]:
    if verdict.score is None:
        return float("inf"), float("inf")
    return verdict.score, round(expected_score(verdict, weights), 6)


def make_pair(
    item: str, prompt: str, principle: str, candidates: Sequence[Candidate], weights: Mapping[str, float]
) -> PreferencePair:
    """The pair of one example, kept or with the reason why not. `candidates[0]` is the draft."""
    draft = candidates[0]
    taken = best(candidates, weights)
    return PreferencePair(
        item=item,
        prompt=prompt,
        chosen=taken.text,
        rejected=draft.text,
        principle=principle,
        taken=taken.index,
        before=draft.verdict.score,
        after=taken.verdict.score,
        risk_before=expected_score(draft.verdict, weights),
        risk_after=expected_score(taken.verdict, weights),
        reason=_why_dropped(draft, taken, weights),
    )


def _why_dropped(draft: Candidate, taken: Candidate, weights: Mapping[str, float]) -> str:
    if draft.verdict.score is None:
        return "no verdict on the draft"
    if taken.index == 0:
        return "no revision is better than the draft"
    if taken.verdict.score is None:
        return "no verdict on the revision"
    fall = expected_score(draft.verdict, weights) - expected_score(taken.verdict, weights)
    if taken.verdict.score == draft.verdict.score and fall < MARGIN:
        return "the draft is clean already" if draft.verdict.score == 0 else "no revision is clearly better"
    if not taken.text.strip():
        return "the revision is empty"
    if _folded(taken.text) == _folded(draft.text):
        return "the revision says the same as the draft"
    if len(taken.text.split()) < 4 <= len(draft.text.split()):
        return "the revision is too short to be an answer"
    if repeats(taken.text):
        return "the revision repeats itself"
    return ""


def repeats(text: str, share: float = 0.5) -> bool:
    """Whether more than `share` of the text's runs of four words stood in it before."""
    words = text.lower().split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(runs) >= 8 and 1 - len(set(runs)) / len(runs) > share


def _folded(text: str) -> str:
    return re.sub(r"\W+", " ", text).casefold().strip()


def write_pairs(path: Path, pairs: Iterable[PreferencePair]) -> int:
    """Write the kept pairs as JSON lines in TRL's preference format (`prompt`, `chosen`, `rejected`), with where they
    come from beside it; returns how many.

    Raises:
        StorageError: the file cannot be written; the one that was there before is then unharmed.
    """
    lines = [json.dumps(_row(pair), ensure_ascii=False) for pair in pairs if pair.kept]
    write_atomically(path, "".join(line + "\n" for line in lines).encode())
    return len(lines)


def _row(pair: PreferencePair) -> dict[str, Any]:
    return {
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "id": pair.item,
        "principle": pair.principle,
        "score_rejected": pair.before,
        "score_chosen": pair.after,
        "expected_rejected": round(pair.risk_before, 6),
        "expected_chosen": round(pair.risk_after, 6),
    }
