"""Options that several commands share. Those of settings are in `tui.commands.settings_flags`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write JSON on stdout (docs/cli.md).")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, unique beginning of one, folder, or 'last'.")]
ReportTo = Annotated[
    list[str] | None,
    typer.Option(
        "--report-to",
        metavar="tensorboard|trackio|wandb",
        help="Report losses and rewards of training to this tracker, too; may be repeated. [default: none]",
    ),
]
TrainingSeed = Annotated[
    int | None,
    typer.Option(
        "--training-seed",
        metavar="INTEGER",
        min=0,
        help="Take the adapter of this training seed, in a run of several. [default: the first]",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set any setting by its full name; may be repeated."),
]
NewFolder = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the run to this folder, new or empty.")
]
Verbosity = Annotated[
    int,
    typer.Option(
        "--verbosity",
        "-v",
        metavar="0-3",
        min=0,
        max=3,
        help="Show 0 nothing, 1 a summary, 2 key stages, 3 everything.",
    ),
]

Shown = Annotated[
    int | None,
    typer.Option(
        "--verbosity",
        "-v",
        metavar="0-3",
        min=0,
        max=3,
        help="Print 0 nothing, 1 a summary, 2 key stages, 3 everything. [default: 2; with --json 1, on stderr]",
    ),
]
"""Verbosity whose default depends on --json."""
