"""Signs during training that a model is breaking, from its steps and its samples: alarms with figures, each once.

A language model that collapses under a preference loss first loses likelihood on what it should prefer, while the
loss and the reward margin look better than ever (Pal et al., 2024, "Smaug"), or learns a few completions by heart. So
the chosen completion's log-probability per token is watched in both directions, and the texts themselves: repetition,
length, emptiness. Knows nothing of models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from engine.stats.text_health import repeated_share, text_health
from engine.training.callbacks import Step

CHOSEN_FALL, CHOSEN_RISE = 1.0, 2.0
"""Nats per token that the chosen completions may lose or gain against the reference, averaged over `_WINDOW` steps."""

REPETITION = 0.5
"""Share of repeated 4-grams of a sample that counts as a loop."""

_WINDOW = 3
"""Steps, or samples, that an alarm needs: one of them alone may be chance."""

_SHORT = 0.34
"""Mean length of recent samples, as a share of the base's, below which there is an alarm."""


@dataclass(frozen=True)
class Alarm:
    """A sign of damage.

    Args:
        kind: "likelihood", "repetition", "length" or "empty".
        step: optimizer step at which it was seen.
        sentence: the figures, for the user.
    """

    kind: str
    step: int
    sentence: str


class HealthMonitor:
    """Watches one training.

    Args:
        base: answers of the base model to training prompts, for comparison.
    """

    def __init__(self, base: Sequence[str]) -> None:
        self._words = text_health(base).words
        self._loops = fmean(repeated_share(text) > REPETITION for text in base) if base else 0.0
        self._drifts: deque[float] = deque(maxlen=_WINDOW)
        self._samples: deque[str] = deque(maxlen=_WINDOW)
        self._raised: set[str] = set()
        self.last_healthy = 0
        """The newest step before the first alarm."""

    def on_step(self, step: Step) -> list[Alarm]:
        """Look at one step's metrics; returns what is new."""
        drift = step.metrics.get("logratios/chosen")
        if drift is not None:
            self._drifts.append(drift)
        found: list[Alarm] = []
        if len(self._drifts) == _WINDOW and not -CHOSEN_FALL <= (mean := fmean(self._drifts)) <= CHOSEN_RISE:
            verb = "lost" if mean < 0 else "gained"
            sentence = f"Chosen answers {verb} {abs(mean):.1f} nats per token against the base model."
            found.append(Alarm("likelihood", step.step, sentence))
        return self._new(found, step.step)

    def on_sample(self, step: int, text: str) -> list[Alarm]:
        """Look at what the model writes at a step; returns what is new."""
        self._samples.append(text)
        if len(self._samples) < _WINDOW:
            return []
        found: list[Alarm] = []
        looping = sum(repeated_share(one) > REPETITION for one in self._samples)
        # A base model that loops by itself is no news.
        if looping == _WINDOW and self._loops < 0.5:
            found.append(Alarm("repetition", step, f"The last {_WINDOW} samples repeat themselves."))
        words = text_health(list(self._samples)).words
        if not any(one.strip() for one in self._samples):
            found.append(Alarm("empty", step, f"The last {_WINDOW} samples are empty."))
        elif words < _SHORT * self._words:
            found.append(
                Alarm("length", step, f"Samples became short: {words:.0f} words on average, {self._words:.0f} before.")
            )
        return self._new(found, step)

    @property
    def alarmed(self) -> bool:
        return bool(self._raised)

    def _new(self, found: Sequence[Alarm], step: int) -> list[Alarm]:
        new = [alarm for alarm in found if alarm.kind not in self._raised]
        self._raised.update(alarm.kind for alarm in new)
        if not self._raised:
            self.last_healthy = step
        return new
