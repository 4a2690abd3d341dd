"""A pane's border: its content, the amount, and whether it follows."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget


def label(pane: Widget, title: str | Content, subtitle: str | Content = "") -> None:
    """Set both texts of the border, never read as markup; draws only where one of them changed."""
    if getattr(pane, "_labels", None) == (title, subtitle):
        return
    pane._labels = (title, subtitle)  # type: ignore[attr-defined]
    pane.border_title = Content(title) if isinstance(title, str) else title
    pane.border_subtitle = Content(subtitle) if isinstance(subtitle, str) else subtitle
