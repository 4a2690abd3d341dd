"""The end of a run: paired statistics over all compared prompts, the decision by the written rule, `report.json`.

The schema is in docs/report.md. Every number here can be traced to its texts, which are in the same file.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any, TypeVar

from engine.events.comparison import ComparisonSummary
from engine.events.run import PairCounts, RunComplete
from engine.events.verdicts import VerdictData
from engine.files import write_atomically
from engine.judges.base import Verdict
from engine.pipeline.advice import Measured, advise
from engine.pipeline.compare import arms
from engine.pipeline.context import Context
from engine.pipeline.pairs import expected_score
from engine.prompts.duplicates import clusters
from engine.runs.arms import ARMS, BASE
from engine.runs.folder import read_run
from engine.stats.confirmation import decide, decide_between
from engine.stats.evidence import Evidence
from engine.stats.paired import (
    NonInferiority,
    PairedFlags,
    PairedResult,
    compare_flags,
    compare_principles,
    compare_scores,
    refusals_not_inferior,
    scores_not_inferior,
)
from engine.stats.refusals import declines
from engine.stats.text_health import HealthComparison, TextHealth, compare_health
from engine.text import percent
from engine.textdiff.changes import changes_between

REPORT = "report.json"
VERSION = 1

NOTHING = "nothing trained"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class _Compared:
    """One sample of a compared prompt with both answers and verdicts; `training` is the number of the trained model's
    training."""

    training: int
    sample: int
    set: str
    id: str
    prompt: str
    topic: str
    principle: str
    answers: tuple[str, str]
    verdicts: tuple[Verdict, Verdict]
    question: str

    def row(self) -> dict[str, Any]:
        changes = changes_between(
            self.answers[0], self.verdicts[0].findings, self.answers[1], self.verdicts[1].findings
        )
        return {
            "set": self.set,
            "id": self.id,
            "sample": self.sample,
            "training": self.training,
            "prompt": self.prompt,
            "topic": self.topic,
            "principle": self.principle,
            **dict(zip(ARMS, self.answers, strict=True)),
            **{f"{arm}_score": verdict.score for arm, verdict in zip(ARMS, self.verdicts, strict=True)},
            **{f"{arm}_verdict": _verdict(verdict) for arm, verdict in zip(ARMS, self.verdicts, strict=True)},
            "changes": [{"id": c.id, "label": c.label, "better": c.better} for c in changes],
        }


def write(context: Context) -> None:
    """Write `report.json`, then the events that end the run.

    Raises:
        StorageError: the report cannot be written; the run can then be resumed.
    """
    compared = _compared(context)
    agreement = _agreement(context, compared)
    result, measured = _summary(context, compared)
    summary = {
        **result,
        "agreement": agreement,
        "trainings": _trainings(context, compared),
        "cost": _cost(context, compared),
        # The journal has the summary alone.
        **({"models": _models(context)} if context.other is not None else {}),
    }
    counts = _pair_counts(context)
    seconds = time.monotonic() - context.started
    facts = read_run(context.folder)
    report = {
        "version": VERSION,
        "run": context.folder.name,
        "created": facts.get("created"),
        "finished": time.time(),
        "seconds": round(seconds, 1),
        "constitution": {
            "name": context.constitution.name,
            "principles": list(context.constitution.ids),
            "weights": {principle.id: principle.weight for principle in context.constitution.principles},
        },
        "models": _models(context),
        "judge": context.judges.comparison.accuracy.to_data(),
        "pairs": counts.to_data(),
        "summary": summary,
        "advice": advise(context, measured),
        "config": facts["config"],
        "hashes": facts.get("hashes"),
        "versions": facts.get("versions"),
        "machine": facts.get("machine"),
        "notices": facts.get("notices", []),
        "prompts": [one.row() for one in compared] if context.config.keep_texts else [],
    }
    data = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(context.folder / REPORT, data.encode("utf-8", "replace"))
    if compared:
        context.record.write(ComparisonSummary(summary=sentence(summary), result=summary))
    context.record.write(
        RunComplete(
            summary=f"{summary['outcome']}{_counted(context, counts)} · {seconds:.0f} s",
            seconds=seconds,
            report=REPORT,
            pairs=counts,
            outcome=summary["outcome"],
        ),
        sync=True,
    )


def _pair_counts(context: Context) -> PairCounts:
    pairs, kept = context.results.pairs, context.results.kept
    return PairCounts(
        examples=len(context.prompts.train),
        kept=len(kept),
        dropped=len(pairs) - len(kept),
        demonstrations=sum(pair.demonstration for pair in kept),
        reasons=dict(Counter(pair.reason for pair in pairs if not pair.kept).most_common()),
    )


def _models(context: Context) -> dict[str, str]:
    if context.other is not None:
        return {"generator": context.generator.name, "against": context.other.name}
    return {"generator": context.generator.name, "critic": context.critic.name}


def _counted(context: Context, counts: PairCounts) -> str:
    if context.other is not None:
        return ""
    return f" · {counts.kept} pair{'s' if counts.kept != 1 else ''} kept, {counts.dropped} dropped"


def sentence(summary: dict[str, Any]) -> str:
    """The result in one line: "not confirmed · score 0.84 → 0.49 (-42 %), 95 % interval -0.53 to -0.29, n 40"."""
    score = summary["score"]
    relative = "" if score["relative"] is None else f" ({100 * score['relative']:+.0f} %)"
    interval = ""
    if score["interval"] is not None:
        interval = f", 95 % interval of the change {score['interval'][0]:+.2f} to {score['interval'][1]:+.2f}"
    detectable = score["smallest_detectable"]
    smallest = "" if detectable is None else f", smallest detectable {detectable:.2f}"
    return (
        f"{summary['outcome']} · score {score['base']:.2f} → {score['trained']:.2f}{relative}{interval}"
        f", n {score['n']}{smallest}{_agreed(summary.get('agreement'))}"
    )


def _agreed(found: dict[str, Any] | None) -> str:
    if found is None or found["same"][0] is None:
        return ""
    return f" · the two judges agree on {percent(found['same'][0])} of {found['texts']} answers"


def _compared(context: Context) -> list[_Compared]:
    finished = context.finished
    found: list[_Compared] = []
    wanted = [(training, *one) for training in context.trainings for one in context.compared_answers()]
    for training, name, prompt, sample in wanted:
        base, trained = ((name, prompt.id, arm, sample) for arm in (BASE, training.arm))
        if base not in finished.answers or trained not in finished.answers:
            continue
        nothing = Verdict(prompt.id, None)
        found.append(
            _Compared(
                training.number,
                sample,
                name,
                prompt.id,
                prompt.text,
                prompt.topic,
                prompt.principle,
                (finished.answers[base], finished.answers[trained]),
                (finished.answer_verdicts.get(base, nothing), finished.answer_verdicts.get(trained, nothing)),
                prompt.question,
            )
        )
    return found


def _summary(context: Context, compared: Sequence[_Compared]) -> tuple[dict[str, Any], Measured]:
    heldout = [one for one in compared if one.set == "heldout"]
    benign = [one for one in compared if one.set == "benign"]
    if not heldout:
        return {"outcome": NOTHING, "scope": "", "conditions": []}, Measured(None, None)
    most, seed = context.constitution.max_score, context.config.seed
    score, violations = _score(context, heldout), _violations(context, heldout)
    unusable = _unusable(compared, seed)
    principles = compare_principles(
        {principle: _arms(heldout, partial(_probability, principle)) for principle in context.constitution.ids},
        clusters=_clusters(heldout),
        replicates=_replicates(heldout),
        seed=seed,
    )
    harmless = []
    if benign:
        harmless = [
            _refusals(benign, seed),
            scores_not_inferior(
                *_arms(benign, partial(_expected, context.weights)),
                clusters=_clusters(benign),
                replicates=_replicates(benign),
                largest=most,
                seed=seed,
            ),
        ]
    health = _text_health(compared)
    accuracy = context.judges.comparison.accuracy
    evidence = Evidence(
        score=score,
        violations=violations,
        unusable=unusable,
        benign=harmless,
        health=health,
        held_out=True,  # `prepare.load_prompts` and `train._refuse_compared` refuse the run otherwise
        judge_apart=context.judges.independent,
        judge=accuracy.summary and f"{accuracy.name} ({accuracy.summary})",
        seeds=len({one.training for one in compared}),
    )
    decision = decide(evidence) if context.other is None else decide_between(evidence, context.prompts.left_out_of)
    restored = any(end.restored is not None for end in context.finished.trained.values())
    return {
        "outcome": decision.outcome,
        "scope": decision.scope,
        "conditions": [dataclasses.asdict(condition) for condition in decision.conditions],
        "most": most,
        "score": dataclasses.asdict(score),
        "violations": dataclasses.asdict(violations),
        "unusable": dataclasses.asdict(unusable),
        "principles": [dataclasses.asdict(principle) for principle in principles],
        "benign": [dataclasses.asdict(one) for one in harmless],
        "health": dataclasses.asdict(health),
    }, Measured(decision, score, restored)


def _changed_refusals(benign: Sequence[_Compared]) -> dict[str, list[str]]:
    """Ids of the prompts that one of the two models declines."""
    refused = _declined(benign, lambda one: one.id)
    return {
        "refused_only_by_trained": [item for item, (base, trained) in refused.items() if trained and not base],
        "refused_only_by_base": [item for item, (base, trained) in refused.items() if base and not trained],
    }


def _cost(context: Context, compared: Sequence[_Compared]) -> dict[str, Any] | None:
    """What the training cost: divergence on neutral texts per training; benign prompts whose refusal changed, by id;
    held-out answers that decline, and the score where neither model does; benign answers that are no answer. None where
    nothing was compared."""
    benign = [one for one in compared if one.set == "benign"]
    heldout = [one for one in compared if one.set == "heldout"]
    neutral = [found.to_data() for _, found in sorted(context.finished.side_effects.items())]
    if not benign and not neutral:
        return None
    return {
        "neutral": neutral,
        **_changed_refusals(benign),
        "declined": dataclasses.asdict(_declines(heldout, context.config.seed)) if heldout else None,
        "score_answered": dataclasses.asdict(_score(context, _answered(heldout))) if heldout else None,
        "benign_unusable": dataclasses.asdict(_unusable(benign, context.config.seed)) if benign else None,
    }


def _score(context: Context, heldout: Sequence[_Compared]) -> PairedResult:
    """Expected scores on held-out prompts. Samples and training seeds of a prompt count as one, by their mean."""
    return compare_scores(
        *_arms(heldout, partial(_expected, context.weights)),
        clusters=_clusters(heldout),
        replicates=_replicates(heldout),
        largest=context.constitution.max_score,
        seed=context.config.seed,
    )


def _violations(context: Context, heldout: Sequence[_Compared]) -> PairedFlags:
    flags = _arms(heldout, lambda verdict: verdict.flagged)
    return compare_flags(*flags, clusters=_clusters(heldout), seed=context.config.seed)


def _clusters(compared: Sequence[_Compared]) -> list[str]:
    """The prompt of each answer. A run may keep duplicates (`RunConfig.deduplicate`): they count as one."""
    questions = {(one.set, one.id): one.question for one in compared}
    names = dict(zip(questions, clusters(list(questions.values())), strict=True))
    return [names[one.set, one.id] for one in compared]


def _replicates(compared: Sequence[_Compared]) -> list[int] | None:
    """The training of each answer; None where there is one only."""
    numbers = [one.training for one in compared]
    return numbers if len(set(numbers)) > 1 else None


def _text_health(compared: Sequence[_Compared]) -> HealthComparison:
    """Signs of collapse of each trained model; with several, the mean of their figures and all of their alarms."""
    found = {
        number: compare_health(*zip(*(one.answers for one in compared if one.training == number), strict=True))
        for number in sorted({one.training for one in compared})
    }
    if len(found) == 1:
        return next(iter(found.values()))
    trained = [one.trained for one in found.values()]
    return HealthComparison(
        next(iter(found.values())).base,
        TextHealth(
            n=sum(one.n for one in trained),
            repetition=fmean(one.repetition for one in trained),
            distinct_2=fmean(one.distinct_2 for one in trained),
            words=fmean(one.words for one in trained),
            empty=fmean(one.empty for one in trained),
            refusals=sum(one.refusals for one in trained),
        ),
        tuple(f"Training {number}: {alarm}" for number, one in found.items() for alarm in one.alarms),
    )


def _trainings(context: Context, compared: Sequence[_Compared]) -> list[dict[str, Any]]:
    """What came of each training: its seed, its steps, its alarms, and the step that was restored after one; where
    there are several, each one's own comparison."""
    finished = context.finished
    found: list[dict[str, Any]] = []
    for training in context.trainings:
        if training.number not in finished.trained:
            continue
        end, health = finished.trained[training.number], finished.health_of(training.number)
        own = [one for one in compared if one.training == training.number and one.set == "heldout"]
        result: dict[str, Any] = {}
        if own and context.config.seeds > 1:
            score, violations = _score(context, own), _violations(context, own)
            result = {"score": dataclasses.asdict(score), "violations": dataclasses.asdict(violations)}
        found.append(
            {
                "number": training.number,
                "seed": training.seed,
                "model": training.arm,
                "adapter": training.adapter,
                "steps": end.steps,
                "restored": end.restored,
                "decision": health.choice,
                "alarms": [
                    {
                        "kind": alarm.kind,
                        "step": alarm.step,
                        "measured": alarm.measured,
                        "limit": alarm.limit,
                        "sentence": alarm.summary,
                    }
                    for alarm in health.alarms
                ],
                **result,
            }
        )
    return found


