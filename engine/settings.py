"""The settings of a run: one frozen `RunConfig`, its presets, and how they are typed, written to and read from JSON."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import InputError
from engine.models.hub.catalog import PROFILES
from engine.models.hub.catalog import profile as find_profile
from engine.models.inference.requests import Sampling
from engine.setting_field import setting, settings_of
from engine.text import sanitize, truncate
from engine.training.config import RENAMED, TrainConfig, renamed


def _sampled(max_tokens: int, temperature: float, top_p: float = 0.95) -> Sampling:
    """Sampling with a mild repetition penalty: without one a model of 135M loops, base and trained alike."""
    return Sampling(max_tokens, temperature, top_k=50, top_p=top_p, repetition_penalty=1.1)


def _answered(max_tokens: int) -> Sampling:
    """How the compared answers are sampled: close to what people use the model with (SmolLM2's card: temperature 0.2,
    top_p 0.9). Drafts are warmer, since their samples have to differ; at 0.8 a 135M model leaves the subject."""
    return _sampled(max_tokens, 0.3, 0.9)


DEMONSTRATED = TrainConfig.sft(num_train_epochs=2, train_batch_size=4, learning_rate=4e-4, sample_steps=10)
"""Training on demonstrations: 50 to 70 steps. With twice as many a small model declines ordinary questions, too."""

SAMPLED = TrainConfig.dpo(num_train_epochs=3, train_batch_size=4, learning_rate=3e-4, rpo_alpha=0.05, sample_steps=5)
"""Training on preference pairs."""


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run; `RunConfig()` is the preset "standard".

    Each field has a sentence on it; more on some:

    - `generator`, `critic`, `against`: a catalog name, hub id, folder (of a model or an adapter) or GGUF file.
    - `against`: set by `redraft compare`; such a run drafts and trains nothing, and has no training prompts.
    - `judge`: "panel" (rules and a probe on the embedded model's layers; the critic's words are shown with it),
      "rules", "model" (the critic's own JSON verdict, where it was measured to be worth it; else, and where it is
      unusable, rules decide), "rules+model" (rules decide, the model's words are shown), "likelihood" (how likely the
      critic answers yes; for models of 1B and more), "endpoint" (a model behind a server), or a fitted probe.
    - `endpoint`: such as http://127.0.0.1:8080/v1; without secrets.
    - `deduplicate`: off keeps duplicates within a set; the comparison counts those of one prompt as one all the same.
    - `n_train`, `n_heldout`, `n_benign`: from the first prompt of each set.
    - `on_alarm`: an alarm says that training damages the model (`engine.training.health`). "ask" continues and offers
      to return to the last healthy checkpoint; without an answer until the end of training, it is restored.
    - `seeds`: trainings with the seeds `seed`, `seed` + 1, ...; their comparison is pooled.
    - `draft`, `critique`, `revision`, `answer`: how each kind of text is sampled; `answer` is for the comparison.
    """

    preset: str = setting("standard", "Begin with the settings of this preset", metavar="NAME", group="Run")
    profile: str = setting(
        "",
        "Choose generator, critic and judge by this profile; their own options override it",
        choices=tuple(profile.name for profile in PROFILES),
        unset="none",
        group="Models",
    )
    generator: str = setting(
        "smollm2-135m-instruct", "Draft with this model and train it", metavar="MODEL", group="Models"
    )
    against: str = setting(
        "", "Compare the generator with this model instead of training it", unset="none", metavar="MODEL"
    )
    against_dtype: str = setting(
        "",
        "Load B in this dtype, or its matrices in 8 bits (int8) or 4 (nf4)",
        choices=("float32", "bfloat16", "float16", "int8", "nf4"),
        unset="as A",
        group="Models",
    )
    critic: str = setting(
        "", "Critique and revise with this model", unset="the generator", metavar="MODEL", group="Models"
    )
    judge: str = setting(
        "panel",
        "Judge by panel, rules, model, rules+model, likelihood, endpoint or a fitted probe",
        metavar="NAME",
        group="Judge",
    )
    endpoint: str = setting(
        "", "Ask this OpenAI-compatible server as judge", unset="none", metavar="URL", group="Judge"
    )
    endpoint_model: str = setting("", "Ask the server for this model", unset="none", metavar="NAME", group="Judge")
    endpoint_key_env: str = setting(
        "", "Read the server's API key from this environment variable", unset="none", metavar="VARIABLE", group="Judge"
    )
    endpoint_texts: str = setting(
        "",
        "Ask the server for these texts: critique (revisions too), draft, or all",
        choices=("critique", "draft", "all"),
        unset="none",
        group="Judge",
    )
    endpoint_timeout: float = setting(60.0, "Set the request timeout in seconds", min=1, max=3600, group="Judge")
    endpoint_concurrency: int = setting(4, "Limit the concurrent requests", min=1, max=64, group="Judge")
    endpoint_price: tuple[float, ...] = setting(
        (0.0, 0.0),
        "Report the cost at these dollars per million prompt and completion tokens",
        metavar="IN,OUT",
        group="Judge",
    )
    constitution: str = setting(
        "", "Read the principles from this TOML file", unset="the built-in one", metavar="FILE", group="Data"
    )
    train_prompts: str = setting(
        "", "Train on these prompts: text, CSV or JSONL", unset="built-in", metavar="FILE", group="Data"
    )
    pairs: str = setting(
        "",
        "Train on these preference pairs (prompt, chosen, rejected) instead of making some",
        unset="none",
        metavar="FILE",
        group="Data",
    )
    column_map: tuple[str, ...] = setting(
        (), "Read columns of prompt and pair files under these names", metavar="NAME=COLUMN,...", group="Data"
    )
    system: str = setting(
        "",
        "Put this system text before every prompt that brings none: for drafts, training and answers",
        unset="none",
        metavar="TEXT",
        group="Data",
    )
    heldout_prompts: str = setting(
        "", "Compare on these prompts, never train on them", unset="built-in", metavar="FILE", group="Data"
    )
    benign_prompts: str = setting(
        "", "Compare on these prompts that no good answer refuses", unset="built-in", metavar="FILE", group="Data"
    )
    deduplicate: bool = setting(True, "Use exact and near duplicates among the prompts of a set once", group="Data")
    n_train: int = setting(150, "Limit the training prompts", min=1, group="Data")
    n_heldout: int = setting(200, "Limit the held-out prompts", min=1, group="Data")
    n_benign: int = setting(100, "Limit the benign prompts; 0 uses none", min=0, group="Data")
    teacher: str = setting(
        "demonstrations",
        "Learn the written answers of the training prompts (best samples where there are none), the best of several "
        "samples, or the best revision",
        choices=("demonstrations", "samples", "revision"),
        group="Generation",
    )
    n_samples: int = setting(4, "Sample this many drafts per training prompt", min=1, max=100, group="Generation")
    n_revised: int = setting(
        20, "Critique and revise this many drafts, the worst ones; 0 skips both", min=0, group="Generation"
    )
    candidates: int = setting(2, "Write this many revisions per critiqued draft", min=1, max=1000, group="Generation")
    answers_per_prompt: int = setting(
        2, "Compare this many answers of each model per held-out prompt", min=1, max=100, group="Generation"
    )
    draft: Sampling = _sampled(96, 0.5, 0.9)
    critique: Sampling = _sampled(96, 0.7)
    revision: Sampling = _sampled(96, 0.5, 0.9)
    answer: Sampling = _answered(96)
    train: TrainConfig = DEMONSTRATED
    on_alarm: str = setting(
        "ask",
        "After an alarm of training: ask, continue, or restore the last healthy checkpoint",
        choices=("ask", "continue", "restore"),
        group="Run",
    )
    seed: int = setting(
        0, "Set the random seed of everything that is sampled or trained", min=0, max=2**32 - 1, group="Run"
    )
    seeds: int = setting(1, "Train and compare this many training seeds on the same pairs", min=1, max=20, group="Run")
    keep_texts: bool = setting(True, "Keep prompts and answers in the journal", group="Run")
    device: str = setting(
        "", "Run on this torch device, such as cpu, cuda or mps", unset="measured", metavar="NAME", group="Models"
    )
    dtype: str = setting(
        "", "Load weights in this dtype", choices=("float32", "bfloat16", "float16"), unset="measured", group="Models"
    )
    load_in_8bit: bool = setting(
        False, "Keep the matrices of generator and critic in 8 bits; training changes a LoRA adapter", group="Models"
    )
    load_in_4bit: bool = setting(
        False, "Keep them in 4 bits (NF4, as in QLoRA); needs the package bitsandbytes", group="Models"
    )

    @property
    def quantization(self) -> Literal["", "int8", "nf4"]:
        """How the matrices of generator and critic are kept; 4 bits where both are asked for."""
        return "nf4" if self.load_in_4bit else "int8" if self.load_in_8bit else ""

    @property
    def against_format(self) -> tuple[str, Literal["", "int8", "nf4"]]:
        """Dtype and quantization of the model that is compared with the generator."""
        match self.against_dtype:
            case "":
                return self.dtype, self.quantization
            case "int8" | "nf4" as quantization:
                return self.dtype, quantization
            case dtype:
                return dtype, ""


