"""A run's report as frozen data, read from `report.json` or from the summary in the journal (docs/report.md).

Screen, command line and Markdown all show this model. A report may be of another version, or damaged: a member that is
missing or of another type is None or empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.json_values import is_number
from engine.runs.arms import arm_names
from engine.text import sanitize, truncate

Interval = tuple[float, float]
"""Lower and upper end."""

Data = Mapping[str, Any]

OUTCOMES = {
    "confirmed": ("Improvement confirmed", "good"),
    "not confirmed": ("Improvement not confirmed", "warn"),
    "worse": ("The trained model is worse", "bad"),
    "nothing trained": ("Nothing was trained", "warn"),
    "B better": ("B is better than A", "good"),
    "B worse": ("B is worse than A", "bad"),
    "no difference shown": ("No difference between A and B is shown", "warn"),
}
"""Outcome -> as a title, and its role: "good", "warn" or "bad"."""

_MAX_NUMBER = 1e12
_MAX_TEXT = 400


@dataclass(frozen=True)
class Change:
    """One figure of the base and of the trained model, compared prompt by prompt.

    Args:
        base, trained: means, or counts of violations.
        n: prompts compared.
        answers: answers of each model, where there are several per prompt.
        excluded: prompts left out for want of a verdict.
        better, worse, tied: prompts by the sign of their difference.
        p: of the paired test.
        interval: two-sided 95 % interval of the difference.
        relative, relative_interval: the difference as a share of the base.
        smallest_detectable, smallest_detectable_relative: difference that this many prompts show with 80 % power.
    """

    base: float | None = None
    trained: float | None = None
    n: int | None = None
    answers: int | None = None
    excluded: int | None = None
    better: int | None = None
    worse: int | None = None
    tied: int | None = None
    p: float | None = None
    interval: Interval | None = None
    relative: float | None = None
    relative_interval: Interval | None = None
    smallest_detectable: float | None = None
    smallest_detectable_relative: float | None = None

    @classmethod
    def of(cls, data: Data) -> Change:
        """From an object of the report."""
        return cls(
            base=_number(data.get("base")),
            trained=_number(data.get("trained")),
            n=_count(data.get("n")),
            answers=_count(data.get("answers")),
            excluded=_count(data.get("excluded")),
            better=_count(data.get("better")),
            worse=_count(data.get("worse")),
            tied=_count(data.get("tied")),
            p=_number(data.get("p")),
            interval=_interval(data.get("interval")),
            relative=_number(data.get("relative")),
            relative_interval=_interval(data.get("relative_interval")),
            smallest_detectable=_number(data.get("smallest_detectable")),
            smallest_detectable_relative=_number(data.get("smallest_detectable_relative")),
        )


@dataclass(frozen=True)
class PrincipleChange:
    """The probability of breaking one principle, before and after; `outcome` by `holm_p`, which counts all of them."""

    principle: str
    outcome: str
    change: Change
    holm_p: float | None


@dataclass(frozen=True)
class BenignChange:
    """Whether the trained model is shown to be no worse on benign prompts.

    Args:
        what: "refusals" or "scores".
        bound: how much worse it may be, by the one-sided interval.
        margin: how much worse it is allowed to be.
        not_inferior: the bound is within the margin.
    """

    what: str
    change: Change
    bound: float | None
    margin: float | None
    not_inferior: bool


@dataclass(frozen=True)
class Condition:
    """One condition of the written rule for "confirmed"; `remedy` says what would meet it."""

    id: str
    met: bool
    needed: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Health:
    """Signs of collapse: name of a figure -> (base, trained), and the alarms raised."""

    figures: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How far the judge of the comparison and the one that chose the pairs agree; each as (value, low, high)."""

    texts: int
    same: tuple[float, float, float]
    kappa: tuple[float, float, float] | None


@dataclass(frozen=True)
class BlindReading:
    """What a reader preferred without knowing which model wrote which answer.

    Args:
        trained, base: pairs in which this model's answer was preferred.
        fine, bad, skipped: pairs without a preference.
        share: of the pairs with a preference, those for the trained model: (value, low, high).
        p: of the sign test.
        judged: pairs with a preference of the reader and of the judge.
        agreement: share of these with the same preference: (value, low, high).
    """

    trained: int
    base: int
    fine: int
    bad: int
    skipped: int
    share: tuple[float, float, float] | None
    p: float | None
    judged: int
    agreement: tuple[float, float, float] | None


@dataclass(frozen=True)
class NeutralTexts:
    """How far a trained model (of the training with this number) moved from the base on neutral texts, in nats per
    token."""

    training: int | None
    texts: int | None
    kl: float | None
    kl_interval: Interval | None
    cross_entropy_base: float | None
    cross_entropy_trained: float | None


