"""`redraft models`: the models known by name, and what they need."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.models.hub.memory_plan import StagePlan


def models(
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what each stage of a run needs in memory, by dtype; loads nothing.")
    ] = False,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="Plan for this profile: embedded, single, dual or conservative-dual.")
    ] = "",
    generator: Annotated[
        str, typer.Option("--generator", "-g", metavar="MODEL", help="Plan for training this model.")
    ] = "",
    critic: Annotated[str, typer.Option(metavar="MODEL", help="Plan for this model as critic and judge.")] = "",
    as_json: options.Json = False,
) -> None:
    """List the models known by name. A folder, a .gguf file or a hub id works wherever a name does."""
    if plan or profile or generator or critic:
        _plan(profile, generator, critic, as_json)
        return
    from engine.models.hub.catalog import CATALOG, PROFILES

    if as_json:
        output.emit(
            [
                {
                    "name": entry.name,
                    "repo": entry.repo,
                    "license": entry.license,
                    "parameters": entry.parameters,
                    "context": entry.context,
                    "chat": entry.chat,
                    "embedded": entry.embedded,
                    "summary": entry.summary,
                }
                for entry in CATALOG
            ]
        )
        return
    rows = [
        {
            "name": entry.name,
            "parameters": f"{entry.parameters / 1e6:,.0f} M",
            "context": f"{entry.context:,}",
            "license": entry.license,
            "": entry.summary,
        }
        for entry in CATALOG
    ]
    for line in output.table(rows, right=frozenset({"parameters", "context"})):
        output.result(line)
    output.result("")
    for line in output.table([{"profile": each.name, "": each.summary} for each in PROFILES]):
        output.result(line)


def _plan(profile: str, generator: str, critic: str, as_json: bool) -> None:
    from engine.models.hub.memory_plan import plan, proposed_profile
    from engine.settings import RunConfig, with_profile

    config = with_profile(RunConfig(), profile) if profile else RunConfig()
    rows = plan(
        generator or config.generator,
        critic or ("" if generator else config.critic),
        quantizations=("", "int8"),
    )
    name, reason = proposed_profile()
    if as_json:
        output.emit({"stages": [dataclasses.asdict(row) for row in rows], "proposed": name, "reason": reason})
        return
    for line in output.table(_rows(rows), right=frozenset({"need"})):
        output.result(line)
    output.result(f"{rows[0].free / 1e9:.1f} GB are free. Of the profiles, {reason}")


def _rows(plans: Sequence[StagePlan]) -> list[dict[str, Any]]:
    return [
        {
            "stage": row.stage,
            "model": row.model,
            "dtype": f"{row.dtype}, {row.quantization}" if row.quantization else row.dtype,
            "need": f"{row.need / 1e9:.1f} GB",
            "": row.verdict,
            "change": row.change,
        }
        for row in plans
    ]
