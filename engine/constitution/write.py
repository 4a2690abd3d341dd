"""Writes a constitution as TOML that loads back equal (apart from `source` and `sha256`, which are the file's own)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from engine.constitution.model import Constitution, Principle, Rule
from engine.errors import StorageError


def write(constitution: Constitution, path: str | Path) -> None:
    """Write the file, whole or not at all. Patterns are written with their word lists filled in.

    Raises:
        StorageError: the file cannot be written.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(to_toml(constitution))
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"The file cannot be written: {error.strerror or error}.",
            where=str(path),
            next_step="Choose another place.",
        ) from error


def to_toml(constitution: Constitution) -> str:
    """The constitution as the text of a TOML file."""
    lines = [f"name = {_text(constitution.name)}"]
    for principle in constitution.principles:
        lines += ["", "[[principles]]", *_principle(principle)]
        for rule in principle.rules:
            lines += ["", "[[principles.rules]]", *_rule(rule)]
    return "\n".join(lines) + "\n"


def _principle(principle: Principle) -> Iterable[str]:
    yield f"id = {_text(principle.id)}"
    yield f"title = {_text(principle.title)}"
    yield f"short = {_text(principle.short)}"
    yield f"description = {_text(principle.description)}"
    yield f"weight = {float(principle.weight)!r}"
    yield from _texts("critiques", principle.critiques)
    yield from _texts("revisions", principle.revisions)


def _rule(rule: Rule) -> Iterable[str]:
    yield f"id = {_text(rule.id)}"
    yield f"category = {_text(rule.category)}"
    yield f"pattern = {_pattern(rule.pattern)}"
    if rule.unless:
        yield f"unless = {_pattern(rule.unless)}"
    yield f"weight = {float(rule.weight)!r}"
    if rule.match:
        yield from _texts("match", rule.match)
    if rule.spare:
        yield from _texts("spare", rule.spare)


def _texts(key: str, texts: Iterable[str]) -> Iterable[str]:
    yield f"{key} = ["
    for text in texts:
        yield f"    {_text(text)},"
    yield "]"


def _pattern(text: str) -> str:
    """Without escapes where TOML allows it: a pattern with doubled backslashes is hard to read."""
    if text.isprintable() and "'" not in text:
        return f"'{text}'"
    if text.isprintable() and "'''" not in text and not text.endswith("'"):
        return f"'''{text}'''"
    return _text(text)


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def _text(text: str) -> str:
    parts = []
    for char in text:
        if char in _ESCAPES:
            parts.append(_ESCAPES[char])
        elif char < " " or char == "\x7f":
            parts.append(f"\\u{ord(char):04x}")
        else:
            parts.append(char)
    return '"' + "".join(parts) + '"'
