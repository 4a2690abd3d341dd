"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write JSON on stdout, for programs. See docs/cli.md.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, the beginning of an id, a folder, or 'last'.")]
Verbosity = Annotated[
    int,
    typer.Option(
        "--verbosity", "-v", metavar="0-3", min=0, max=3, help="0 nothing, 1 summary, 2 key stages, 3 everything."
    ),
]

Shown = Annotated[
    int | None,
    typer.Option("--verbosity", "-v", metavar="0-3", min=0, max=3, help="What is printed: 0 nothing, 3 everything."),
]
"""Verbosity whose default depends on --json."""

Judge = Annotated[
    str | None, typer.Option(metavar="NAME", help="panel, rules, model, rules+model, likelihood, endpoint or a name.")
]
Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="Server of the judge endpoint, such as http://127.0.0.1:8080/v1.")
]
EndpointModel = Annotated[str | None, typer.Option(metavar="NAME", help="The server's name for its model.")]
EndpointKey = Annotated[
    str | None, typer.Option(metavar="VARIABLE", help="Environment variable that holds the server's key.")
]
EndpointTimeout = Annotated[str | None, typer.Option(metavar="SECONDS", help="Longest that one question may take.")]
EndpointConcurrency = Annotated[str | None, typer.Option(metavar="N", help="Questions to the server at a time.")]
