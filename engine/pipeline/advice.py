"""What to do next, at the end of a run: sentences from what it measured, the most useful first."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from engine.models.hub import memory_estimate
from engine.models.hub.catalog import PROFILES, Profile, find
from engine.pipeline.context import Context
from engine.stats.confirmation import Decision
from engine.stats.evidence import SEEDS
from engine.stats.paired import PairedResult
from engine.text import percent

ENOUGH = 0.30
"""Relative fall of the score from which another profile is not advised."""

_FEW_PAIRS = 0.5
_SMALL_GAP = 0.2
"""Kept pairs per training prompt, and mean gap of the expected scores of a pair, below which another teacher is
advised: there is little contrast to train on."""


@dataclass(frozen=True)
class Measured:
    """What the advice is based on.

    Args:
        decision: by the written rule; None where nothing was compared.
        score: expected scores on held-out prompts; None where nothing was compared.
        restored: whether a training was ended after an alarm.
    """

    decision: Decision | None
    score: PairedResult | None
    restored: bool = False


def advise(context: Context, measured: Measured) -> list[str]:
    """Sentences on what to do next."""
    found: list[str] = []
    decision, score = measured.decision, measured.score
    if context.other is not None:
        return [one.remedy for one in decision.unmet if one.remedy] if decision is not None else []
    if decision is None or score is None:
        return [*_teacher(context), "Nothing was trained: use more training prompts, or prompts that the judge flags."]
    if measured.restored:
        rate = context.config.train.learning_rate
        found.append(f"Training raised an alarm: train with a lower learning rate (it is {rate:g}).")
    if decision.outcome == "confirmed":
        found.append(f"Done: the improvement is confirmed for {decision.scope}.")
        if context.config.seeds < SEEDS:
            found.append(f"--seeds {SEEDS} shows whether the method does it, not one checkpoint alone.")
    else:
        found += [one.remedy for one in decision.unmet if one.remedy]
    gain = -(score.relative or 0.0)
    if gain < ENOUGH:
        config, model = context.config, context.generator
        found += _teacher(context)
        found += larger_profile(config.generator, config.critic, gain, model.dtype, model.device)
    return list(dict.fromkeys(found))


def _teacher(context: Context) -> list[str]:
    """Another teacher, where this one gave few pairs or pairs that hardly differ."""
    pairs, kept = context.results.pairs, context.results.kept
    gaps = [pair.improvement for pair in kept]
    few = len(kept) < _FEW_PAIRS * max(1, len(pairs))
    if not few and (not gaps or fmean(gaps) >= _SMALL_GAP):
        return []
    gap = f" with a mean gap of {fmean(gaps):.2f}" if gaps else ""
    other = "revision" if context.config.teacher == "samples" else "samples"
    return [f"Try another teacher (--teacher {other}): {len(kept)} of {len(pairs)} prompts gave a pair{gap}."]


def larger_profile(generator: str, critic: str, gain: float, dtype: str, device: str = "cpu") -> list[str]:
    """The next larger profile that fits the device's free memory, as a sentence; none where there is no larger one, or
    where the models are the user's own.

    Args:
        generator, critic: names of the run's models; "" for a critic that is the generator.
        gain: relative fall of the score, such as .12.
    """
    used = {_name(generator), _name(critic or generator)}
    held = next((place for place, one in enumerate(PROFILES) if set(one.models) == used), None)
    candidates = PROFILES[held + 1 :] if held is not None else ()
    if not candidates:
        return []
    fell = f"The score fell by {percent(gain)}." if gain > 0 else "The score did not fall."
    needs = [(one, _need(one, dtype, device)) for one in candidates]
    for profile, need in needs:
        if memory_estimate.fits(need, device).fits:
            return [
                f"{fell} The profile {profile.name} fits this machine's memory ({need / 1e9:.1f} GB): --profile "
                f"{profile.name}."
            ]
    profile, need = min(needs, key=lambda one: one[1])
    return [f"{fell} The profile {profile.name} needs {need / 1e9:.1f} GB of memory, more than this machine has free."]


def _need(profile: Profile, dtype: str, device: str) -> int:
    entries = [entry for name in profile.models if (entry := find(name)) is not None]
    return memory_estimate.together([entry.config for entry in entries], dtype, device)


def _name(model: str) -> str:
    entry = find(model)
    return entry.name if entry is not None else model