def _agreement(context: Context, compared: Sequence[_Compared]) -> dict[str, Any] | None:
    """How far the judge of the comparison and the one that chose the training pairs agree on the compared answers; None
    where there is one judge only, or nothing that both decided."""
    from engine.judges.eval.evaluate import Decisions, agreement

    selecting = context.judges.selecting
    prompts = dict.fromkeys((one.set, one.id, one.sample) for one in compared)
    keys = [(name, item, arm, sample) for name, item, sample in prompts for arm in arms(context)]
    finished = context.finished
    both = [key for key in keys if key in finished.answer_verdicts and key in finished.second_verdicts]
    if selecting is None or not both:
        return None
    names = [" ".join(map(str, key)) for key in both]
    one, other = (
        Decisions.of((dataclasses.replace(of[key], key=" ".join(map(str, key))) for key in both), names)
        for of in (finished.answer_verdicts, finished.second_verdicts)
    )
    found = agreement(one, other)
    return {
        "judges": [context.judges.comparison.accuracy.name, selecting.name],
        "texts": found.texts,
        "same": found.same.as_list(),
        "kappa": found.kappa.as_list(),
    }


def _arms(compared: Sequence[_Compared], value: Callable[[Verdict], T]) -> tuple[list[T], list[T]]:
    """`value` of the base's and of the trained model's verdicts, in the same order."""
    return [value(one.verdicts[0]) for one in compared], [value(one.verdicts[1]) for one in compared]


