"""What a run is asked to do: one frozen `RunConfig`, its presets, and how it is written to and read from JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import InputError
from engine.models.inference.requests import Sampling
from engine.text import sanitize, truncate
from engine.training.config import TrainConfig, renamed


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run.

    Args:
        preset: the preset that it began from, for people.
        generator: the model that drafts and learns: a catalogue name, hub id, folder or GGUF file.
        critic: the model that criticises and revises; "" for the generator itself.
        judge: how texts are judged: "panel" (rules and a probe on the embedded model's layers; the critic's words are
            shown beside), "rules", "model" (the critic's own JSON verdict, where it was measured to be worth it; else,
            and where it is unusable, rules decide), "rules+model" (rules decide, the model's words are shown),
            "likelihood" (how readily the critic says yes, for models of 1B and more) or "endpoint" (a model behind a
            server).
        endpoint: address of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1; without secrets.
        endpoint_model: the name that the server knows its model by.
        endpoint_key_env: name of the environment variable that holds the server's key; "" where none is needed.
        endpoint_timeout: seconds that one question may take.
        endpoint_concurrency: questions in the air at a time.
        constitution: path of a TOML file; "" for the built-in one.
        train_prompts, heldout_prompts, benign_prompts: paths; "" for the built-in sets.
        n_train, n_heldout, n_benign: how many of each to use, from the first; 0 uses none.
        candidates: revisions written for each draft, of which the best is taken.
        draft, critique, revision, answer: how each kind of text is sampled; `answer` is for the comparison.
        train: fine-tuning.
        seed: makes a run repeatable.
        keep_texts: False keeps all prompts and answers out of the journal.
        device, dtype: "" chooses by a short measurement of this machine.
    """

    preset: str = "standard"
    generator: str = "smollm2-135m-instruct"
    critic: str = ""
    judge: str = "panel"
    endpoint: str = ""
    endpoint_model: str = ""
    endpoint_key_env: str = ""
    endpoint_timeout: float = 60.0
    endpoint_concurrency: int = 4
    constitution: str = ""
    train_prompts: str = ""
    heldout_prompts: str = ""
    benign_prompts: str = ""
    n_train: int = 120
    n_heldout: int = 200
    n_benign: int = 100
    candidates: int = 4
    draft: Sampling = Sampling(max_tokens=160, temperature=0.8, top_p=0.95, top_k=50)
    critique: Sampling = Sampling(max_tokens=96, temperature=0.7, top_p=0.95, top_k=50)
    revision: Sampling = Sampling(max_tokens=160, temperature=0.8, top_p=0.95, top_k=50)
    answer: Sampling = Sampling(max_tokens=160)
    train: TrainConfig = field(default_factory=lambda: TrainConfig.sft(sample_steps=5))
    seed: int = 0
    keep_texts: bool = True
    device: str = ""
    dtype: str = ""


JUDGES = ("panel", "rules", "model", "rules+model", "likelihood", "endpoint")

SHIPPED = "default"
"""Name of the set of probes that comes with the package: what the judge "panel" reads."""

PRESETS: dict[str, tuple[str, RunConfig]] = {
    "demo": (
        "the whole loop in a few minutes on two cores: 20 training prompts, 40 held out",
        RunConfig(
            preset="demo",
            n_train=20,
            n_heldout=40,
            n_benign=0,
            train=TrainConfig.sft(num_train_epochs=3, train_batch_size=4, sample_steps=4),
        ),
    ),
    "standard": (
        "120 training prompts, 200 held out, 100 benign: enough to confirm a change of 10 to 15 points",
        RunConfig(),
    ),
}
"""Name -> (one line for people, settings)."""


def preset(name: str) -> RunConfig:
    """The settings of a preset.

    Raises:
        InputError: there is none of this name.
    """
    try:
        return PRESETS[name][1]
    except KeyError:
        known = ", ".join(PRESETS)
        raise InputError(
            f"there is no preset {name!r}.", where="--preset", next_step=f"Choose one of: {known}."
        ) from None


def to_json(config: RunConfig) -> dict[str, Any]:
    """The settings as plain JSON types."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    plain["train"] = config.train.as_dict()
    return plain


LEAST = {
    "n_train": 1,
    "n_heldout": 1,
    "n_benign": 0,
    "endpoint_timeout": 1,
    "endpoint_concurrency": 1,
    "candidates": 1,
    "seed": 0,
    "max_tokens": 1,
    "temperature": 0,
    "top_k": 0,
    "top_p": 0,
    "min_p": 0,
}
MOST = {
    "seed": 2**32 - 1,
    "top_p": 1,
    "min_p": 1,
    "temperature": 100,
    "max_tokens": 1_000_000,
    "candidates": 1000,
    "endpoint_timeout": 3600,
    "endpoint_concurrency": 64,
}
"""Limits of settings by their own name, whatever group they are in; training has rules of its own beside them."""


def limits(name: str) -> tuple[float, float]:
    """Least and most that the setting of this name may be."""
    return LEAST.get(name, -math.inf), MOST.get(name, math.inf)


def from_json(values: Mapping[str, Any]) -> RunConfig:
    """The settings that `to_json` wrote; what an older version did not know keeps its default.

    Raises:
        InputError: a name or a value is none that this version knows; names the field.
    """
    made: RunConfig = _read(RunConfig(), values, "config")
    if made.judge not in JUDGES and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}|.*\.json", made.judge):
        raise InputError("there is no such judge.", where="config.judge", next_step=f"Known are: {', '.join(JUDGES)}.")
    return made


def _read(default: Any, values: Any, place: str) -> Any:
    """A copy of a settings object with the values that a file gives; groups within it likewise."""
    if not isinstance(values, Mapping):
        raise InputError("this is no object.", where=place, next_step=_AGAIN)
    if isinstance(default, TrainConfig):
        values = renamed(values)
    known = {field.name for field in dataclasses.fields(default)}
    members: dict[str, Any] = {}
    for name, value in values.items():
        here = f"{place}.{truncate(sanitize(str(name)), 40)}"
        if name not in known:
            raise InputError(
                "there is no such setting.",
                where=here,
                next_step="Is the run of a newer version of Redraft? Update it.",
            )
        like = getattr(default, name)
        members[name] = _read(like, value, here) if dataclasses.is_dataclass(like) else _value(like, value, name, here)
    try:
        return dataclasses.replace(default, **members)
    except InputError as error:  # training's own rules
        raise InputError(error.what, where=place, next_step=_AGAIN) from None


def _value(like: Any, value: Any, name: str, place: str) -> Any:
    """The value, where it is of the kind of `like` and within its limits."""
    if isinstance(like, tuple):
        if not isinstance(value, list):
            raise InputError("this is no list.", where=place, next_step=_AGAIN)
        return tuple(_value(like[0] if like else "", member, name, place) for member in value)
    kinds = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}[type(like)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(like, bool)):
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise InputError(f"this is not {words[type(like)]}.", where=place, next_step=_AGAIN)
    if isinstance(value, str) and "\0" in value:
        raise InputError("there is a NUL character in it.", where=place, next_step=_AGAIN)
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = limits(name)
        if not (least <= value <= most and -1e18 < value < 1e18):
            raise InputError("this is out of range.", where=place, next_step=_AGAIN)
    return value


_AGAIN = "Mend it, or start a new run."
