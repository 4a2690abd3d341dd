"""A run's report as lines of text with roles: what the report screen shows, and what it copies.

Works from `report.json` or, while that is not there, from the COMPARISON-SUMMARY event; what is missing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.text import clean, cut
from tui.panes.lines import Pieces

_SKIPPED = {"config", "comparisons", "prompts", "items", "rows", "pairs", "versions", "machine", "hashes"}


def lines(report: Mapping[str, Any]) -> list[Pieces]:
    """The report, a list of pieces for each line."""
    found: list[Pieces] = []
    for name, value in _figures(report, ""):
        found.append([(f"{name:<28}", "dim"), (value, "text")])
    return found


def _figures(members: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in members.items():
        name = clean(f"{prefix}{key}").replace("\n", " ").replace("_", " ")
        if key in _SKIPPED:
            continue
        if isinstance(value, Mapping):
            yield from _figures(value, f"{name} · ")
        elif isinstance(value, list):
            yield name, f"{len(value)} entries"
        else:
            yield name, cut(clean(_scalar(value)).replace("\n", " "), 300)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "–" if value is None else str(value)


def plain(report: list[Pieces]) -> str:
    """The lines as text."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in report)
