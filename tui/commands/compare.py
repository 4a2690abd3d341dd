"""`redraft compare`: two models on the same prompts, by the same judge, as a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from tui.commands import options
from tui.commands.run import start
from tui.commands.settings_flags import build_config, with_flags

PRESET = "compare"
"""What the settings of a comparison call their preset, and its folder's name begins with."""


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
    "seed",
    "device",
    "dtype",
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
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set any setting by its full name; may be repeated."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the run to this folder, new or empty.")
    ] = None,
    verbosity: options.Shown = None,
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Compare any two models: same prompts, sampling, seeds and judge, the same report and diff as a run.

    A run stands for the model that it trained; RUN@base, RUN@adapter-2 and RUN@step-40 name its base model, the adapter
    of another training seed, and a checkpoint. What comes out is a run that every command opens; nothing is trained, so
    it never says "confirmed".
    """
    start(comparison(first, second, flags, temperature, max_tokens, set_ or ()), folder, verbosity, as_json)


def comparison(
    first: str,
    second: str,
    flags: dict[str, Any] | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    changes: Any = (),
) -> Any:
    """The settings of a comparison of two models, each named as the command takes it.

    Raises:
        RedraftError: there is no such model or run, or an option cannot be used.
    """
    from engine.pipeline.compared_models import compared_model

    config = build_config("standard", flags or {}, changes)
    answer = config.answer
    if temperature is not None:
        answer = dataclasses.replace(answer, temperature=temperature)
    if max_tokens is not None:
        answer = dataclasses.replace(answer, max_tokens=max_tokens)
    return dataclasses.replace(
        config, preset=PRESET, generator=compared_model(first), against=compared_model(second), answer=answer
    )
