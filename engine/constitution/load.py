"""Reads and validates a constitution file: TOML, or what other projects write.

Every error names the file, the line, the field and what is allowed there.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib.resources
import io
import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.constitution.check import FailedExamples, Reader, read_constitution
from engine.constitution.importers import import_json, import_markdown, import_statements, import_yaml
from engine.constitution.model import Constitution, Rule
from engine.constitution.toml_lines import Lines
from engine.errors import InputError, StorageError
from engine.files import missing_advice

MAX_BYTES = 2_000_000
"""Largest constitution file; the default one has about a tenth of this."""

BUILT_IN = "built in"

_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive, as office documents are",
    b"%PDF": "a PDF",
    b"{\\rtf": "RTF",
}
"""First bytes of a file -> what it is."""
_SECOND_LEVEL = re.compile(r"(?m)^##+ \S")
"""A heading of Markdown below the first level; TOML has comments like those of the first."""
_STATEMENT_COLUMNS = ("statement", "principle", "text", "rule")

_FORMER_DEFAULTS = {
    "67efc8dde5e75c6e34f777de7546183451c6a211374033c5c64188febefd2a1d": (
        "94bfa7bec8ab83662d489972d15b64a630e178e8c808a73c36f4454341b5b23e"
    ),
}
"""SHA-256 of former default.toml files -> hash of their content (`Constitution.content_sha256`)."""


def default_text() -> str:
    """The default constitution's file, with comments and word lists: a starting point for your own."""
    return importlib.resources.files("engine.constitution").joinpath("default.toml").read_text(encoding="utf-8")


@functools.cache
def load_default() -> Constitution:
    """The constitution that ships with Redraft.

    The project's tests check its patterns and examples; loading does not, to be fast.
    """
    text = default_text()
    return _parse(text, BUILT_IN, hashlib.sha256(text.encode()).hexdigest(), None)


def current_sha256(sha256: str) -> str:
    """The hash of today's default constitution if `sha256` is that of a former file with the same content; otherwise
    `sha256`. Lets runs resume after a change of comments or key names only."""
    default = load_default()
    return default.sha256 if _FORMER_DEFAULTS.get(sha256) == default.content_sha256 else sha256


def _no_examples(principle_id: str, rule: Rule) -> tuple[tuple[str, int, str], ...]:  # noqa: ARG001 - the signature
    return ()


