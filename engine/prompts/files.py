"""Turns a file that a person wrote into records (line, fields): plain text, CSV, JSON lines or a JSON list.

Knows nothing of prompts or rows: what a field means is decided in `engine.prompts.load`. Everything that can be wrong
with a file ends as `InputError` with the file, the line where there is one, and what to do.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from engine.errors import InputError
from engine.text import sanitize, truncate

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Larger files are refused: every prompt is held in memory for the whole run."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longer lines are refused; it is above what a text of a million characters needs, escapes included."""

_CHUNK = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Record:
    """One row of a file.

    Args:
        place: where it stands, for messages: `name, line 3` or `name, item 3`.
        fields: names and values as read; a line of plain text is the one field `prompt`.
    """

    place: str
    fields: dict[str, Any]


def show(path: Path | str) -> str:
    """The path as it may be shown: no control characters, not endless."""
    return truncate(sanitize(str(path)).replace("\n", " "), 200)


def read_bytes(path: Path | str) -> bytes:
    """The file's bytes without a UTF-8 byte order mark.

    Raises:
        InputError: no such file, a folder, unreadable, empty, too large, UTF-16, or NUL bytes in it.
    """
    name = show(path)
    try:
        with Path(path).expanduser().open("rb") as file:
            data = _read_up_to_limit(file, name)
    except FileNotFoundError:
        raise InputError("there is no such file.", where=name, next_step="Check the path.") from None
    except IsADirectoryError:
        raise InputError("this is a folder.", where=name, next_step="Name one file in it.") from None
    except PermissionError:
        raise InputError("no permission to read it.", where=name, next_step="Check its owner and mode.") from None
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a NUL in the path; RuntimeError: "~" where no home folder is known.
        raise InputError(
            f"it cannot be read ({sanitize(str(error))}).", where=name, next_step="Check the path."
        ) from None
    if not data.strip():
        raise InputError("the file is empty.", where=name, next_step="Write at least one row into it.")
    return data


def decode(data: bytes, name: str) -> str:
    """The bytes as text, line ends folded to newlines.

    Raises:
        InputError: for bytes that are not UTF-8, with the line and the offset of the first one.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8.",
            where=f"{name}, line {line}",
            next_step="Save the file as UTF-8, or convert it: iconv -f latin1 -t utf-8.",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def records(path: Path | str, data: bytes, columns: tuple[str, ...]) -> Iterator[Record]:
    """The records of a file, from its bytes; the ending of its name decides the format.

    `.jsonl` and `.ndjson` hold one JSON object a line, `.json` a list of objects (or lines of objects), `.csv` and
    `.tsv` a header and rows, anything else one prompt a line, where blank lines and lines that start with # are
    skipped.

    Args:
        path: the file's name, for its ending and for messages.
        data: what `read_bytes` gave.
        columns: the columns that make a table usable, any one of them is enough; the first is what plain lines are.

    Raises:
        InputError: for bytes that are not UTF-8, and for the first line that is not of the format.
    """
    name = show(path)
    suffix = Path(path).suffix.lower()
    text = decode(data, name)
    if suffix == ".json":
        return _json_records(text, name)
    _check_lines(text, name)
    if suffix in {".jsonl", ".ndjson"}:
        return _json_lines(text, name)
    if suffix in {".csv", ".tsv"}:
        return _table(text, name, columns)
    return _plain_lines(text, name, columns[0])


def _read_up_to_limit(file: Any, name: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := file.read(_CHUNK):
        if not chunks and chunk[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise InputError("it is UTF-16, not UTF-8.", where=name, next_step="Convert it: iconv -f utf-16 -t utf-8.")
        if (at := chunk.find(b"\0")) >= 0:
            raise InputError(
                f"there is a NUL byte at offset {size + at}; this is no text file.",
                where=name,
                next_step="Give plain text, CSV, JSON or JSON lines in UTF-8.",
            )
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"it is larger than {MAX_FILE_BYTES // 1024**2} MB.", where=name, next_step="Split it, or give a part."
            )
        chunks.append(chunk)
    return b"".join(chunks).removeprefix(_BOM)


def _check_lines(text: str, name: str) -> None:
    """A line that never ends is a wrong file (or a wrong format) and would only fail later, in a worse place."""
    for number, line in enumerate(text.split("\n"), 1):
        # A character has at most four bytes, so short lines need no encoding.
        if len(line) * 4 > MAX_LINE_BYTES and (size := len(line.encode("utf-8", "replace"))) > MAX_LINE_BYTES:
            raise InputError(
                f"the line has {size:,} bytes; at most {MAX_LINE_BYTES:,} are read.",
                where=f"{name}, line {number}",
                next_step="Cut it, or check that the file is what its ending says.",
            )


def _plain_lines(text: str, name: str, column: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield Record(f"{name}, line {number}", {column: stripped})


def _json_lines(text: str, name: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{name}, line {number}"
            yield Record(place, _object(_parse(line, place), place))


def _json_records(text: str, name: str) -> Iterator[Record]:
    if text.lstrip().startswith("["):
        items = _parse(text, name)
        for number, item in enumerate(items, 1):
            place = f"{name}, item {number}"
            yield Record(place, _object(item, place))
        return
    # People name JSON lines .json too; one object that spans lines is then not parsed line by line.
    try:
        yield Record(f"{name}, item 1", _object(json.loads(text), f"{name}, item 1"))
    except (ValueError, RecursionError):
        _check_lines(text, name)
        yield from _json_lines(text, name)


def _parse(text: str, place: str) -> Any:
    """Like `json.loads`; its errors (a number of 5,000 digits and endless nesting among them) become `InputError`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        detail = f"{error.msg} at {at}"
    except ValueError as error:
        detail = str(error).split(";")[0]
    except RecursionError:
        detail = "nested too deeply"
    raise InputError(
        f"this is not JSON ({detail}).", where=place, next_step='Write one object a line: {"prompt": "..."}.'
    )


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(
            f"this is {kind(value)}, not an object.", where=place, next_step='Write it as {"prompt": "..."}.'
        )
    return value


