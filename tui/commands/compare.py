"""`redraft compare`: two models on the same prompts, by the same judge, as a run."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from engine.setting_field import settings_of
from engine.settings import RunConfig
from tui.commands import options
from tui.commands.run import start
from tui.commands.settings_flags import build_config, with_flags

_SETTING = settings_of(RunConfig())["against_dtype"]


@with_flags(
    "judge",
    "critic",
    "constitution",
    "system",
    "heldout_prompts",
    "benign_prompts",
    "column_map",
    "n_heldout",
    "n_benign",
    "answers_per_prompt",
    "endpoint",
    "endpoint_model",
    "endpoint_key_env",
    "endpoint_timeout",
    "endpoint_concurrency",
    "endpoint_price",
    "seed",
    "device",
    "dtype",
    "load_in_8bit",
    "load_in_4bit",
    "keep_texts",
)
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Model: a name, hub id, folder, GGUF file, or run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other model, named in the same ways.")],
    temperature: Annotated[
        float | None, typer.Option(metavar="FLOAT", min=0, max=100, help="Sampling temperature. [default: 0.3]")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="INTEGER", min=1, help="Max new tokens per answer. [default: 96]")
    ] = None,
    against_dtype: Annotated[
        str,
        typer.Option(metavar="|".join(_SETTING.choices), help=f"{_SETTING.sentence}. [default: {_SETTING.unset}]"),
    ] = "",
    set_: options.Set = None,
    folder: options.NewFolder = None,
    verbosity: options.Shown = None,
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Compare any two models: same prompts, sampling, seeds and judge, the same report and diff as a run.

    A run stands for the model that it trained; RUN@base, RUN@adapter-2 and RUN@step-40 name its base model, the adapter
    of another training seed, and a checkpoint. One model in two formats: `compare M M --against-dtype int8`. What comes
    out is a run that every command opens; nothing is trained, so it never says "confirmed".
    """
    from engine.pipeline.compared_models import comparison

    config = build_config("standard", flags, set_ or ())
    answer = config.answer
    if temperature is not None:
        answer = dataclasses.replace(answer, temperature=temperature)
    if max_tokens is not None:
        answer = dataclasses.replace(answer, max_tokens=max_tokens)
    config = dataclasses.replace(config, answer=answer, against_dtype=against_dtype)
    start(comparison(config, first, second), folder, verbosity, as_json)
