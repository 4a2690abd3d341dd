"""Turns a user's file into records: plain text, Markdown lists, CSV, JSON lines, JSON, YAML, Parquet, Arrow.

The content decides on the format where the name's extension does not: rows under another name are never taken for plain
text. Knows nothing of prompts: what a field means is decided in `engine.prompts.columns`.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from engine.errors import InputError
from engine.prompts.files import check_lines, decode, is_table_file, read_bytes, show
from engine.text import sanitize, truncate
from engine.yaml_text import load_yaml, parse_yaml

Format = Literal["text", "markdown", "csv", "jsonl", "json", "yaml", "parquet", "arrow"]

MAX_YAML_BYTES = 16 * 1024 * 1024

_JSON_LINES, _TABLES, _YAML, _MARKDOWN = (
    {".jsonl", ".ndjson", ".jsonlines"},
    {".csv", ".tsv", ".tab"},
    {".yaml", ".yml"},
    {".md", ".markdown", ".mdown"},
)
_COMPRESSED = {".gz", ".zst", ".zstd"}
_DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_LINES = 50
_MAX_SNIFFED_YAML = 1 << 20
_WRAPPERS = ("data", "rows", "prompts", "examples", "items", "instances", "train", "test")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,4}[.)])\s+(?:\[[ xX]\]\s+)?(\S.*)")
_LINE_NUMBER = re.compile(r"\s*\(?(\d{1,6})[.)]\s+(?=\S)")
_BULLET = re.compile(r"\s*[-*•–—▪◦‣]\s+(?=\S)")
_HEADING = re.compile(r"#{1,6}\s+\S")
_JSON_ROW = re.compile(r"""\s*\[?\s*\{\s*(["'])[^"']*\1\s*:""")
_FOREIGN = (
    (re.compile(r"\s*<(?:!doctype\s+html|html|head|body|table)\b", re.IGNORECASE), "HTML"),
    (re.compile(r"\s*<\?xml\b"), "XML"),
    (re.compile(r"\s*\{\\rtf"), "RTF"),
    (re.compile(r"\s*(?:event: \w+\s+)?data: [{\[]"), "a recorded event stream"),
    (re.compile(r"\s*(?:#.*\s+)*\[\[?[\w.-]+\]\]?\s*\n\s*[\w.-]+ *= *\S"), "TOML"),
    (re.compile(r"\s*(?:WEBVTT\b|\d+ *\n\d\d:\d\d:\d\d[,.]\d{3} *-->)"), "subtitles"),
    (re.compile(r"\s*(?:%.*\s+)*\\documentclass\b"), "LaTeX"),
    (re.compile(r"\s*(?:diff --git |--- \S.*\n\+\+\+ )"), "a patch"),
    (
        re.compile(
            r"\s*(?:(?:export|default|const|let|var|return)\s+)*(?:[\w$.]+\s*(?::[^=\n]{1,40})?=\s*)?[\[({]\s*\n"
            r"\s*[\"'`{(]"
        ),
        "a list written as program code",
    ),
    (re.compile(r"\s*(?:From|To|Subject|Date): .*\n(?:[A-Z][\w-]+: .*\n)*(?:From|To|Subject|Date): "), "a mail"),
)
"""Formats that are text, line by line, and are not lines of texts."""
_SPEAKER = re.compile(r"(?:Human|User|Assistant|Bot|AI|Model|Q|A|Question|Answer): ?\S", re.IGNORECASE)
_ASKING, _ANSWERING = {"human", "user"}, {"assistant", "bot", "ai", "model"}
_TIME = re.compile(r"\[?\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[ ,T]+\d{1,2}:\d\d")
_RULER = re.compile(r"\s*(?=[^-=]*[-=])[|+:=\s-]+")
"""A line of a table as Markdown, Org and terminals draw it, that only divides its header or rows."""
_EXCEL_DELIMITER = re.compile(r"\s*sep=.(?=\n)")
"""The line in which Excel notes the delimiter."""
_JSON_STRING = re.compile(r'\s*"(?:[^"\\]|\\.)*"\s*,?\s*')
_HEADER_NAME = re.compile(r"\w[\w .-]{0,29}")
_YAML_KEY = re.compile(r"(?:- )?['\"]?[\w .-]{1,60}['\"]?:(?:\s|$)")


@dataclass(frozen=True)
class Record:
    """One row of a file.

    Args:
        place: where it stands, for messages: `name, line 3` or `name, item 3`.
        fields: names and values as read; a line of plain text is the one field that plain lines are.
    """

    place: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The rows of a file.

    Args:
        format: as recognized.
        rows: an iterator; raises `InputError` for the first line that is not of the format.
        notices: what of the file is not a row and was left out; complete once `rows` is exhausted.
    """

    format: Format
    rows: Iterator[Record]
    notices: list[str]

    @property
    def structured(self) -> bool:
        """Whether rows have named fields."""
        return self.format not in ("text", "markdown")


def read_records(path: Path | str, columns: Sequence[str], *, data: bytes | None = None) -> Records:
    """The records of a file.

    `.jsonl` holds one JSON object per line, `.json` a list of objects, `.csv` and `.tsv` a header and rows, `.yaml` a
    list of objects; anything else one text per line, where blank lines and lines that start with # are skipped. A
    file whose content is one of these formats under another name is read by its content.

    Args:
        path: the file's name, for its extension and for messages.
        columns: the columns that make a table usable, any one of them suffices; the first is what plain lines are.
        data: what `read_bytes` returned, where that is known.

    Raises:
        InputError: the file cannot be read; bytes that are not UTF-8.
    """
    name = show(path)
    data = read_bytes(path) if data is None else data
    if is_table_file(data):
        kind: Format = "parquet" if data.startswith(b"PAR1") else "arrow"
        return Records(kind, _arrow_rows(data, kind, name), [])
    text = decode(data, name)
    kind = detect_format(text, extension(path), columns)
    notices: list[str] = []
    if kind in ("json", "jsonl"):
        return Records(kind, _json_rows(text, name, columns, notices, lines=kind == "jsonl"), notices)
    if kind == "yaml":
        return Records(kind, _yaml_rows(text, name, columns, notices), notices)
    check_lines(text, name)
    if kind == "csv":
        text = _EXCEL_DELIMITER.sub("", text, count=1) if _EXCEL_DELIMITER.match(text) else text
        return Records(kind, _table(text, name, columns, notices), notices)
    if kind == "markdown":
        return Records(kind, _markdown_items(text, name, columns[0], notices), notices)
    _refuse_foreign(text, name, columns[0])
    _refuse_unknown_table(text, name, columns[0])
    return Records(kind, _plain_lines(text, name, columns, notices), notices)


def extension(path: Path | str) -> str:
    """The name's extension in lower case, that of the compressed file where it is one (`.jsonl` of `a.jsonl.gz`)."""
    place = Path(path)
    return Path(place.stem if is_compressed(place) else place.name).suffix.lower()


def is_compressed(path: Path | str) -> bool:
    """Whether the name has an extension of compressed files."""
    return Path(path).suffix.lower() in _COMPRESSED


def detect_format(text: str, suffix: str, columns: Sequence[str]) -> Format:
    """The format of a text: by what its content certainly is, else by the extension of its name."""
    if suffix == ".json":
        return "json"
    lines = [line for line in text[:200_000].split("\n") if line.strip()]
    sample = lines[:_SNIFFED_LINES]
    if suffix in _JSON_LINES or _holds_json(text, sample, columns):
        return "jsonl"
    if suffix in _TABLES:
        return "csv"
    if suffix in _YAML or _holds_yaml(text, sample, columns):
        return "yaml"
    if _holds_table(sample, columns):
        return "csv"
    if suffix in _MARKDOWN or _holds_markdown(sample):
        return "markdown"
    return "text"


def kind(value: Any) -> str:
    """The JSON type of a value, in words for a message."""
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


# What a content is


def _holds_json(text: str, sample: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether most of the first lines are JSON objects, or begin like some (a comma too many, Python's quotes: these
    are refused with their line later), or the text is a JSON list or an object."""
    quoted = len(sample) > 1 and all(_JSON_STRING.fullmatch(line) for line in sample)
    # A text to judge may well be two lines of quotations.
    if quoted and "prompt" in columns and _names(sample[:1])[0] not in columns:
        return True
    objects = sum(_JSON_ROW.match(line) is not None for line in sample)
    if objects and 2 * objects >= sum(not line.lstrip().startswith("#") for line in sample):
        return True
    return text.lstrip()[:1] in ("{", "[") and _holds_json_document(text)


def _holds_json_document(text: str) -> bool:
    """Whether the text begins with a JSON object or a list of objects, or is a list of texts."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    if isinstance(value, list) and value:
        return isinstance(value[0], dict) or (all(isinstance(item, str) for item in value) and _try_json(text) == value)
    return bool(value) and isinstance(value, dict)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises `ValueError` for a name that is in it twice, of which JSON's readers drop one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"the field {truncate(sanitize(twice), 40)!r} is there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _try_json(line: str) -> Any:
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None


def _holds_yaml(text: str, sample: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the text is a YAML list of objects with a known column, or an object with a list of these."""
    first = next((line for line in sample if not line.startswith("#") and line.strip() != "---"), "")
    if not _YAML_KEY.match(first) or len(text) > _MAX_SNIFFED_YAML:
        return False
    try:
        value = parse_yaml(text)
    except Exception:  # noqa: BLE001 - whatever the parser dislikes, it is not YAML that can be used
        return False
    wanted = {*columns, "vars", "messages", "conversations"}
    if isinstance(value, dict):
        value = next((value[key] for key in ("tests", *_WRAPPERS) if isinstance(value.get(key), list)), None)
    return isinstance(value, list) and any(isinstance(row, dict) and wanted & set(map(str, row)) for row in value[:20])


def _holds_table(sample: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the first line is a header with one of the columns, and the next has as many cells."""
    if len(sample) < 2:
        return False
    for delimiter in _DELIMITERS:
        lines = [line for line in sample if delimiter != "|" or not _RULER.fullmatch(line)]
        try:
            rows = list(csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter))[:2]
        except csv.Error:
            continue
        names = _names(rows[0]) if rows else []
        if len(names) > 1 and len(rows) > 1 and set(names) & set(columns) and len(rows[1]) == len(names):
            return True
    # One column in quotes: a spreadsheet writes it so. A cell may span lines.
    return _names(sample[:1])[0] in columns and sample[0].strip().startswith('"')


def _holds_markdown(sample: Sequence[str]) -> bool:
    """Whether there is a heading of the second level or deeper, and most other lines are list items."""
    headings = sum(_HEADING.match(line) is not None for line in sample)
    items = sum(_LIST_ITEM.match(line) is not None for line in sample)
    return any(line.startswith("## ") for line in sample) and items > 0 and 2 * items >= len(sample) - headings


def _refuse_foreign(text: str, name: str, column: str) -> None:
    """Raise `InputError` for formats whose lines are not texts of their own."""
    found = next((called for pattern, called in _FOREIGN if pattern.match(text)), None)
    if found is None:
        found = _of_chats([line for line in text[:200_000].split("\n") if line.strip()])
    if found is not None:
        raise InputError(
            f"the file holds {found}, of which each line would be taken for a {column} of its own.",
            where=name,
            next_step=f'Write the texts one per line, or as JSON lines: {{"{column}": "..."}}.',
        )


def _of_chats(lines: Sequence[str]) -> str | None:
    """What lines are that were said by two in turns, or at times; None for others."""
    speakers = {line.partition(":")[0].casefold() for line in lines if _SPEAKER.match(line)}
    pairs = ({"q", "a"}, {"question", "answer"})
    if any(pair <= speakers for pair in pairs) or (speakers & _ASKING and speakers & _ANSWERING):
        return "transcripts of chats"
    if len(lines) > 1 and all(_TIME.match(line) for line in lines[:_SNIFFED_LINES]):
        return "a log, or a chat as an app exports it"
    return None


def _refuse_unknown_table(text: str, name: str, column: str) -> None:
    """Raise `InputError` for a table whose columns are not known: its lines are no texts."""
    sample = [line for line in text[:200_000].split("\n") if line.strip()][:_SNIFFED_LINES]
    for delimiter, enough in (("\t", 2), (",", 3), (";", 3), ("|", 3)):
        try:
            rows = list(csv.reader(io.StringIO("\n".join(sample), newline=""), delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        names = rows[0] if len(rows) >= enough else []
        if len(names) < 2 or any(len(row) != len(names) for row in rows):
            continue
        if all(_HEADER_NAME.fullmatch(one) for one in names):
            raise InputError(
                f"the file holds a table with the columns {', '.join(truncate(one, 40) for one in names[:12])}, "
                f"and none of them is known to hold a {column}.",
                where=name,
                next_step=f"Name the column: --map {column}={names[0]}. Or rename it to {column} in the first line.",
            )


# Text


def _plain_lines(text: str, name: str, columns: Sequence[str], notices: list[str]) -> Iterator[Record]:
    comments = 0
    mark = _LINE_NUMBER if _is_numbered(text) else _BULLET if _is_bulleted(text) else None
    if mark is not None:
        what = "numbers" if mark is _LINE_NUMBER else "bullets"
        notices.append(f"{name}: the {what} that the lines begin with are left out.")
    for number, line in enumerate(text.split("\n"), 1):
        stripped = mark.sub("", line, count=1).strip() if mark is not None else line.strip()
        if stripped.startswith("#"):
            comments += 1
        elif number == 1 and stripped.casefold() in columns:
            notices.append(f"{name}: line 1 ({stripped}) is taken for a column's name and not used as a text.")
        elif stripped:
            yield Record(f"{name}, line {number}", {columns[0]: stripped})
    if comments:
        notices.append(f"{name}: {comments:,} {'lines' if comments > 1 else 'line'} starting with # left out.")


def _is_numbered(text: str) -> bool:
    """Whether each line begins with its number, as a list that was pasted as text."""
    found = [_LINE_NUMBER.match(line) for line in text.split("\n") if line.strip() and not line.startswith("#")]
    numbers = [int(match[1]) for match in found if match]
    return len(found) > 1 and numbers == list(range(numbers[0] if numbers else 1, (numbers or [1])[0] + len(found)))


def _is_bulleted(text: str) -> bool:
    """Whether each line begins with the same bullet."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return len(lines) > 1 and all(map(_BULLET.match, lines)) and len({line.lstrip()[0] for line in lines}) == 1


def _markdown_items(text: str, name: str, column: str, notices: list[str]) -> Iterator[Record]:
    """The items of all lists, each with its continuation lines; nothing in a fenced block is an item."""
    found: list[tuple[int, list[str]]] = []
    other = 0
    open_item = fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        fence = line.lstrip().startswith(("```", "~~~"))
        item = None if fenced or fence else _LIST_ITEM.fullmatch(line)
        fenced ^= fence
        if item is not None:
            found.append((number, [item[1].strip()]))
        elif open_item and line.startswith((" ", "\t")) and line.strip():
            found[-1][1].append(line.strip())
            continue
        elif line.strip():
            other += 1
        open_item = item is not None or (open_item and not line.strip())
    if not found:
        raise InputError(
            "this is a Markdown document without a list.",
            where=name,
            next_step="Make each text a list item (- ...), or write one per line into a .txt file.",
        )
    if other:
        notices.append(f"{name}: {other:,} lines of Markdown that are not list items left out.")
    for number, lines in found:
        yield Record(f"{name}, line {number}", {column: "\n".join(lines)})


# JSON


def _json_rows(text: str, name: str, columns: Sequence[str], notices: list[str], *, lines: bool) -> Iterator[Record]:
    text = text.replace("\x1e", "")  # of JSON text sequences (RFC 7464)
    start = text.lstrip()[:1]
    # A list that is not the whole text is a broken row of JSON lines, or a broken list: each says where.
    if start == "[" and (not lines or isinstance(_try_json(text), list)):
        yield from _list_items(_parse(text, name), name, columns)
        return
    if start == "{" or not lines:
        # People name JSON lines .json, and pretty-printed objects .jsonl; one object spans lines then.
        whole = _try_json(text) if "\n" in text.strip() or not lines else None
        if whole is not None:
            yield from _json_items(_unwrapped(whole, name, columns, notices), name, columns[0])
            return
        if _spans_lines(text):
            yield from _concatenated(text, name)
            return
    yield from _json_lines(text, name, columns[0], notices)


def _json_lines(text: str, name: str, column: str, notices: list[str]) -> Iterator[Record]:
    """A row for each line; comments are left out."""
    check_lines(text, name)
    comments = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if line.lstrip().startswith(("#", "//")):
            comments += 1
            continue
        place = f"{name}, line {number}"
        if _JSON_STRING.fullmatch(line):
            line = line.rstrip().removesuffix(",")
        yield Record(place, _object(_parse(line, place), place, column))
    if comments:
        notices.append(f"{name}: {comments:,} comment {'lines' if comments > 1 else 'line'} left out.")


def _json_items(value: Any, name: str, column: str) -> Iterator[Record]:
    for number, item in enumerate(value, 1):
        place = f"{name}, item {number}"
        yield Record(place, _object(item, place, column))


def _list_items(value: list[Any], name: str, columns: Sequence[str]) -> Iterator[Record]:
    """The rows of a list of objects, of chats or of texts; a list of turns is one chat."""
    if _is_chat(value) and not any(set(columns) & set(turn) for turn in value):
        value = [value]
    yield from _json_items(value, name, columns[0])


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(t, dict) and {"role", "from"} & set(t) for t in value)
    )


def _unwrapped(whole: Any, name: str, columns: Sequence[str], notices: list[str]) -> list[Any]:
    """The rows of a JSON value: of a list itself, of an object one of its lists of objects, else the object."""
    if isinstance(whole, list):
        return whole
    if isinstance(whole, str):
        raise _no_object(whole, f"{name}, item 1")
    if not isinstance(whole, dict):
        return [whole]
    if any(_is_column(whole.get(key)) for key in columns):
        return _from_columns(whole, name, notices)
    if {*columns, "messages", "conversations"} & set(whole):
        return [whole]
    key = next((key for key in _WRAPPERS if _is_list_of_rows(whole.get(key))), None)
    if key is None:
        return [whole]
    others = [truncate(sanitize(other), 40) for other in whole if other != key]
    if others:
        notices.append(f"{name}: the rows are in {key!r}; not used: {', '.join(others[:12])}.")
    return _inner_rows(whole[key])


def _inner_rows(rows: list[Any]) -> list[Any]:
    """The rows without the wrapper that the datasets server of the Hugging Face hub puts around each."""
    inner = [row["row"] for row in rows if isinstance(row, dict) and isinstance(row.get("row"), dict)]
    return inner if len(inner) == len(rows) else rows


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict | str) for row in value)


def _is_column(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(cell, str) for cell in value)


def _from_columns(whole: dict[str, Any], name: str, notices: list[str]) -> list[dict[str, Any]]:
    """The rows of an object of columns, as `to_dict` of datasets and pandas writes them."""
    length = max(len(cells) for cells in whole.values() if _is_column(cells))
    columns = {key: cells for key, cells in whole.items() if isinstance(cells, list) and len(cells) == length}
    others = [truncate(sanitize(key), 40) for key in whole if key not in columns]
    if others:
        notices.append(f"{name}: not used: {', '.join(others[:12])}.")
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _spans_lines(text: str) -> bool:
    """Whether the first line is only the beginning of an object that ends on a later one."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    if _try_json(first) is not None:
        return False
    try:
        _DECODER.raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return True


def _concatenated(text: str, name: str) -> Iterator[Record]:
    """Objects behind each other, each on several lines."""
    at, line = 0, 1
    while True:
        rest = _blank(text, at)
        line += text.count("\n", at, at + rest)
        at += rest
        if at >= len(text):
            return
        place = f"{name}, line {line}"
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            _parse(text[at:], place)
            return
        yield Record(place, _object(value, place, "prompt"))
        line += text.count("\n", at, end)
        at = end


def _blank(text: str, at: int) -> int:
    """How many characters of white space follow."""
    end = at
    while end < len(text) and text[end] in " \t\n":
        end += 1
    return end - at


def _parse(text: str, place: str) -> Any:
    """Like `json.loads`; its errors (a number of 5,000 digits and endless nesting among them) become `InputError`."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        detail = f"{error.msg} at {at}"
    except ValueError as error:
        detail = str(error).split(";")[0]
    except RecursionError:
        detail = "nested too deeply"
    raise InputError(
        f"this is not JSON ({detail}).",
        where=place,
        next_step=_json_advice(text),
    )


def _json_advice(text: str) -> str:
    if re.match(r"\s*\[?\s*\{\s*'", text):
        return "These are Python's quotes: write the rows with `json.dumps`."
    if re.match(r"\s*\[?\s*\{\s*[“”„«]", text):
        return 'These are typographic quotes: write plain ones (").'
    if _FOREIGN[0][0].match(text):
        return "This is a web page: download the file itself."
    if "\n" in text.strip():
        return "Fix the syntax there."
    return 'Write one object per line: {"prompt": "..."}.'


def _object(value: Any, place: str, column: str) -> dict[str, Any]:
    """The fields of a row; a text alone is in the column of this name."""
    if _is_chat(value):
        return {"messages": value}
    if isinstance(value, str):
        return {column: value}
    if not isinstance(value, dict):
        raise _no_object(value, place)
    return value


def _no_object(value: Any, place: str) -> InputError:
    return InputError(f"this is {kind(value)}, not an object.", where=place, next_step='Write it as {"prompt": "..."}.')


# YAML


def _yaml_rows(text: str, name: str, columns: Sequence[str], notices: list[str]) -> Iterator[Record]:
    """Rows of a YAML list of objects, or of promptfoo's tests: each prompt template filled with each test's `vars`."""
    if len(text) > MAX_YAML_BYTES:
        raise InputError(
            f"the YAML is larger than {MAX_YAML_BYTES >> 20} MB.", where=name, next_step="Write it as JSON lines."
        )
    value = load_yaml(text, name, "JSON")
    templates = value.get("prompts") if isinstance(value, dict) else None
    tests = value.get("tests") if isinstance(value, dict) else value
    if isinstance(tests, list) and any(isinstance(test, dict) and isinstance(test.get("vars"), dict) for test in tests):
        others = [str(key) for key in value if key not in ("prompts", "tests")] if isinstance(value, dict) else []
        if others:
            notices.append(f"{name}: not used: {', '.join(truncate(sanitize(key), 40) for key in others[:12])}.")
        rows: list[Any] = list(_promptfoo(templates, tests))
    else:
        rows = _unwrapped(value, name, columns, notices)
    yield from _json_items(rows, name, columns[0])


def _promptfoo(templates: Any, tests: Sequence[Any]) -> Iterator[Any]:
    texts = [text for text in templates if isinstance(text, str)] if isinstance(templates, list) else []
    for test in tests:
        values = test.get("vars") if isinstance(test, dict) else None
        if not isinstance(values, dict):
            yield test
            continue
        rest = {key: value for key, value in test.items() if key != "vars"}
        filled = [text for text in texts if re.search(r"{{\s*\w+\s*}}", text)]
        if not filled:
            yield {**values, **rest}
        for template in filled:
            used: set[str] = set(re.findall(r"{{\s*(\w+)\s*}}", template))
            prompt = re.sub(r"{{\s*(\w+)\s*}}", lambda match: str(values.get(match[1], match[0])), template)  # noqa: B023
            yield {"prompt": prompt, **{key: value for key, value in values.items() if key not in used}, **rest}


# Tables


def _table(text: str, name: str, columns: Sequence[str], notices: list[str]) -> Iterator[Record]:
    text = _without_title(text, name, columns, notices)
    delimiter = _delimiter(text, columns)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    again = 0
    while True:
        place = f"{name}, line {rows.line_num + 1}"
        try:
            cells = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            _refuse_table(error, place)
        if not any(cell.strip() for cell in cells) or (delimiter == "|" and _is_ruler(cells)):
            continue
        if header is None:
            header = _header(cells, place, columns)
        elif len(cells) > 1 and cells[0].strip().casefold() == header[0] and _names(cells) == header:
            again += 1
        else:
            yield Record(place, _cells(cells, header, place))
    if again:
        notices.append(f"{name}: {again:,} {'lines' if again > 1 else 'line'} with the header once more left out.")


def _without_title(text: str, name: str, columns: Sequence[str], notices: list[str]) -> str:
    """The text with a title that stands above the header made blank: one cell, and a header in the next line."""
    lines = text.split("\n", 2)
    for delimiter in _DELIMITERS if len(lines) > 1 and not _RULER.fullmatch(lines[0]) else ():
        cells = next(csv.reader([lines[0]], delimiter=delimiter), [])
        known = set(_names(lines[1].split(delimiter))) & set(columns)
        titled = sum(bool(cell.strip()) for cell in cells) == 1 and not set(_names(cells)) & set(columns)
        if titled and known and len(lines[1].split(delimiter)) > 1:
            notices.append(f"{name}: line 1 is a title above the header and not used.")
            return "\n".join(["", *lines[1:]])
    return text


def _is_ruler(cells: Sequence[str]) -> bool:
    """Whether this is a line of a drawn table that only divides others."""
    return _RULER.fullmatch("|".join(cells)) is not None


def _delimiter(text: str, columns: Sequence[str]) -> str:
    """Spreadsheets write commas, semicolons or tabs, depending on country and extension: the header decides."""
    first = next((line for line in text.split("\n") if line.strip() and not _RULER.fullmatch(line)), "")
    for delimiter in _DELIMITERS:
        if set(_names(first.split(delimiter))) & set(columns):
            return delimiter
    return ","


def plain_name(name: Any) -> str:
    """The name of a column or field as it is looked for: lower case, without white space, quotes and characters that
    cannot be seen around it."""
    seen = "".join(c for c in sanitize(str(name)) if unicodedata.category(c) != "Cf")
    return seen.strip().strip('"').strip().casefold()


def _names(cells: Sequence[str]) -> list[str]:
    return [plain_name(cell) for cell in cells]


def _header(cells: list[str], place: str, columns: Sequence[str]) -> list[str]:
    names = _names(cells)
    if not set(names) & set(columns):
        found = ", ".join(truncate(name or "(no name)", 40) for name in names[:12])
        raise InputError(
            f"no column is named {' or '.join(columns[:4])}; the columns are: {found}.",
            where=place,
            next_step=f"Make the first line a header with a column {columns[0]}.",
        )
    for column in columns:
        if names.count(column) > 1:
            raise InputError(
                f"{names.count(column)} columns are named {column}.", where=place, next_step="Rename all but one."
            )
    return names


def _cells(cells: list[str], header: list[str], place: str) -> dict[str, Any]:
    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
        # Nearly always a comma in a text that was not quoted: reading on would cut the text there silently.
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


# Parquet and Arrow


def _arrow_rows(data: bytes, kind: Format, name: str) -> Iterator[Record]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(
            f"reading {kind.capitalize()} files needs the package pyarrow.",
            where=name,
            next_step="Install it: pip install pyarrow. Or save the rows as JSON lines.",
        ) from None
    try:
        buffer = arrow.BufferReader(data)
        if kind == "parquet":
            batches: Any = parquet.ParquetFile(buffer).iter_batches(batch_size=1000)
        else:
            reader = arrow.ipc.open_file(buffer)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        number = 0
        for batch in batches:
            for fields in batch.to_pylist():
                number += 1
                yield Record(f"{name}, row {number}", fields)
    except (arrow.ArrowException, OSError) as error:
        reason = truncate(sanitize(str(error)).replace("\n", " "), 200)
        raise InputError(f"this {kind} file is damaged ({reason}).", where=name, next_step="Copy it again.") from None
