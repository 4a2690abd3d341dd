"""From options of the command line to the settings of a run; every bad value is told with its option's name.

Knows nothing of typer: it is given what the options hold, by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import InputError
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.settings import RunConfig

PLACES: dict[str, tuple[str, ...]] = {
    "generator": ("generator",),
    "critic": ("critic",),
    "judge": ("judge",),
    "endpoint": ("endpoint",),
    "endpoint_model": ("endpoint_model",),
    "endpoint_key_env": ("endpoint_key_env",),
    "endpoint_timeout": ("endpoint_timeout",),
    "endpoint_concurrency": ("endpoint_concurrency",),
    "constitution": ("constitution",),
    "train_prompts": ("train_prompts",),
    "heldout_prompts": ("heldout_prompts",),
    "benign_prompts": ("benign_prompts",),
    "n_train": ("n_train",),
    "n_heldout": ("n_heldout",),
    "n_benign": ("n_benign",),
    "candidates": ("candidates",),
    "max_tokens": ("draft.max_tokens", "revision.max_tokens", "answer.max_tokens"),
    "temperature": ("draft.temperature", "revision.temperature"),
    "epochs": ("train.num_train_epochs",),
    "learning_rate": ("train.learning_rate",),
    "batch_size": ("train.train_batch_size",),
    "rank": ("train.lora_r",),
    "beta": ("train.beta",),
    "seed": ("seed", "train.seed"),
    "device": ("device",),
    "dtype": ("dtype",),
    "keep_texts": ("keep_texts",),
}
"""Option -> the settings that it changes."""


def build(preset: str, objective: str, options: Mapping[str, Any], changes: Sequence[str]) -> RunConfig:
    """The preset's settings with these changes.

    Args:
        preset: its name.
        objective: "sft" or "dpo", with that objective's own defaults; "" keeps the preset's.
        options: option (a key of `PLACES`) -> value; None keeps the preset's.
        changes: settings by their full name, "train.warmup_ratio=0.2".

    Raises:
        InputError: naming the option and what it takes.
    """
    from engine import settings
    from engine.judges.registry import check_judge
    from engine.training.config import TrainConfig

    config = settings.preset(preset)
    if objective:
        _one_of(objective, ("sft", "dpo"), "--objective")
        if objective != config.train.objective:
            made = TrainConfig.sft() if objective == "sft" else TrainConfig.dpo()
            config = dataclasses.replace(config, train=made)
    for name, value in options.items():
        if value is not None:
            for place in PLACES[name]:
                config = change(config, place, value, option_of(name))
    for text in changes:
        place, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f"{_shown(text)} is no NAME=VALUE.", where="--set", next_step="Write train.warmup_ratio=0.2."
            )
        config = change(config, place.strip(), value.strip(), f"--set {_shown(place.strip())}")
    check_judge(config)
    return config


def change(config: RunConfig, place: str, value: Any, option: str) -> RunConfig:
    """The settings with one of them changed; a text is turned into what the setting holds.

    Raises:
        InputError: there is no such setting, or the value does not fit it.
    """
    outer, _, inner = place.partition(".")
    target: Any = getattr(config, outer, None) if inner else config
    name = inner or outer
    if not dataclasses.is_dataclass(target) or isinstance(target, type) or not _has(target, name):
        near = difflib.get_close_matches(place, names(config), n=3, cutoff=0.5)
        raise InputError(
            f"there is no such setting{'; the closest are ' + ', '.join(near) if near else ''}.",
            where=option,
            next_step="docs/cli.md lists them.",
        )
    if dataclasses.is_dataclass(getattr(target, name)):
        raise InputError("this is a group of settings.", where=option, next_step=f"Name one of them: {place}.NAME.")
    new = _convert(value, getattr(target, name), option)
    _check_range(name, new, option)
    try:
        changed: Any = dataclasses.replace(target, **{name: new})
    except InputError as error:  # a training setting's own rule
        raise InputError(error.what, where=option, next_step="Give another value.") from None
    return dataclasses.replace(config, **{outer: changed}) if inner else changed


def names(config: RunConfig) -> list[str]:
    """Full names of all settings."""
    found = []
    for field in dataclasses.fields(config):
        member = getattr(config, field.name)
        if dataclasses.is_dataclass(member):
            found += [f"{field.name}.{inner.name}" for inner in dataclasses.fields(member)]
        else:
            found.append(field.name)
    return found


def option_of(name: str) -> str:
    """The option's name as a person types it."""
    return {"keep_texts": "--no-texts"}.get(name, "--" + name.replace("_", "-"))


def _convert(value: Any, like: Any, option: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        if isinstance(like, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        if isinstance(like, int):
            return int(value)
        if isinstance(like, float):
            number = float(value)
            if not math.isfinite(number):
                raise ValueError
            return number
        if isinstance(like, tuple):
            parts = [part.strip() for part in value.split(",") if part.strip()]
            return tuple(_convert(part, like[0] if like else "", option) for part in parts)
    except (ValueError, KeyError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number"}
        raise InputError(
            f"{_shown(value)} is not {kinds[type(like)]}.", where=option, next_step=f"Give something like {like}."
        ) from None
    return value


def _check_range(name: str, value: Any, option: str) -> None:
    from engine.settings import limits

    if isinstance(value, str) and "\0" in value:
        raise InputError("there is a NUL character in it.", where=option, next_step="Leave it out.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    least, most = limits(name)
    if not least <= value <= most:
        rule = f"at least {least}" if most == math.inf else f"{least} to {most}"
        raise InputError(f"{value} is out of range.", where=option, next_step=f"Give {rule}.")


def _one_of(value: str, allowed: Sequence[str], option: str) -> None:
    if value not in allowed:
        raise InputError(
            f"{_shown(value)} is not known.", where=option, next_step=f"Choose one of: {', '.join(allowed)}."
        )


def _has(target: Any, name: str) -> bool:
    return name in {field.name for field in dataclasses.fields(target)}


def _shown(text: str) -> str:
    return repr(truncate(sanitize(text).replace("\n", " "), 60))
