"""Notices stop texts while tokens arrive, without decoding the whole text each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Decodes(Protocol):
    def decode(self, tokens: Sequence[int]) -> str: ...


_UNFINISHED = "\ufffd"


class StopStrings:
    """Watches one row.

    A stop text can only be completed by a token whose own text holds the stop text's last character, or is not yet a
    whole character; only then the last few tokens are decoded together.

    Args:
        codec: decodes tokens.
        stops: texts; empty ones are ignored.
        pieces: text of single tokens, filled on the way; give the same to all rows of a call.
    """

    def __init__(self, codec: Decodes, stops: Sequence[str], pieces: dict[int, str]) -> None:
        self._codec = codec
        self._pieces = pieces
        self._stops = [stop for stop in stops if stop]
        self._last = {stop[-1] for stop in self._stops}
        # Some tokenizers drop the space that a lone token begins with, so its text is not enough.
        self._always = any(character.isspace() and character != "\n" for character in self._last)
        # A token that adds text adds at least one byte, and a character has at most four.
        self._window = 4 * max((len(stop) for stop in self._stops), default=0) + 4
        self._tokens: list[int] = []

    def accept(self, token: int) -> bool:
        """Whether a stop text stands in the row's text now that this token has come."""
        self._tokens.append(token)
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._codec.decode([token])
        may = self._always or _UNFINISHED in piece or any(character in piece for character in self._last)
        if not may:
            return False
        return self.found(self._codec.decode(self._tokens[-self._window :])) is not None

    def found(self, text: str) -> int | None:
        """Where the first stop text begins in `text`, or None."""
        places = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        return min(places, default=None)
