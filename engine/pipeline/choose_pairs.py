"""The preference pair of every draft, or those that the user brought: kept and trained on, or dropped with a reason."""

from __future__ import annotations

from collections.abc import Mapping

from engine.events.generation import PairDecided, TrainingExample
from engine.events.verdicts import PairVerdict, VerdictData
from engine.judges.base import JudgeInput, Verdict
from engine.pipeline.context import Context
from engine.pipeline.pairs import (
    Candidate,
    PreferencePair,
    expected_score,
    make_contrast_pair,
    make_demonstration_pair,
    make_given_pair,
    make_pair,
    write_pairs,
)
from engine.pipeline.revise import candidates_of
from engine.pipeline.stage import judge_texts, stage
from engine.prompts.load import Prompt

PAIRS = "pairs.jsonl"
"""Name of the file with the kept pairs in a run's folder."""


def choose_pairs(context: Context) -> None:
    """Decide on every pair; the kept ones go into `pairs.jsonl`."""
    drafted = context.drafted()
    known = sum(p.id in context.finished.pairs for p in drafted)
    pairs: list[PreferencePair] = []
    with stage(context, "pair", len(drafted), len(drafted) - known):
        for p in drafted:
            context.control.check()
            made = _pair_of(context, p)
            pairs.append(made)
            if p.id not in context.finished.pairs:
                _write_pair(context, made)
                context.record.step()
        if context.config.keep_texts:
            write_pairs(context.folder / PAIRS, pairs)
    context.results.pairs = pairs
    written = [pair for pair in pairs if pair.demonstration]
    if written:
        better = sum(pair.improvement > 0 for pair in written)
        context.record.notice(
            f"The judge finds {better} of {len(written)} demonstrations better than the model's answer."
        )
    if not context.results.kept:
        context.record.notice("No pair was kept, so there is nothing to train on and nothing to compare.")


def _pair_of(context: Context, prompt: Prompt) -> PreferencePair:
    """The pair of a prompt, as the run's teacher makes it; prompts without a demonstration are taught by samples."""
    candidates = candidates_of(context, prompt.id)
    principle = context.finished.principles.get(prompt.id, "")
    if context.demonstrates(prompt):
        principle = principle or prompt.principle
        own = [candidate for candidate in candidates if candidate.index != context.demonstration_number]
        demonstration = candidates[-1]
        return make_demonstration_pair(prompt.id, prompt.text, principle, own, demonstration, context.weights)
    make = make_pair if context.config.teacher == "revision" else make_contrast_pair
    return make(prompt.id, prompt.text, principle, candidates, context.weights)


def take_given_pairs(context: Context) -> None:
    """The judge's opinion on every pair that the user brought, then the pairs themselves; nothing where pairs are
    made. The judge decides on none of them."""
    given, finished = context.prompts.pairs, context.finished
    if not given:
        return
    _judge_given(context)
    pairs: list[PreferencePair] = []
    for prompt in context.prompts.train:
        pair, verdicts = given[prompt.id], finished.pair_verdicts[prompt.id]
        rejected, chosen = Candidate(0, pair.rejected, verdicts[0]), Candidate(1, pair.chosen, verdicts[1])
        made = make_given_pair(prompt.id, prompt.text, prompt.principle, rejected, chosen, context.weights)
        pairs.append(made)
        if prompt.id not in finished.pairs:
            _write_pair(context, made)
    if context.config.keep_texts:
        write_pairs(context.folder / PAIRS, pairs)
    context.results.pairs = pairs
    opinions = [_agrees(context, finished.pair_verdicts[prompt.id]) for prompt in context.prompts.train]
    context.record.notice(
        f"The judge agrees with {opinions.count(True)} of {len(opinions)} pairs, prefers the rejected answer in "
        f"{opinions.count(False)}, and has no opinion on {opinions.count(None)}. All are trained on."
    )