def _probability(principle: str, verdict: Verdict) -> float | None:
    return verdict.principles.get(principle)


def _expected(weights: dict[str, float], verdict: Verdict) -> float | None:
    """The expected score; None for a text that is not an answer, or where the judge says nothing of any principle."""
    return expected_score(verdict, weights) if verdict.principles and verdict.quality == "responsive" else None


def _declined(benign: Sequence[_Compared], key: Callable[[_Compared], T]) -> dict[T, list[bool]]:
    """Key -> whether any answer under it declines: the base model's, the trained model's."""
    declined: dict[T, list[bool]] = {}
    for one in benign:
        row = declined.setdefault(key(one), [False, False])
        for arm in (0, 1):
            row[arm] = row[arm] or declines(one.answers[arm]) is not None
    return declined


def _declines(heldout: Sequence[_Compared], seed: int) -> PairedFlags:
    """Held-out answers that decline. Some should; where many more do than before, the score fell by saying less."""
    base, trained = ([declines(one.answers[arm]) is not None for one in heldout] for arm in (0, 1))
    return compare_flags(base, trained, clusters=_clusters(heldout), seed=seed)


def _answered(heldout: Sequence[_Compared]) -> list[_Compared]:
    """The prompts on which neither model declines."""
    return [one for one in heldout if not any(declines(answer) for answer in one.answers)]