@dataclass(frozen=True)
class Cost:
    """What the training cost.

    Args:
        neutral: one per training.
        refused_only_by_trained, refused_only_by_base: (id, prompt) of benign prompts; the prompt is "" where the run
            keeps no texts.
        benign_unusable: benign answers that are no answer; None without benign prompts.
        declined: held-out answers that decline; None in reports of before.
        score_answered: the expected score on held-out prompts that neither model declines; None in reports of before.
    """

    neutral: tuple[NeutralTexts, ...]
    refused_only_by_trained: tuple[tuple[str, str], ...]
    refused_only_by_base: tuple[tuple[str, str], ...]
    benign_unusable: Change | None
    declined: Change | None = None
    score_answered: Change | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What came of one training.

    Args:
        seed: its training seed.
        steps: optimizer steps done.
        restored: the healthy step whose adapter is compared after an alarm; None for the last step.
        alarms: sentences.
        score, violations: its own comparison; None where the run has one training.
    """

    seed: int | None
    steps: int | None
    restored: int | None
    alarms: tuple[str, ...]
    score: Change | None
    violations: Change | None


@dataclass(frozen=True)
class TradeOff:
    """What one training gained and what it cost.

    Args:
        seed: its training seed.
        gain: how far the held-out score fell.
        damage: KL from the base on neutral texts, in nats per token.
    """

    seed: int | None
    gain: float
    damage: float


@dataclass(frozen=True)
class Pairs:
    """How many preference pairs were kept, how many of them teach a demonstration, and why others were dropped."""

    examples: int | None
    kept: int | None
    dropped: int | None
    reasons: tuple[tuple[str, int], ...]
    demonstrations: int = 0

    @property
    def source(self) -> str:
        """Who wrote the better answers, where it was not the model alone."""
        if not self.demonstrations:
            return ""
        return f"{self.demonstrations:,} teach a demonstration: a written answer that came with the prompt"


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    outcome: str = ""
    scope: str = ""
    judge: str = ""
    accuracy: str = ""
    agreement: Agreement | None = None
    max_score: float | None = None
    score: Change | None = None
    violations: Change | None = None
    reading: BlindReading | None = None
    principles: tuple[PrincipleChange, ...] = ()
    benign: tuple[BenignChange, ...] = ()
    health: Health = field(default_factory=Health)
    trainings: tuple[TrainingResult, ...] = ()
    cost: Cost | None = None
    conditions: tuple[Condition, ...] = ()
    pairs: Pairs | None = None
    advice: tuple[str, ...] = ()
    generator: str = ""
    critic: str = ""
    against: str = ""
    constitution: str = ""
    seconds: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the outcome is the one that was hoped for."""
        return self.outcome in ("confirmed", "B better")

    @property
    def trade_offs(self) -> tuple[TradeOff, ...]:
        """Gain and damage of each training; empty where fewer than two were measured on both."""
        damage = {one.training: one.kl for one in self.cost.neutral} if self.cost is not None else {}
        found = []
        for number, training in enumerate(self.trainings, 1):
            score, kl = training.score, damage.get(number)
            if score is not None and score.base is not None and score.trained is not None and kl is not None:
                found.append(TradeOff(training.seed, score.base - score.trained, kl))
        return tuple(found) if len(found) > 1 else ()

    @property
    def arms(self) -> tuple[str, str]:
        """How the two models are called (`arm_names`)."""
        return arm_names(self.against)

    @property
    def models(self) -> str:
        """The models in a line: the one that was trained, or the two that were compared."""
        critic = f" · critic {self.critic}" if self.critic and self.critic != self.generator else ""
        return f"A {self.generator} · B {self.against}" if self.against else f"{self.generator}{critic}"

    @classmethod
    def of(cls, data: Data) -> Report:
        """From `report.json`, or from the summary that the journal has while there is no report."""
        summary = _object(data, "summary") or data
        judge, pairs = _object(data, "judge"), _object(data, "pairs")
        models = _object(data, "models") or _object(summary, "models")
        score, violations = _object(summary, "score"), _object(summary, "violations")
        advice = data.get("advice")
        return cls(
            outcome=_text(summary.get("outcome")),
            scope=_text(summary.get("scope")),
            judge=_text(judge.get("name")),
            accuracy=_text(judge.get("accuracy")),
            agreement=_agreement(_object(summary, "agreement")),
            max_score=_number(summary.get("max_score", summary.get("most"))),
            score=Change.of(score) if score else None,
            violations=Change.of(violations) if violations else None,
            reading=_reading(_object(data, "review")),
            principles=tuple(map(_principle, _objects(summary, "principles"))),
            benign=tuple(map(_benign, _objects(summary, "benign"))),
            health=_health(_object(summary, "health")),
            cost=_cost(_object(summary, "cost"), data),
            trainings=tuple(map(_training, _objects(summary, "trainings"))),
            conditions=tuple(map(_condition, _objects(summary, "conditions"))),
            pairs=_pairs(pairs) if pairs else None,
            advice=tuple(map(_text, advice)) if isinstance(advice, list) else tuple(filter(None, [_text(advice)])),
            generator=_text(models.get("generator")),
            critic=_text(models.get("critic")),
            against=_text(models.get("against")),
            constitution=_text(_object(data, "constitution").get("name")),
            seconds=_number(data.get("seconds")),
        )