FILES = ("constitution", "train_prompts", "heldout_prompts", "benign_prompts", "pairs")
"""Settings that name a file."""

JUDGES = ("panel", "rules", "model", "rules+model", "likelihood", "endpoint")

SHIPPED = "default"
"""Name of the set of probes that comes with the package: what the judge "panel" reads."""

PRESETS: dict[str, tuple[str, RunConfig]] = {
    "demo": (
        "the whole loop in minutes on two cores: 75 training prompts, 80 held out, 100 benign",
        RunConfig(
            preset="demo",
            n_train=75,
            n_heldout=80,
            answers_per_prompt=1,  # so many more prompts show a smaller change than two answers to 40 do
            n_benign=100,  # with a refusal more or less, still enough to show that refusals rose by less than 5 points
            n_revised=4,
            draft=_sampled(72, 0.5, 0.9),
            critique=_sampled(64, 0.7),
            revision=_sampled(72, 0.5, 0.9),
            answer=_answered(72),
            train=dataclasses.replace(DEMONSTRATED, num_train_epochs=3),  # half as many rows
        ),
    ),
    "standard": (
        "150 training prompts, 200 held out, 100 benign: enough to confirm a change of 10 to 15 points",
        RunConfig(),
    ),
    "thorough": (
        "the standard run with 3 training seeds, so that the result is about the method, not one checkpoint",
        RunConfig(preset="thorough", seeds=3),
    ),
}
"""Name -> (one line about it, settings)."""


