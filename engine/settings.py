"""What a run is asked to do: one frozen `RunConfig`, its presets, and how it is written to and read from JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import InputError
from engine.models.requests import Sampling
from engine.train.config import TrainConfig


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run.

    Args:
        preset: the preset that it began from, for people.
        generator: the model that drafts and learns: a catalogue name, hub id, folder or GGUF file.
        critic: the model that criticises and revises; "" for the generator itself.
        judge: how texts are judged: "panel" (rules and a probe on the embedded model's layers; the critic's words are
            shown beside), "rules", "model" (the critic's own JSON verdict; rules take over where it is unusable) or
            "rules+model" (rules decide, the model's words are shown).
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
    train: TrainConfig = field(default_factory=lambda: TrainConfig.sft(sample_every=5))
    seed: int = 0
    keep_texts: bool = True
    device: str = ""
    dtype: str = ""


JUDGES = ("panel", "rules", "model", "rules+model")

PRESETS: dict[str, tuple[str, RunConfig]] = {
    "demo": (
        "the whole loop in a few minutes on two cores: 20 training prompts, 40 held out",
        RunConfig(
            preset="demo",
            n_train=20,
            n_heldout=40,
            n_benign=0,
            train=TrainConfig.sft(epochs=3, batch_size=4, sample_every=4),
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


def from_json(values: Mapping[str, Any]) -> RunConfig:
    """The settings that `to_json` wrote; what an older version did not know keeps its default.

    Raises:
        InputError: a name or a value is none that this version knows.
    """
    known = {f.name for f in dataclasses.fields(RunConfig)}
    members = dict(values)
    unknown = sorted(set(members) - known)
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is not a setting of a run.",
            where="run.json, config",
            next_step="The run is of a newer version of Redraft: update it.",
        )
    for name in ("draft", "critique", "revision", "answer"):
        if name in members:
            try:
                members[name] = Sampling(**{**members[name], "stop": tuple(members[name].get("stop", ()))})
            except (TypeError, AttributeError) as error:
                raise InputError(f"the sampling is damaged ({error}).", where=f"run.json, config.{name}") from error
    if "train" in members:
        members["train"] = TrainConfig.from_dict(members["train"])
    return RunConfig(**members)
