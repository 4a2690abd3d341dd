"""One exported entry as Markdown: a heading, the figures as a table, every text in a fence that it cannot close.

Knows nothing of files or verbosity; it works from the objects of `engine.runs.export.row`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engine.events.codec import dumps
from engine.text import sanitize

_TOP = ("RUN-", "STAGE-START", "COMPARISON-SUMMARY", "ERROR")
"""Beginnings of the names of stages that open a chapter; all others stand below one."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_CELL = 300


def heading(name: str, verbosity: str) -> str:
    """The file's title."""
    return f"# Redraft run {inline(name)}\n\nVerbosity: {verbosity}. Times are UTC.\n"


def section(row: Mapping[str, Any]) -> str:
    """One entry, with an empty line before it."""
    metadata = row["metadata"]
    marks = "##" if row["stage"].startswith(_TOP) else "###"
    item = f" · {inline(metadata['item'])}" if metadata.get("item") else ""
    blocks = [f"{marks} {row['timestamp'][11:19]} {inline(row['stage'])}{item}"]
    if metadata["summary"]:
        blocks.append(inline(metadata["summary"]))
    for members in (metadata.get("texts", {}), metadata.get("raw", {})):
        blocks += [f"**{inline(label)}**\n\n{fenced(text)}" for label, text in members.items()]
    figures = list(_figures(metadata.get("data", {})))
    if figures:
        rows = [f"| {inline(name)} | {inline(value)} |" for name, value in figures]
        blocks.append("\n".join(["| figure | value |", "|:--|:--|", *rows]))
    return "\n" + "\n\n".join(blocks) + "\n"


def fenced(text: str) -> str:
    """The text between fences longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def inline(text: str) -> str:
    """The text on one line, with nothing in it that Markdown would take for markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(sanitize(text).split()))


def _figures(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of every figure; members of an object are named `outer.inner`."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", _short(value)
        elif isinstance(value, float):
            yield f"{prefix}{name}", f"{value:.6g}"
        else:
            yield f"{prefix}{name}", _short(dumps(value))


def _short(value: str) -> str:
    return value if len(value) <= _CELL else value[:_CELL] + " …"