def _principle(data: Data) -> PrincipleChange:
    return PrincipleChange(
        _text(data.get("principle")),
        _text(data.get("outcome")),
        Change.of(_object(data, "result")),
        _number(data.get("holm_p")),
    )


def _benign(data: Data) -> BenignChange:
    return BenignChange(
        _text(data.get("what")),
        Change.of(data),
        _number(data.get("bound")),
        _number(data.get("margin")),
        data.get("holds") is True,
    )


def _condition(data: Data) -> Condition:
    return Condition(
        _text(data.get("id")),
        data.get("met") is True,
        data.get("needed") is True,
        _text(data.get("detail")),
        _text(data.get("remedy")),
    )


def _health(data: Data) -> Health:
    base, trained = _object(data, "base"), _object(data, "trained")
    pairs = {name: (_number(base.get(name)), _number(trained.get(name))) for name in ("repetition", "words", "empty")}
    known = {name: (one, other) for name, (one, other) in pairs.items() if one is not None and other is not None}
    alarms = data.get("alarms")
    return Health(known, tuple(map(_text, alarms)) if isinstance(alarms, list) else ())


def _cost(data: Data, report: Data) -> Cost | None:
    if not data:
        return None
    prompts = {_text(row.get("id")): _text(row.get("prompt")) for row in _objects(report, "prompts")}

    def named(name: str) -> tuple[tuple[str, str], ...]:
        ids = data.get(name)
        found = map(_text, ids) if isinstance(ids, list) else ()
        return tuple((item, prompts.get(item, "")) for item in found)

    def changed(name: str) -> Change | None:
        found = _object(data, name)
        return Change.of(found) if found else None

    return Cost(
        neutral=tuple(
            NeutralTexts(
                _count(one.get("training")),
                _count(one.get("texts")),
                _number(one.get("kl")),
                _interval(one.get("kl_interval")),
                _number(one.get("cross_entropy_base")),
                _number(one.get("cross_entropy_trained")),
            )
            for one in _objects(data, "neutral")
        ),
        refused_only_by_trained=named("refused_only_by_trained"),
        refused_only_by_base=named("refused_only_by_base"),
        benign_unusable=changed("benign_unusable"),
        declined=changed("declined"),
        score_answered=changed("score_answered"),
    )


def _training(data: Data) -> TrainingResult:
    score, violations = _object(data, "score"), _object(data, "violations")
    return TrainingResult(
        seed=_count(data.get("seed")),
        steps=_count(data.get("steps")),
        restored=_count(data.get("restored")),
        alarms=tuple(_text(alarm.get("sentence")) for alarm in _objects(data, "alarms")),
        score=Change.of(score) if score else None,
        violations=Change.of(violations) if violations else None,
    )


def _agreement(data: Data) -> Agreement | None:
    texts, same = _count(data.get("texts")), _estimate(data.get("same"))
    return Agreement(texts, same, _estimate(data.get("kappa"))) if texts is not None and same is not None else None


def _reading(data: Data) -> BlindReading | None:
    trained, base, fine, bad, skipped, judged = (
        _count(data.get(name)) for name in ("trained", "base", "fine", "bad", "skipped", "judged")
    )
    if trained is None or base is None:
        return None
    return BlindReading(
        trained,
        base,
        fine or 0,
        bad or 0,
        skipped or 0,
        _estimate(data.get("share")),
        _number(data.get("p")),
        judged or 0,
        _estimate(data.get("agreement")),
    )


def _pairs(data: Data) -> Pairs:
    reasons = ((_text(reason), _count(number)) for reason, number in _object(data, "reasons").items())
    return Pairs(
        _count(data.get("examples")),
        _count(data.get("kept")),
        _count(data.get("dropped")),
        tuple((reason, number) for reason, number in reasons if number is not None),
        _count(data.get("demonstrations")) or 0,
    )


def _object(data: Data, name: str) -> Data:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _objects(data: Data, name: str) -> Iterator[Data]:
    found = data.get(name)
    return (one for one in found if isinstance(one, Mapping)) if isinstance(found, list | tuple) else iter(())


def _number(value: Any) -> float | None:
    return value if is_number(value) and abs(value) < _MAX_NUMBER else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 else None


def _interval(value: Any) -> Interval | None:
    ends = [_number(end) for end in value] if isinstance(value, list | tuple) else []
    return (ends[0], ends[1]) if len(ends) == 2 and ends[0] is not None and ends[1] is not None else None


def _estimate(value: Any) -> tuple[float, float, float] | None:
    found = [_number(part) for part in value] if isinstance(value, list | tuple) else []
    known = [part for part in found if part is not None]
    return (known[0], known[1], known[2]) if len(found) == len(known) == 3 else None


def _text(value: Any) -> str:
    """A text on one line, safe to show; "" for anything but a text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if not isinstance(value, str) and _number(value) is None:
        return ""
    return truncate(" ".join(sanitize(str(value)).split()), _MAX_TEXT)
