"""A text area for texts of thousands of lines: what Textual computes anew for the whole text at each resize, each key
and each line drawn is computed once here, and for plain lines (ASCII, no tabs) without looking at each character."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.document._document import Document
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.expand_tabs import get_tab_widths
from textual.geometry import Size
from textual.widgets import TextArea


class _LongDocument(Document):
    def get_size(self, tab_width: int) -> Size:
        return Size(max((_width(line, tab_width) for line in self._lines), default=0), len(self._lines))


def _width(line: str, tab_width: int) -> int:
    if line.isascii() and "\t" not in line:
        return len(line)
    return cell_len(line.expandtabs(tab_width))


class _LongWrapped(WrappedDocument):
    """Wraps again only where the width changed: edits are followed by `wrap_range`."""

    _wrapped_at: tuple[int, int] | None = None

    def wrap(self, width: int, tab_width: int | None = None) -> None:
        wanted = (width, tab_width or self._tab_width)
        if wanted == self._wrapped_at:
            return
        self._wrapped_at = wanted
        if width:
            super().wrap(width, tab_width)
            return
        self._width, self._tab_width = wanted
        lines = self.document.lines
        self._wrap_offsets = [[] for _ in lines]
        self._offset_to_line_info = [(number, 0) for number in range(len(lines))]
        self._line_index_to_offsets = [[number] for number in range(len(lines))]
        self._tab_width_cache = [
            [found for _, found in get_tab_widths(line, self._tab_width)] if "\t" in line else [0] if line else []
            for line in lines
        ]

    @property
    def height(self) -> int:
        return len(self._offset_to_line_info)


class LongTextArea(TextArea):
    """As `TextArea`, for plain text."""

    def __init__(self, text: str, **options: Any) -> None:
        super().__init__("", **options)  # which wraps its text by itself
        self._set_document(text, None)

    def _set_document(self, text: str, language: str | None) -> None:  # noqa: ARG002 - no language is highlighted
        self._highlight_query = None
        self.document = _LongDocument(text)
        self.wrapped_document = _LongWrapped(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._build_highlight_map()
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def _watch_language(self, language: str | None) -> None:
        """The document stays: none is highlighted."""