def _refusals(benign: Sequence[_Compared], seed: int) -> NonInferiority:
    """Refusals on benign prompts; a prompt is refused by a model if any of that model's answers declines."""
    prompt_of = dict(zip([one.id for one in benign], _clusters(benign), strict=True))
    refused = _declined(benign, lambda one: (prompt_of[one.id], one.training))
    base, trained = ([row[arm] for row in refused.values()] for arm in (0, 1))
    replicates = [training for _, training in refused]
    if len(set(replicates)) == 1:
        return refusals_not_inferior(base, trained)
    # Several trainings refuse a prompt or not: a rate per prompt, whose spread over seeds counts.
    before, after = ([float(flag) for flag in flags] for flags in (base, trained))
    prompts = [item for item, _ in refused]
    return scores_not_inferior(before, after, clusters=prompts, replicates=replicates, what="refusals", seed=seed)


def _unusable(compared: Sequence[_Compared], seed: int) -> PairedFlags:
    """Answers of both models that are no answer (empty, degenerate, off topic), over all compared prompts."""
    base, trained = ([_no_answer(one, arm) for one in compared] for arm in (0, 1))
    return compare_flags(base, trained, clusters=_clusters(compared), seed=seed)


def _no_answer(one: _Compared, arm: int) -> bool:
    return not one.answers[arm].strip() or one.verdicts[arm].quality != "responsive"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {**VerdictData.of(verdict).to_data(), "reasoning": verdict.reasoning}
