"""Signs during training that a model is being damaged, from its steps and its samples: alarms with figures, each once.

A language model that collapses under a preference loss first loses likelihood on what it should prefer, while the
loss and the reward margin look better than ever (Pal et al., 2024, "Smaug"), or memorizes a few completions. So
the chosen completion's log-probability per token is watched in both directions, the margin, and the texts themselves:
repetition, length, variety, emptiness, and whether they are answers at all. Knows nothing of models.

Limits are far outside of what healthy runs show: the demo's margins end at 4.6 and its chosen answers gain .25 nats per
token. An alarm needs three steps, or sample steps, in a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar

from engine.stats.text_health import text_health
from engine.text import percent
from engine.training.callbacks import Step

T = TypeVar("T")

CHOSEN_FALL, CHOSEN_RISE = 1.0, 2.0
"""Nats per token that the chosen completions may lose or gain against the reference, mean of `WINDOW` steps."""

MARGIN_RANGE = (-1.0, 25.0)
"""Range of the mean reward margin. Below it the rejected completions are clearly preferred; far above the point where
the loss is flat (about 5) the policy only moves away from the reference."""

REPETITION_RISE = 0.25
"""Rise of the mean share of repeated 4-grams over the base's that is an alarm."""

LENGTH_SHARE = 0.34
"""Mean length of the samples, as a share of the base's, below which there is an alarm."""

DISTINCT_SHARE = 0.3
"""Distinct-2 of the samples, as a share of the base's, below which there is an alarm; `MIN_PAIRS` word pairs needed."""

SHARE_RISE = 0.5
"""Rise of the share of empty, or of unusable, samples over the base's that is an alarm."""

WINDOW = 3
"""Steps, or sample steps, that an alarm needs: one of them alone may be chance."""

MIN_PAIRS = 30


@dataclass(frozen=True)
class Alarm:
    """A sign of damage.

    Args:
        kind: "likelihood", "margin", "repetition", "length", "distinct", "empty" or "unusable".
        step: optimizer step at which it was seen.
        measured: mean of `WINDOW` steps or sample steps.
        limit: what it is past.
        sentence: the figures, for the user.
    """

    kind: str
    step: int
    measured: float
    limit: float
    sentence: str


@dataclass(frozen=True)
class Figures:
    """What was measured at a sample step. Shares are 0 to 1.

    Args:
        step: the step.
        samples: number of texts.
        chosen: mean change of the chosen completions' log-probability over the last steps, nats per token.
        margin: mean reward margin over the last steps; None for SFT.
        repetition: mean share of repeated 4-grams.
        words: mean number of words.
        distinct_2: distinct word pairs over all pairs; None where there are fewer than `MIN_PAIRS`.
        base_distinct_2: the same of as many pairs of the base's texts.
        empty, unusable: shares of texts without a word, and of those that are degenerate or off topic.
    """

    step: int
    samples: int
    chosen: float | None
    margin: float | None
    repetition: float
    words: float
    distinct_2: float | None
    base_distinct_2: float | None
    empty: float
    unusable: float


@dataclass(frozen=True)
class Checked:
    """Figures of a sample step, whether all of them are within their limits, and new alarms."""

    figures: Figures
    healthy: bool
    alarms: tuple[Alarm, ...]


@dataclass(frozen=True)
class _Past:
    """A figure that is past its limit at one sample step; `words` has a place for the mean."""

    kind: str
    measured: float
    limit: float
    words: str


_SHARES = ("empty", "repetition", "unusable")
"""Kinds whose figure is a share of 1."""


