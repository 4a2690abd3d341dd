"""What training changed where there was nothing to correct: divergence from the base model on neutral texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

from engine.events.comparison import SideEffects
from engine.models.inference.divergence import Divergence, divergences
from engine.pipeline.context import Context
from engine.pipeline.stage import stage
from engine.prompts.neutral import load_neutral
from engine.runs.trainings import Training
from engine.stats.interval import mean_interval

_NO_CHANGE = 1e-6
"""Nats per token: what counts as the largest divergence where none was met at all."""


def measure_side_effects(context: Context) -> None:
    """Measure each trained model against the base on the neutral texts: one forward pass of each."""
    done, trainings = context.finished.side_effects, context.trainings
    waiting = [training for training in trainings if training.number not in done]
    with stage(context, "side effects", len(trainings), len(waiting)):
        model = context.generator
        sequences = [
            tokens for one in load_neutral() if len(tokens := model.encode_text(one.text)[: model.context]) > 1
        ]
        for training in waiting:
            began = time.monotonic()
            trained = model.with_adapter(context.results.adapters[training.arm], f"{model.name}, {training.arm}")
            found = divergences(model.decoder, trained.decoder, sequences, context.control)
            _write(context, training, found, time.monotonic() - began)
            context.record.step()


def _not_negative(interval: tuple[float, float] | None) -> tuple[float, ...]:
    """A divergence is never below 0, whatever its spread."""
    return () if interval is None else (max(0.0, interval[0]), interval[1])


def _write(context: Context, training: Training, found: Sequence[Divergence], seconds: float) -> None:
    kl = [one.kl for one in found]
    base, after = fmean(one.cross_entropy for one in found), fmean(one.other_cross_entropy for one in found)
    change = [one.other_cross_entropy - one.cross_entropy for one in found]
    seed = context.config.seed
    context.record.write(
        SideEffects(
            summary=f"{training.arm} · {len(found)} neutral texts · KL {fmean(kl):.3f} nats per token · cross-entropy "
            f"{base:.2f} → {after:.2f}",
            training=training.number,
            texts=len(found),
            tokens=sum(one.tokens for one in found),
            kl=fmean(kl),
            kl_interval=_not_negative(mean_interval(kl, seed=seed, largest=max(kl) or _NO_CHANGE)),
            cross_entropy_base=base,
            cross_entropy_trained=after,
            cross_entropy_interval=mean_interval(change, seed=seed, largest=max(map(abs, change)) or _NO_CHANGE) or (),
            seconds=seconds,
        )
    )