def kind(value: Any) -> str:
    """What a JSON value is, in words for a message."""
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _table(text: str, name: str, columns: tuple[str, ...]) -> Iterator[Record]:
    delimiter = _delimiter(text, columns)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        place = f"{name}, line {rows.line_num + 1}"
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            _refuse_table(error, place)
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _header(cells, place, columns)
        else:
            yield Record(place, _cells(cells, header, place))


def _delimiter(text: str, columns: tuple[str, ...]) -> str:
    """Spreadsheets write commas, semicolons or tabs, depending on country and ending: the header tells."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    for delimiter in _DELIMITERS:
        if set(_names(first.split(delimiter))) & set(columns):
            return delimiter
    return ","


def _names(cells: list[str]) -> list[str]:
    return [sanitize(cell).strip().strip('"').strip().casefold() for cell in cells]


def _header(cells: list[str], place: str, columns: tuple[str, ...]) -> list[str]:
    names = _names(cells)
    if not set(names) & set(columns):
        found = ", ".join(truncate(name or "(no name)", 40) for name in names[:12])
        raise InputError(
            f"no column is named {' or '.join(columns)}; the columns are: {found}.",
            where=place,
            next_step=f"Give the first line as a header with a column {columns[0]}.",
        )
    for column in columns:
        if names.count(column) > 1:
            raise InputError(
                f"{names.count(column)} columns are named {column}.", where=place, next_step="Rename all but one."
            )
    return names


def _cells(cells: list[str], header: list[str], place: str) -> dict[str, Any]:
    if len(cells) > len(header):
        # Nearly always a comma in a text that was not quoted: going on would cut the text there without a word.
        raise InputError(
            f"the row has {len(cells)} cells, the header {len(header)}.",
            where=place,
            next_step='Put texts that hold the delimiter into double quotes ("...").',
        )
    return dict(zip(header, cells, strict=False))


def _refuse_table(error: csv.Error, place: str) -> NoReturn:
    raise InputError(
        f"this is not a CSV row ({error}).",
        where=place,
        next_step='Close every double quote, double those inside a text (""), and keep cells below 131,072 characters.',
    ) from None