@dataclass
class HealthMonitor:
    """Watches one training.

    Args:
        base: answers of the base model to training prompts, for comparison.
        base_unusable: share of them that are degenerate or off topic.
        raised: kinds of the alarms that were raised already, before a resume.

    Attributes:
        last_healthy: the last sample step at which every figure was within its limit and before which no alarm was
            raised; 0 for none.
    """

    base: Sequence[str]
    base_unusable: float = 0.0
    raised: set[str] = field(default_factory=set)
    last_healthy: int = 0

    def __post_init__(self) -> None:
        self.base_health = text_health(self.base)
        self.first_loss: float | None = None
        self._chosen: dict[int, float] = {}
        self._margins: dict[int, float] = {}
        self._past: dict[int, dict[str, _Past]] = {}

    @property
    def alarmed(self) -> bool:
        return bool(self.raised)

    def recall_step(self, step: int, loss: float | None, chosen: float | None, margin: float | None) -> None:
        """Take in a step's figures, also those of before a resume; a step that is done again replaces its figures.

        Args:
            step: from 1.
            loss: of the step.
            chosen: its log-ratio of the chosen completions per token; None for SFT.
            margin: its mean reward margin; None for SFT.
        """
        if chosen is None and loss is not None:
            # SFT's loss is the completions' negative log-probability per token.
            if self.first_loss is None:
                self.first_loss = loss
            chosen = self.first_loss - loss
        # A step that is not finite is skipped by the loop and fails after a few: it says nothing here.
        if chosen is not None and math.isfinite(chosen):
            self._chosen[step] = chosen
        if margin is not None and math.isfinite(margin):
            self._margins[step] = margin

    def recall_samples(self, figures: Figures) -> dict[str, _Past]:
        """Take in what was measured at a sample step, also before a resume; returns what is past its limit."""
        past = {one.kind: one for one in self._past_limits(figures)}
        self._past[figures.step] = past
        return past

    def on_step(self, step: Step) -> list[Alarm]:
        """Look at one step's metrics; returns new alarms."""
        self.recall_step(
            step.step, step.loss, step.metrics.get("logratios/chosen"), step.metrics.get("rewards/margins")
        )
        found: list[Alarm] = []
        window = _window(self._chosen, step.step)
        if len(window) == WINDOW and not -CHOSEN_FALL <= (mean := fmean(window)) <= CHOSEN_RISE:
            verb, limit = ("lost", -CHOSEN_FALL) if mean < 0 else ("gained", CHOSEN_RISE)
            sentence = (
                f"Chosen answers {verb} {abs(mean):.1f} nats per token against the base model (limit {abs(limit):g})."
            )
            found.append(Alarm("likelihood", step.step, mean, limit, sentence))
        low, high = MARGIN_RANGE
        window = _window(self._margins, step.step)
        if len(window) == WINDOW and not low <= (mean := fmean(window)) <= high:
            limit = low if mean < low else high
            found.append(Alarm("margin", step.step, mean, limit, f"The reward margin is {mean:.1f} (limit {limit:g})."))
        return self._new(found)

    def on_samples(self, step: int, texts: Sequence[str], unusable: float = 0.0) -> Checked:
        """Look at what the model writes at a step.

        Args:
            step: the step.
            texts: its samples.
            unusable: share of them that are degenerate or off topic.
        """
        figures = self._measure(step, texts, unusable)
        past = self.recall_samples(figures)
        found: list[Alarm] = []
        window = _window(self._past, step)
        if len(window) == WINDOW:
            for kind in past:
                row = [one[kind] for one in window if kind in one]
                if len(row) == WINDOW:
                    mean = fmean(one.measured for one in row)
                    words = past[kind].words.format(percent(mean) if kind in _SHARES else mean)
                    sentence = f"{words}, at {WINDOW} sample steps in a row."
                    found.append(Alarm(kind, step, mean, past[kind].limit, sentence))
        alarms = self._new(found)
        healthy = not past and not self._drifting(step)
        if healthy and not self.raised:
            self.last_healthy = step
        return Checked(figures, healthy, tuple(alarms))

    def _measure(self, step: int, texts: Sequence[str], unusable: float) -> Figures:
        health = text_health(texts)
        pairs = sum(max(0, len(text.split()) - 1) for text in texts)
        known = min(pairs, sum(max(0, len(text.split()) - 1) for text in self.base))
        return Figures(
            step=step,
            samples=len(texts),
            chosen=_mean(_window(self._chosen, step)),
            margin=_mean(_window(self._margins, step)),
            repetition=health.repetition,
            words=health.words,
            distinct_2=text_health(texts, known).distinct_2 if known >= MIN_PAIRS else None,
            base_distinct_2=text_health(self.base, known).distinct_2 if known >= MIN_PAIRS else None,
            empty=health.empty,
            unusable=unusable,
        )

    def _past_limits(self, now: Figures) -> list[_Past]:
        """What is past its limit. Of several signs of one cause only the plainest is named."""
        base = self.base_health
        if now.empty > base.empty + SHARE_RISE:
            limit = base.empty + SHARE_RISE
            return [_Past("empty", now.empty, limit, f"{{}} of the samples are empty (base {percent(base.empty)})")]
        found: list[_Past] = []
        limit = base.repetition + REPETITION_RISE
        if now.repetition > limit:
            words = f"Samples repeat {{}} of their 4-grams (base {percent(base.repetition)}, limit {percent(limit)})"
            found.append(_Past("repetition", now.repetition, limit, words))
        elif (
            now.distinct_2 is not None
            and now.base_distinct_2 is not None
            and now.distinct_2 < (limit := DISTINCT_SHARE * now.base_distinct_2)
        ):
            words = (
                f"Samples are alike: distinct word pairs {{:.2f}} (base {now.base_distinct_2:.2f}, limit {limit:.2f})"
            )
            found.append(_Past("distinct", now.distinct_2, limit, words))
        limit = LENGTH_SHARE * base.words
        if now.words < limit:
            words = f"Samples became short: {{:.0f}} words (base {base.words:.0f}, limit {limit:.0f})"
            found.append(_Past("length", now.words, limit, words))
        limit = self.base_unusable + SHARE_RISE
        if now.unusable > limit and not found:
            words = f"{{}} of the samples are no answer (base {percent(self.base_unusable)}, limit {percent(limit)})"
            found.append(_Past("unusable", now.unusable, limit, words))
        return found

    def _drifting(self, step: int) -> bool:
        """Whether this step's own figures are past their limits."""
        low, high = MARGIN_RANGE
        chosen, margins = _window(self._chosen, step), _window(self._margins, step)
        return bool(
            (chosen and not -CHOSEN_FALL <= chosen[-1] <= CHOSEN_RISE) or (margins and not low <= margins[-1] <= high)
        )

    def _new(self, found: Sequence[Alarm]) -> list[Alarm]:
        new = [alarm for alarm in found if alarm.kind not in self.raised]
        self.raised.update(alarm.kind for alarm in new)
        return new


def _window(values: Mapping[int, T], step: int) -> list[T]:
    """The values of the last steps up to this one, at most `WINDOW`. Later ones are of a process that was killed."""
    return [values[one] for one in sorted(one for one in values if one <= step)[-WINDOW:]]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
