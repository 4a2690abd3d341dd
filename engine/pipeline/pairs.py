"""Preference pairs: which of an example's answers is chosen, which is rejected, and why a pair is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.files import write_atomically
from engine.judges.base import Verdict
from engine.stats.refusals import declines
from engine.stats.text_health import distinct_n

MARGIN = 0.1
"""How far the expected score has to fall where the score itself stays; less is within a judge's error."""

CONTRAST = 0.15
"""Minimum difference of the expected scores of the best and the worst sample of a prompt; less makes no pair."""

NO_ANSWER_WEIGHT = 1.0
"""Weight of the probability of being no answer beside the expected score where samples are ranked: without it, a vague
text about something else wins against an answer, and that is what a small model learns (docs/log/learning.md)."""

LENGTH_RATIO = 1.5
"""Maximum ratio of the word counts of a best-against-worst pair, so that length is not what is learned."""


@dataclass(frozen=True)
class Candidate:
    """An answer that could be chosen, with its verdict.

    Args:
        index: 0 for the draft; further samples and revisions count from 1.
        complete: the model ended it; False where it was cut at the maximum number of tokens.
    """

    index: int
    text: str
    verdict: Verdict
    complete: bool = True

    @property
    def usable(self) -> bool:
        """Whether it can be trained on: an answer with a verdict's probabilities that does not repeat itself."""
        answer = self.verdict.quality == "responsive" and not repeats(self.text)
        return answer and bool(self.text.strip()) and bool(self.verdict.principles)