def load(path: str | Path, failed_examples: FailedExamples = _no_examples) -> Constitution:
    """The constitution in a file: TOML, or one of the shapes that `engine.constitution.importers` and
    `engine.constitution.policies` read; or in a folder, a pack of safety policies.

    Args:
        failed_examples: tries every rule's example texts (`engine.judges.rules.matching.failed_examples`); without it
            patterns are checked and examples are not.

    Raises:
        InputError: the file is not a valid constitution; names file, line and field.
        StorageError: the file cannot be read.
    """
    path = Path(path)
    if os.path.isdir(path):  # False for names that no file can have
        from engine.constitution.policies import import_pack  # reads tables, which few constitutions need

        return import_pack(path)
    data = _read(path)
    _refuse_foreign(data, path)
    text = _decoded(data, path)
    digest = hashlib.sha256(data).hexdigest()
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl", ".ndjson") or text.lstrip()[:1] == "{" or _is_json(text):
        return import_json(text, str(path), digest)
    if suffix in (".md", ".markdown") or (suffix != ".toml" and _SECOND_LEVEL.search(text) and not _is_toml(text)):
        from engine.constitution.policies import import_policy_file, is_policy

        return import_policy_file(path, text, data) if is_policy(text) else import_markdown(text, str(path), digest)
    if suffix in (".csv", ".tsv"):
        return import_statements(_statements(text, str(path), suffix), str(path), digest)
    if suffix in (".yaml", ".yml"):
        return import_yaml(text, str(path), digest)
    if suffix == ".txt" and not _is_toml(text) and "=" not in text:
        raise InputError(
            "This is plain text, which no constitution is written in.",
            where=str(path),
            next_step="Write a Markdown list (.md), a CSV of statements with the header `statement`, or TOML.",
        )
    return _parse(text, str(path), digest, failed_examples)


def loads(text: str, source: str, failed_examples: FailedExamples = _no_examples) -> Constitution:
    """The constitution in the text of a TOML file.

    Args:
        source: what messages call it.
        failed_examples: as for `load`.

    Raises:
        InputError: the text is not a valid constitution; names line and field.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise InputError(f"The text has more than {MAX_BYTES:,} bytes.", where=source, next_step="Shorten it.")
    return _parse(text, source, hashlib.sha256(data).hexdigest(), failed_examples)


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"The file is not UTF-8: byte {error.start} is {data[error.start]:#04x}.",
            where=f"{path}, line {line}",
            next_step="Save it with the encoding UTF-8.",
        ) from None


def _is_json(text: str) -> bool:
    """Whether the text is a JSON list; a TOML file may begin with a bracket, too."""
    if text.lstrip()[:1] != "[":
        return False
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _statements(text: str, source: str, suffix: str) -> list[str]:
    """The statements of a table: of the column with that name, or of its only column."""
    rows = _table_rows(text, suffix)
    headed = _is_headed(rows, source)
    for line, row in rows:
        if len(row) > 1:
            raise InputError(
                f"The row has {len(row)} cells, the header 1.",
                where=f"{source}, line {line}",
                next_step='Put statements that hold the delimiter into double quotes ("...").',
            )
    return [row[0] for _, row in (rows[1:] if headed else rows)]


def _is_headed(rows: Sequence[tuple[int, list[str]]], source: str) -> bool:
    """Whether the first row is a header.

    Raises:
        InputError: no column holds statements, or there are other columns.
    """
    names = _column_names(rows[0][1]) if rows else []
    known = next((name for name in _STATEMENT_COLUMNS if name in names), None)
    # A single word in the first line is another column's name; a single line may be anything.
    if known is None and (len(names) != 1 or len(names[0].split()) == 1 or len(rows) == 1):
        raise InputError(
            f"No column is named statement; the columns are: {', '.join(name[:40] for name in names[:12])}.",
            where=f"{source}, line 1",
            next_step="Name the column that holds the principles: statement.",
        )
    if len(names) > 1:
        others = ", ".join(name[:40] for name in names[:12] if name != known)
        raise InputError(
            f"Only the column {known} can be used; not: {others}.",
            where=f"{source}, line 1",
            next_step="Delete the other columns.",
        )
    return known is not None


def _table_rows(text: str, suffix: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of each row that is not blank; the header decides on the delimiter."""
    first = text.partition("\n")[0]
    marks = (mark for mark in ",;\t|" if set(_column_names(first.split(mark))) & set(_STATEMENT_COLUMNS))
    delimiter = next(marks, "\t" if suffix == ".tsv" else ",")
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [(table.line_num, row) for row in table if any(cell.strip() for cell in row)]


def _column_names(cells: Sequence[str]) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in cells]


def _refuse_foreign(data: bytes, path: Path) -> None:
    """Raise `InputError` for documents that hold text in a way that is not read."""
    for magic, what in _FOREIGN.items():
        if data.startswith(magic):
            raise InputError(
                f"This is {what}, which no constitution is written in.",
                where=str(path),
                next_step="Save its text as Markdown, with a heading for each principle, or as TOML.",
            )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError("There is no such file.", where=str(path), next_step=missing_advice(path)) from None
    except IsADirectoryError:
        raise InputError("This is a folder, not a file.", where=str(path), next_step="Name the TOML file.") from None
    except OSError as error:
        raise StorageError(f"The file cannot be read: {error.strerror}.", where=str(path)) from error
    except ValueError as error:  # a path with a NUL character
        raise StorageError(f"The file cannot be read: {error}.", where=str(path)) from error
    if len(data) > MAX_BYTES:
        raise InputError(
            f"The file is larger than {MAX_BYTES // 1_000_000} MB, too large for a constitution.",
            where=str(path),
            next_step="Check that it is the right file.",
        )
    return data


def _parse(text: str, source: str, digest: str, failed_examples: FailedExamples | None) -> Constitution:
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$", message)
        where = source
        if place is not None:
            message = message[: place.start()]
            where += f", line {place[1]}, column {place[2]}" if place[1] else ", at the end"
        raise InputError(
            f"This is not valid TOML: {message[:200]}.", where=where, next_step="Fix the syntax there."
        ) from None
    except RecursionError:
        raise InputError(
            "Arrays or tables are nested too deeply.",
            where=source,
            next_step="A constitution needs [[principles]] and [[principles.rules]] only.",
        ) from None
    except ValueError as error:
        # Numbers and dates that TOML's grammar allows and Python cannot represent.
        raise InputError(f"A value cannot be read: {str(error)[:200]}.", where=source) from None
    return read_constitution(table, Reader(source, Lines(text), failed_examples), digest)
