"""`redraft endpoint check URL`: what an OpenAI-compatible server can do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.models.client.check import EndpointReport

app = typer.Typer(name="endpoint", help="Check OpenAI-compatible servers.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def endpoint() -> None:
    """Check OpenAI-compatible servers."""


@app.command("check")
def check(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the server: http://127.0.0.1:8080/v1.")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Ask this model. [default: the first that the server lists]")
    ] = "",
    key_env: Annotated[
        str,
        typer.Option("--key-env", metavar="VARIABLE", help="Read the API key from this environment variable."),
    ] = "",
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=3600, help="Set the request timeout in seconds.")
    ] = 60.0,
    as_json: options.Json = False,
) -> None:
    """Find out what a server can do (schema, log-probabilities, thinking), and print the settings for it."""
    from engine.control import Control
    from engine.models.client.check import check_endpoint

    report = check_endpoint(url, Control(), model=model, key_env=key_env, timeout=timeout)
    if as_json:
        output.emit({**dataclasses.asdict(report), "options": report.options})
        return
    for line in _lines(report):
        output.result(line)


def _lines(report: EndpointReport) -> list[str]:
    can = report.capabilities
    schema = {"json_schema": "by a JSON schema", "json_object": "as JSON objects, without a schema"}
    shown = ", ".join(report.models[:8]) + (f" and {len(report.models) - 8} more" if len(report.models) > 8 else "")
    thinking = "yes" if report.thinking else "turned off" if can.no_thinking else "no"
    return [
        f"server            {report.url}",
        f"models            {shown or 'not listed'}",
        f"asked             {report.model}, answered in {report.seconds:.1f} s",
        f"structured output {schema.get(can.schema, 'no')}",
        f"log-probabilities {f'yes, the {can.top_logprobs} likeliest' if report.logprobs else 'no'}",
        f"thinking          {thinking}",
        *(f"note              {notice}." for notice in report.notices),
        f"settings          {report.options}",
    ]
