"""Joins keys that arrive faster than anybody types them into one paste.

Terminals without bracketed paste (old ones, `screen`, some SSH clients) send a pasted text as keys. One edit for each
key would be quadratic in the text's length, and outside a text field each letter would be a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from textual.events import Key, Paste
from textual.message import Message

BURST = 64
"""Keys of text in a row, read at once, from which on they are a paste."""

REPEATED = 512
"""The same for one key over and over: key repeat over a line that stalled is still keys."""

_LARGEST = 1_000_000
"""Characters that are joined at most before the app sees them."""

_TEXT = {"enter": "\n", "tab": "\t", "ctrl+j": "\n"}


_PLAIN = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")
"""Text without a control character that could begin or be a key other than Tab and Enter."""


def join_typed_text(messages: Iterable[Message]) -> list[Message]:
    """The messages, with each long run of text keys as one `Paste`. A final Enter stays a key: it follows the text."""
    joined: list[Message] = []
    run: list[Key] = []
    for message in messages:
        if isinstance(message, Key) and _text(message) is not None:
            run.append(message)
        else:
            joined += [*_joined(run), message]
            run = []
    return joined + _joined(run)


def continued(messages: list[Message], read: Callable[[], str]) -> tuple[list[Message], str]:
    """Joined messages with the rest of a text that they end in, and what was read after it that has yet to be parsed.

    Args:
        messages: as `join_typed_text` returns them.
        read: returns what follows at once; "" for nothing.
    """
    enter = isinstance(messages[-1], Key) and messages[-1].key == "enter" if messages else False
    end = len(messages) - enter
    if not end or not isinstance(paste := messages[end - 1], Paste):
        return messages, ""
    texts = [paste.text, "\n" * enter]
    size, rest = 0, ""
    while size < _LARGEST and (text := read()):
        if not _PLAIN.fullmatch(text):
            rest = text
            break
        texts.append(text.replace("\r", "\n"))
        size += len(text)
    whole = "".join(texts)
    final = [Key("enter", "\r")] if whole.endswith("\n") and not rest else []
    return [*messages[: end - 1], Paste(whole.removesuffix("\n") if final else whole), *final], rest


def _joined(run: list[Key]) -> list[Message]:
    last = [run.pop()] if run and run[-1].key == "enter" else []
    least = BURST if len({key.key for key in run}) > 1 else REPEATED
    text: list[Message] = [Paste("".join(_text(key) or "" for key in run))] if len(run) >= least else [*run]
    return text + last


def _text(key: Key) -> str | None:
    """What the key types; None for one that types nothing."""
    return key.character if key.is_printable else _TEXT.get(key.key)