def for_pairs(config: RunConfig) -> RunConfig:
    """The settings for prompts without demonstrations, or for pairs that the user brings: preference pairs, and
    `SAMPLED` wherever the training has the value of `DEMONSTRATED`."""
    if config.teacher != "demonstrations":
        return config
    usual, train = DEMONSTRATED.as_dict(), config.train.as_dict()
    own = {name: value for name, value in train.items() if value != usual[name]}
    return dataclasses.replace(config, teacher="samples", train=TrainConfig.from_dict({**SAMPLED.as_dict(), **own}))


def preset(name: str) -> RunConfig:
    """The settings of a preset.

    Raises:
        InputError: unknown name.
    """
    try:
        return PRESETS[name][1]
    except KeyError:
        known = ", ".join(PRESETS)
        raise InputError(f"unknown preset {name!r}.", where="--preset", next_step=f"Choose one of: {known}.") from None


def with_profile(config: RunConfig, name: str) -> RunConfig:
    """The settings with generator, critic and judge of a profile.

    Raises:
        ModelError: unknown name.
    """
    chosen = find_profile(name)
    critic = "" if chosen.critic == chosen.generator else chosen.critic
    return dataclasses.replace(config, profile=name, generator=chosen.generator, critic=critic, judge=chosen.judge)


