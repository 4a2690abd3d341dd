"""What the columns of labeled texts mean: whose text it is, what it answers, and whether it breaks a rule.

Labels are 1 and 0 in their many spellings, or the codes of a safety policy: a policy writes `SP0` for texts that are
allowed and `SP2`, `SP3` for those that break its rules, and its principles have these codes as ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.json_values import is_number
from engine.prompts.records import Record, read_records
from engine.text import sanitize, truncate

COLUMNS = (
    *("text", "label", "response", "responses", "response label", "response_label", "answer", "completion"),
    *("content", "test_content", "example", "classification"),
)
"""The columns that make a table one of labeled texts; the first two are the usual ones."""

_PAIRS = (
    *(("text", "label"), ("response", "response label"), ("response", "label"), ("answer", "label")),
    *(("completion", "label"), ("content", "label"), ("content", "classification"), ("example", "classification")),
    *(("example", "label"), ("text", "classification")),
)
"""Columns of a text and of its label; the first pair that a row fills. A label of the answer is one of the answer."""
_PROMPTS = ("prompt", "question", "example", "content")
_SAME = {"responses": "response", "test content": "content"}
_TRUE = {"1", "true", "yes", "violation", "violates", "violating", "unsafe", "flagged", "invalid", "1.0"}
_FALSE = {"0", "false", "no", "clean", "safe", "compliant", "non-violating", "valid", "0.0"}
_CODE = re.compile(r"#?([A-Z]{2,8})-?(\d{1,2})(?:\.[a-z])?")


@dataclass(frozen=True)
class LabeledRow:
    """A text with a label, as a file holds it.

    Args:
        place: where the row stands, for messages.
        text, prompt: the text, and what it answers ("" where it stands alone).
        label: True where the text breaks a rule.
        code: the label where it is a policy's code, in lower case ("sp2"); "" for others.
        fields: the row's other fields, by their names in lower case.
    """

    place: str
    text: str
    prompt: str
    label: bool
    code: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def get(self, column: str) -> str:
        """The text of another field; "" where the row has none.

        Raises:
            InputError: it is no text and no number.
        """
        return _string(self.fields.get(column), self.place, column)


def read_labeled_rows(path: Path) -> Iterator[LabeledRow]:
    """The rows of a file, in its order. An answer that is labeled comes before the prompt that it answers.

    Raises:
        InputError: the file cannot be read, or a row has no text or label; names line and field.
    """
    return (labeled_row(record) for record in read_records(path, COLUMNS).rows)


def is_labeled(path: Path) -> bool:
    """Whether the first row of a file has a text and a label; not where it cannot be read as one."""
    try:
        first = next(read_records(path, COLUMNS).rows, None)
    except InputError:
        return False
    fields = {} if first is None else _by_name(first)
    return all(fields.get(column) is not None for column in _columns(fields))


def labeled_row(record: Record) -> LabeledRow:
    """The row of a record.

    Raises:
        InputError: there is no text or no label.
    """
    fields = _by_name(record)
    text_column, label_column = _columns(fields)
    text = _string(fields.get(text_column), record.place, text_column)
    if not text.strip():
        there = fields.get(text_column) is not None
        raise InputError(
            "the text is empty." if there else "the text is missing.",
            where=f"{record.place}, field {text_column!r}",
            next_step="Add one.",
        )
    label, code = parse_label(fields.get(label_column), f"{record.place}, field {label_column!r}")
    asked = [name for name in _PROMPTS if name in fields and name != text_column]
    prompt = _string(fields[asked[0]], record.place, asked[0]) if asked else ""
    used = {text_column, label_column, *asked[:1]}
    rest = {name: value for name, value in fields.items() if name not in used}
    return LabeledRow(record.place, text, prompt, label, code, rest)


def parse_label(value: Any, where: str) -> tuple[bool, str]:
    """Whether a label says that a rule is broken, and the policy's code if it is one.

    Raises:
        InputError: it is none of the known labels.
    """
    if isinstance(value, bool):
        return value, ""
    word = "" if value is None else str(value).strip().strip("`")
    if word.lower() in _TRUE | _FALSE:
        return word.lower() in _TRUE, ""
    if code := _CODE.fullmatch(word):
        return int(code[2]) > 0, f"{code[1]}{int(code[2])}".lower()
    raise InputError(
        "the label is missing." if not word else f"{truncate(sanitize(word), 40)!r} is not a valid label.",
        where=where,
        next_step="Use 1 for a violation and 0 for a clean text, or a policy's codes (SP0, SP2).",
    )


def _by_name(record: Record) -> dict[str, Any]:
    """The fields by the names that `_PAIRS` has for them."""
    return {_usual_name(str(name)): value for name, value in record.fields.items()}


def _usual_name(name: str) -> str:
    name = " ".join(name.strip().casefold().replace("_", " ").split())
    return "classification" if name.endswith(" classification") else _SAME.get(name, name)


def _columns(fields: dict[str, Any]) -> tuple[str, str]:
    """The columns of text and label: the first pair that is filled, else the likeliest."""
    filled = {name for name, value in fields.items() if value is not None and str(value).strip()}
    text = next((one for one, _ in _PAIRS if one in filled), next((one for one, _ in _PAIRS if one in fields), "text"))
    return next((pair for pair in _PAIRS if filled.issuperset(pair)), (text, "label"))


def _string(value: Any, place: str, column: str) -> str:
    if value is None:
        return ""
    if is_number(value):
        return str(value)
    if not isinstance(value, str):
        raise InputError("expected a text.", where=f"{place}, field {column!r}", next_step="Put it in double quotes.")
    return sanitize(value)
