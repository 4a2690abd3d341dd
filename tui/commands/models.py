"""`redraft models`: the models known by name, and what they need."""

from __future__ import annotations

from tui.commands import options
from tui.terminal import output


def models(as_json: options.Json = False) -> None:
    """List the models known by name. A folder, a .gguf file or a hub id works wherever a name does."""
    from engine.models.hub.catalog import CATALOG

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