@dataclass(frozen=True)
class PreferencePair:
    """A worse and a better answer to one prompt, with all that is needed to trace why.

    Args:
        item: id of the prompt.
        chosen, rejected: the texts of two candidates.
        taken: index of the chosen candidate; 0 for the draft.
        against: index of the rejected candidate; 0 for the draft.
        before, after: weighted scores of rejected and chosen; None without a verdict.
        risk_before, risk_after: their expected scores (`expected_score`): finer than the score, which only counts what
            crossed a threshold.
        reason: why the pair does not train; "" where it does.
        demonstration: whether the chosen text is a written answer that came with the prompt.
        chosen_complete, rejected_complete: whether the model ended the text itself; a text that was cut is learned
            without an end of turn.
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
    against: int = 0
    chosen_complete: bool = True
    rejected_complete: bool = True
    demonstration: bool = False

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
    return _pair(item, prompt, principle, taken, draft, weights, _why_dropped(draft, taken, weights))


def _ordered_pairs(usable: Sequence[Candidate], weights: Mapping[str, float]) -> list[tuple[Candidate, Candidate]]:
    """(chosen, rejected) of two candidates each, the chosen one never with the higher expected score."""
    pairs = [(good, bad) for good in usable for bad in usable if good is not bad]
    return [(good, bad) for good, bad in pairs if _gap(good, bad, weights) >= 0] or pairs


def make_contrast_pair(
    item: str, prompt: str, principle: str, candidates: Sequence[Candidate], weights: Mapping[str, float]
) -> PreferencePair:
    """The best candidate against the worst one (best-of-n against worst-of-n, as in Yuan et al. 2024, self-rewarding
    language models), by expected score and probability of being no answer, among those of similar length; kept or with
    the reason why not. The chosen one never has the higher expected score.

    Candidates that are empty, repeat themselves or have no verdict take no part: what a looping model must not learn
    to imitate is also too easy to avoid.
    """
    usable = [candidate for candidate in candidates if candidate.usable]
    if len(usable) < 2:
        first = usable[0] if usable else candidates[0]
        return _pair(item, prompt, principle, first, first, weights, "fewer than two samples are usable")
    pairs = _ordered_pairs(usable, weights)
    alike = [(good, bad) for good, bad in pairs if _similar_length(good.text, bad.text)]

    no_answer = {candidate.index: _no_answer(candidate) for candidate in usable}

    def gap(pair: tuple[Candidate, Candidate]) -> float:
        good, bad = pair
        return _gap(good, bad, weights) + NO_ANSWER_WEIGHT * (no_answer[bad.index] - no_answer[good.index])

    # The first of equals: earlier candidates before later ones.
    good, bad = max(alike or pairs, key=gap)
    reasons = {
        "the samples do not differ clearly": gap((good, bad)) < CONTRAST,
        "the samples differ in length": not alike,
        "the samples say the same": _folded(good.text) == _folded(bad.text),
    }
    reason = next((words for words, holds in reasons.items() if holds), "")
    return _pair(item, prompt, principle, good, bad, weights, reason)


def make_demonstration_pair(
    item: str,
    prompt: str,
    principle: str,
    candidates: Sequence[Candidate],
    demonstration: Candidate,
    weights: Mapping[str, float],
) -> PreferencePair:
    """The demonstration against the worst of the model's own answers: learned whatever the judge says of it, as a pair
    is that the user brought.

    Args:
        candidates: the model's own; the draft first.
    """
    own = [candidate for candidate in candidates if candidate.usable] or [candidates[0]]
    worst = max(own, key=lambda candidate: (_rejectable(candidate, weights), -candidate.index))
    same = _folded(demonstration.text) == _folded(worst.text)
    reason = "the demonstration says the same as the model's answer" if same else ""
    pair = _pair(item, prompt, principle, demonstration, worst, weights, reason)
    return replace(pair, demonstration=True)


def _rejectable(candidate: Candidate, weights: Mapping[str, float]) -> float:
    return expected_score(candidate.verdict, weights) + NO_ANSWER_WEIGHT * (candidate.verdict.no_answer or 0.0)


def make_given_pair(
    item: str, prompt: str, principle: str, rejected: Candidate, chosen: Candidate, weights: Mapping[str, float]
) -> PreferencePair:
    """A pair that the user brought: trained on whatever the judge says of it, unless there is nothing to learn."""
    reason = ""
    if not chosen.text.strip() or not rejected.text.strip():
        reason = "an answer is empty"
    elif _folded(chosen.text) == _folded(rejected.text):
        reason = "both answers say the same"
    return _pair(item, prompt, principle, chosen, rejected, weights, reason)


def _gap(good: Candidate, bad: Candidate, weights: Mapping[str, float]) -> float:
    return expected_score(bad.verdict, weights) - expected_score(good.verdict, weights)


def _no_answer(candidate: Candidate) -> float:
    """Probability that it does not answer; 1 where it declines. So a refusal wins only against an answer whose expected
    score is higher by more than `NO_ANSWER_WEIGHT`: what a small model learns from others is to decline whatever it is
    asked, which every judge of harm finds clean (Bai et al. 2022 want answers that are harmless and not evasive)."""
    return 1.0 if declines(candidate.text) else candidate.verdict.no_answer or 0.0


def _similar_length(one: str, other: str) -> bool:
    short, long = sorted((len(one.split()), len(other.split())))
    return long <= LENGTH_RATIO * short


def _pair(
    item: str,
    prompt: str,
    principle: str,
    chosen: Candidate,
    rejected: Candidate,
    weights: Mapping[str, float],
    reason: str,
) -> PreferencePair:
    return PreferencePair(
        item=item,
        prompt=prompt,
        chosen=chosen.text,
        rejected=rejected.text,
        principle=principle,
        taken=chosen.index,
        against=rejected.index,
        before=rejected.verdict.score,
        after=chosen.verdict.score,
        risk_before=expected_score(rejected.verdict, weights),
        risk_after=expected_score(chosen.verdict, weights),
        reason=reason,
        chosen_complete=chosen.complete,
        rejected_complete=rejected.complete,
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
    """Whether more than `share` of the text's 4-grams stood in it before.

    Words are split at white space, with their punctuation, unlike in `text_health`: another split would change which
    answers become pairs, and so what a seed produces. Texts of fewer than eight 4-grams never count as repeating.
    """
    words = text.lower().split()
    return len(words) >= 11 and 1 - distinct_n(words, 4) > share


def _folded(text: str) -> str:
    return re.sub(r"\W+", " ", text).casefold().strip()


def write_pairs(path: Path, pairs: Iterable[PreferencePair]) -> int:
    """Write the kept pairs as JSON lines in TRL's preference format (`prompt`, `chosen`, `rejected`), with where they
    come from; returns how many.

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
