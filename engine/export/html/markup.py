"""Text and tables of the HTML report, escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from engine.text import sanitize


def text(value: Any) -> str:
    """A value as text that HTML takes for nothing else."""
    return escape(sanitize(str(value)))


def count(number: int | None) -> str:
    """A number with its thousands apart; "–" where it is not known."""
    return "–" if number is None else f"{number:,}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose other columns are figures; "" without rows."""
    if not rows:
        return ""
    parts = [_row("th", head), *(_row("td", row) for row in rows)]
    return f'<div class="scroll"><table>{"".join(parts)}</table></div>'


def _row(tag: str, cells: Sequence[str]) -> str:
    marks = ["", *[' class="number"'] * (len(cells) - 1)]
    inner = "".join(f"<{tag}{mark}>{text(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True))
    return f"<tr>{inner}</tr>"
