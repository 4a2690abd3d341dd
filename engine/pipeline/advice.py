"""What to do next, at the end of a run: sentences from what it measured, the most useful first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from engine.models.hub import memory_estimate
from engine.models.hub.catalog import PROFILES, Entry, Profile, find
from engine.pipeline.context import Context
from engine.stats.confirmation import Decision
from engine.stats.evidence import SEEDS
from engine.stats.paired import PairedResult

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
        found += [*_teacher(context), *_profile(context, gain)]
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


def _profile(context: Context, gain: float) -> list[str]:
    """The next larger profile that fits this machine's memory."""
    used = {_name(context.config.generator), _name(context.config.critic or context.config.generator)}
    held = next((place for place, one in enumerate(PROFILES) if set(one.models) == used), None)
    if held is None:  # models of the user's own: no profile is known to be larger
        return []
    candidates = PROFILES[held + 1 :]
    device, dtype = context.generator.device, context.generator.dtype
    for profile in candidates:
        need = memory_estimate.together([entry.config for entry in _entries(profile)], dtype, device)
        if memory_estimate.fits(need, device).fits:
            return [
                f"The score fell by {max(0.0, gain):.0%}. The profile {profile.name} fits this machine's memory "
                f"({need / 1e9:.1f} GB): --generator {profile.generator} --critic {profile.judge} --teacher revision."
            ]
    if not candidates:
        return []
    smallest = candidates[0]
    need = memory_estimate.together([entry.config for entry in _entries(smallest)], dtype, device)
    return [
        f"The score fell by {max(0.0, gain):.0%}. The next profile, {smallest.name}, needs {need / 1e9:.1f} GB of "
        "memory, more than this machine has free."
    ]


def _entries(profile: Profile) -> Sequence[Entry]:
    return [entry for name in profile.models if (entry := find(name)) is not None]


def _name(model: str) -> str:
    entry = find(model)
    return entry.name if entry is not None else model