def to_json(config: RunConfig) -> dict[str, Any]:
    """The settings as plain JSON types."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    plain["train"] = config.train.as_dict()
    return plain


def names(config: RunConfig) -> list[str]:
    """Full names of all settings: "seed", "draft.top_k", "train.lora_r"."""
    found = []
    for one in dataclasses.fields(config):
        member = getattr(config, one.name)
        group = dataclasses.fields(member) if dataclasses.is_dataclass(member) else ()
        found += [f"{one.name}.{inner.name}" for inner in group] if group else [one.name]
    return found


def with_value(config: RunConfig, name: str, text: str | bool, where: str) -> RunConfig:
    """The settings with one of them changed to a value that a user typed.

    Args:
        name: full name; names of 0.1 ("train.rank") are understood.
        text: the value as typed; lists are written with commas.
        where: the option or field, for messages.

    Raises:
        InputError: there is no such setting, or the value does not fit it.
    """
    outer, _, inner = name.partition(".")
    if outer == "train":
        inner = RENAMED.get(inner, inner)
    target: Any = getattr(config, outer, None) if inner else config
    member = inner or outer
    known = {one.name for one in dataclasses.fields(target)} if isinstance(target, _GROUPS) else set()
    if member not in known:
        near = difflib.get_close_matches(name, names(config), n=3, cutoff=0.5)
        raise InputError(
            f"unknown setting{'; the closest are ' + ', '.join(near) if near else ''}.",
            where=where,
            next_step="docs/cli.md lists them.",
        )
    like = getattr(target, member)
    if isinstance(like, _GROUPS):
        raise InputError("this is a group of settings.", where=where, next_step=f"Name one of them: {name}.NAME.")
    value = _parsed(text, like, where) if isinstance(text, str) else text
    _check(type(target), member, value, where, "")
    changed: Any = dataclasses.replace(target, **{member: value})
    return dataclasses.replace(config, **{outer: changed}) if inner else changed


_GROUPS = (RunConfig, Sampling, TrainConfig)
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _parsed(text: str, like: Any, where: str) -> Any:
    """A typed value as the type of `like`."""
    try:
        if isinstance(like, bool):
            return _BOOLS[text.lower()]
        if isinstance(like, int):
            return int(text)
        if isinstance(like, float):
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
            return number
    except (ValueError, KeyError):
        shown = repr(truncate(sanitize(text).replace("\n", " "), 60))
        raise InputError(
            f"{shown} is not {_TYPES[type(like)]}.", where=where, next_step=f"Example: {str(like).lower()}."
        ) from None
    if isinstance(like, tuple):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_parsed(part, like[0] if like else "", where) for part in parts)
    return text


def _check(kind: type[Any], name: str, value: Any, where: str, next_step: str) -> None:
    """Refuse a value that is outside the range or choices of the setting `name` of `kind`."""
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, str) and "\0" in part:
            raise InputError("the value contains a NUL character.", where=where, next_step=next_step or "Remove it.")
    known = settings_of(kind)[name]
    problem = known.problem(name, value)
    if problem:
        choose = f"Choose {known.range()}." if known.range() else "Choose another value."
        raise InputError(problem, where=where, next_step=next_step or choose)


BEFORE: Mapping[str, Any] = {
    "teacher": "revision",
    "n_samples": 1,
    "n_revised": 1_000_000,
    "answers_per_prompt": 1,
    "on_alarm": "continue",
    "deduplicate": False,
}
"""Settings that 0.1 did not have, with what it did; a run of 0.1 is resumed in its own way."""


def from_json(values: Mapping[str, Any]) -> RunConfig:
    """The settings that `to_json` wrote; what an older version did not have gets its value from `BEFORE`, else its
    default.

    Raises:
        InputError: this version does not know a name or refuses a value; names the field.
    """
    if isinstance(values, Mapping) and "teacher" not in values:
        values = {**BEFORE, **values}
    named = values.get("profile") if isinstance(values, Mapping) else None
    # A file may name a profile alone; the roles that it spells out go before it.
    start = with_profile(RunConfig(), named) if isinstance(named, str) and named else RunConfig()
    made: RunConfig = _read(start, values, "config")
    if made.judge not in JUDGES and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}|.*\.json", made.judge):
        raise InputError(
            f"unknown judge {truncate(sanitize(made.judge), 60)!r}.",
            where="config.judge",
            next_step=f"Choose {', '.join(JUDGES)}.",
        )
    return made


def _read(default: Any, values: Any, place: str) -> Any:
    """A copy of a settings object with the values of a file; groups within it likewise."""
    if not isinstance(values, Mapping):
        raise InputError("expected an object.", where=place, next_step=_FIX)
    if isinstance(default, TrainConfig):
        values = renamed(values)
    known = {field.name for field in dataclasses.fields(default)}
    members: dict[str, Any] = {}
    for name, value in values.items():
        here = f"{place}.{truncate(sanitize(str(name)), 40)}"
        if name not in known:
            raise InputError(
                "unknown setting.",
                where=here,
                next_step="A newer version of Redraft may have written it: update.",
            )
        like = getattr(default, name)
        members[name] = (
            _read(like, value, here)
            if dataclasses.is_dataclass(like)
            else _value(type(default), like, value, name, here)
        )
    return dataclasses.replace(default, **members)


def _value(kind: type[Any], like: Any, value: Any, name: str, place: str) -> Any:
    """The value of a file, where it is of the type of `like` and within its range."""
    if isinstance(like, tuple):
        if not isinstance(value, list):
            raise InputError("expected a list.", where=place, next_step=_FIX)
        found: Any = tuple(_typed(like[0] if like else "", member, place) for member in value)
    else:
        found = _typed(like, value, place)
    _check(kind, name, found, place, _FIX)
    return found


def _typed(like: Any, value: Any, place: str) -> Any:
    kinds = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}[type(like)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(like, bool)):
        raise InputError(f"expected {_TYPES[type(like)]}.", where=place, next_step=_FIX)
    return value


_FIX = "Fix it or start a new run."
