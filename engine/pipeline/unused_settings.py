"""Settings that were given and have no effect beside the others: each is named once, before a run begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from engine.judges.registry import judge_kind
from engine.setting_field import option
from engine.settings import PRESETS, RunConfig, names, with_profile

_SERVER = ("endpoint_timeout", "endpoint_concurrency", "endpoint_price")
_DPO = ("train.beta", "train.loss_type", "train.rpo_alpha")
_MAKE_PAIRS = ("train_prompts", "teacher", "n_samples", "n_revised", "candidates", "endpoint_texts")
_TRAIN = (*_MAKE_PAIRS, "pairs", "n_train", "on_alarm", "seeds", "draft.*", "critique.*", "revision.*", "train.*")
_SAMPLED = ("draft", "critique", "revision", "answer")


def unused_settings(given: RunConfig, used: RunConfig | None = None) -> list[str]:
    """A sentence per reason on settings that differ from their preset's and change nothing.

    Args:
        given: as the user gave them.
        used: as the run follows them, where its prompts have changed them (`prepare.with_teacher`).
    """
    changed = _changed(given)
    reasons: dict[str, str] = {}
    for reason, settings in _rules(used or given):
        for name in changed:
            if _is_named(name, settings):
                reasons.setdefault(name, reason)
    # One option sets the sampling of several kinds of text: it has an effect where one of them is written.
    idle = {name: reason for name, reason in reasons.items() if all(one in reasons for one in _siblings(name, changed))}
    return [
        _sentence([name for name in idle if idle[name] == reason], reason) for reason in dict.fromkeys(idle.values())
    ]


def unused_for_verdicts(given: RunConfig) -> list[str]:
    """As `unused_settings`, where texts are only judged and the generator is the model that a judge may ask."""
    idle = given.generator != RunConfig().generator and not judge_kind(given.judge).needs_critic
    own = [_sentence(["generator"], f"the judge {given.judge} asks no model of your choice")] if idle else []
    return own + unused_settings(given)


def _sentence(settings: Sequence[str], reason: str) -> str:
    shown = [name if name.partition(".")[0] in _SAMPLED else option(name.rpartition(".")[2]) for name in settings]
    return f"{', '.join(shown)} {'has' if len(shown) == 1 else 'have'} no effect: {reason}."


def _siblings(name: str, changed: Iterable[str]) -> list[str]:
    """The settings that the same option changed."""
    outer, _, inner = name.partition(".")
    if outer not in _SAMPLED:
        return [name]
    return [one for one in changed if one.partition(".")[0] in _SAMPLED and one.endswith(f".{inner}")]


def _rules(config: RunConfig) -> Iterator[tuple[str, Iterable[str]]]:
    """Why settings have no effect, and which; the more general reason first."""
    revises = config.n_revised > 0 and not config.pairs and not config.against
    if config.against:
        yield "two models are compared and none is trained", _TRAIN
    if config.pairs:
        drafted = () if config.train.sample_steps else ("draft.*",)
        yield "the preference pairs are given (--pairs)", (*_MAKE_PAIRS, *drafted, "critique.*", "revision.*")
    if not revises:
        yield "no draft is revised (--n-revised 0)", ("candidates", "critique.*", "revision.*")
    if config.judge != "endpoint" and not config.endpoint_texts:
        yield "no server is asked", _SERVER
    if not judge_kind(config.judge).needs_critic and (not revises or config.endpoint_texts in ("critique", "all")):
        yield "neither judge nor revisions ask it", ("critic",)
    if config.train.objective != "dpo":
        yield "it is DPO's, and SFT is trained", _DPO
    if not config.n_benign:
        yield "no benign prompts are asked (--n-benign 0)", ("benign_prompts",)
    if not any((config.train_prompts, config.heldout_prompts, config.benign_prompts, config.pairs)):
        yield "no file of prompts is read", ("column_map", "deduplicate")
    if config.load_in_4bit:
        yield "4 bits are used (--load-in-4bit)", ("load_in_8bit",)
    for name in _SAMPLED:
        if getattr(config, name).temperature == 0:
            yield f"{name}.temperature is 0", (f"{name}.top_k", f"{name}.top_p", f"{name}.min_p")


def _changed(config: RunConfig) -> list[str]:
    """Names of the settings that are not those of preset and profile."""
    usual = PRESETS[config.preset][1] if config.preset in PRESETS else RunConfig()
    if config.profile:
        usual = with_profile(usual, config.profile)
    own = [name for name in names(config) if _value(config, name) != _value(usual, name)]
    return [name for name in own if name != "train.seed" or config.train.seed != config.seed]


def _value(config: RunConfig, name: str) -> object:
    outer, _, inner = name.partition(".")
    value = getattr(config, outer)
    return getattr(value, inner) if inner and dataclasses.is_dataclass(value) else value


def _is_named(name: str, settings: Iterable[str]) -> bool:
    outer = name.partition(".")[0]
    return any(one == name or one == f"{outer}.*" for one in settings)