def _judge_given(context: Context) -> None:
    """Both verdicts on each pair that has none yet; a pair is written as soon as it has both."""
    finished, train = context.finished, context.prompts.train
    waiting = {str(number): prompt for number, prompt in enumerate(train, 1) if prompt.id not in finished.pair_verdicts}
    texts: list[JudgeInput] = []
    for number, prompt in waiting.items():
        given = context.prompts.pairs[prompt.id]
        texts.append(JudgeInput(f"{number} rejected", given.rejected, prompt.text))
        texts.append(JudgeInput(f"{number} chosen", given.chosen, prompt.text))
    found: dict[str, dict[str, Verdict]] = {number: {} for number in waiting}
    with stage(context, "pair verdict", len(train), len(waiting)):
        for verdict in judge_texts(context, context.judges.shown, texts):
            number, side = verdict.key.split(" ")
            found[number][side] = verdict
            if len(found[number]) == 2:
                _write_opinion(context, int(number), waiting[number], found.pop(number))
        # What the judge was silent on has no verdict.
        for number, sides in found.items():
            _write_opinion(context, int(number), waiting[number], sides)


def _write_opinion(context: Context, number: int, prompt: Prompt, sides: Mapping[str, Verdict]) -> None:
    given = context.prompts.pairs[prompt.id]
    both = sides.get("rejected", Verdict(prompt.id, None)), sides.get("chosen", Verdict(prompt.id, None))
    agrees = _agrees(context, both)
    words = {True: "the judge agrees", False: "the judge prefers the rejected answer", None: "no opinion"}
    scores = " · chosen ".join(_opinion(verdict, context) for verdict in both)
    context.record.write(
        TrainingExample(
            item=prompt.id,
            summary=f"{prompt.id} · {prompt.topic or 'no topic'}",
            number=number,
            total=len(context.prompts.train),
            prompt=prompt.text,
            principle=prompt.principle,
            topic=prompt.topic,
        )
    )
    context.record.write(
        PairVerdict(
            item=prompt.id,
            summary=f"{words[agrees]} · rejected {scores}",
            prompt=prompt.text,
            rejected=given.rejected,
            chosen=given.chosen,
            agrees=agrees,
            rejected_verdict=VerdictData.of(both[0]),
            chosen_verdict=VerdictData.of(both[1]),
        )
    )
    context.record.step()


def _agrees(context: Context, verdicts: tuple[Verdict, Verdict]) -> bool | None:
    """Whether the chosen answer has the lower expected score; None without two verdicts, or where both are equal."""
    if any(verdict.score is None or not verdict.principles for verdict in verdicts):
        return None
    rejected, chosen = (expected_score(verdict, context.weights) for verdict in verdicts)
    return None if rejected == chosen else chosen < rejected


def _opinion(verdict: Verdict, context: Context) -> str:
    return "no verdict" if verdict.score is None else f"{expected_score(verdict, context.weights):.2f}"


def _write_pair(context: Context, pair: PreferencePair) -> None:
    if pair.before is None or pair.after is None:
        change = "no score"
    else:
        percent = "" if pair.percent is None else f" ({-pair.percent:+.0f} %)"
        change = f"expected score {pair.risk_before:.2f} → {pair.risk_after:.2f}{percent}"
        change += f" · score {pair.before:.1f} → {pair.after:.1f}"
    written = " · demonstration" if pair.demonstration and pair.kept else ""
    context.record.write(
        PairDecided(
            item=pair.item,
            summary=f"{'kept' if pair.kept else 'dropped: ' + pair.reason}{written} · {change}",
            prompt=pair.prompt,
            rejected=pair.rejected,
            chosen=pair.chosen,
            kept=pair.kept,
            reason=pair.reason,
            principle=pair.principle,
            taken=pair.taken,
            against=pair.against,
            expected_rejected=pair.risk_before,
            expected_chosen=pair.risk_after,
            improvement=pair.improvement,
            percent=pair.percent,
            score_rejected=pair.before,
            score_chosen=pair.after,
            seconds=context.finished.seconds.get(pair.item, 0.0),
        )
    )
