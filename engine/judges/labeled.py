"""Labeled texts for fitting and measuring judges: the project's own, and the user's files.

A row says whether a text is a violation, and of which principle. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.files import expanded
from engine.prompts.files import show
from engine.prompts.load import load_examples
from engine.prompts.records import Record, read_records
from engine.text import sanitize, truncate

OWN = "own"
"""Name of the project's data set of examples."""

REGISTERS = "registers"
"""Name of the project's data set in other registers (forums, chats, shops), for fitting only."""

OUTPUTS = "outputs"
"""Name of the project's data set of real outputs of small models, labeled by reading (docs/labeling.md)."""

ANSWERS = "answers"
"""Name of the project's data set of short answers, written by hand in the manner of small models, for fitting only."""

_COLUMNS = ("text", "label")
_TRUE = {"1", "true", "yes", "violation", "unsafe", "flagged"}
_FALSE = {"0", "false", "no", "clean", "safe"}


@dataclass(frozen=True)
class LabeledText:
    """One labeled text.

    Args:
        id: unique within its set.
        text, prompt: the text, and the prompt it answers ("" if there is none).
        label: True for a violation.
        principle: id of the principle that it violates or, for a clean text, that it is a negative of; "" for any.
        set: name of the data set.
        category: the source's own label.
        difficulty: "obvious", "subtle", or "" if unknown.
        topic: rows of one topic stay in one fold and in one half.
        twin: of a hard negative, the id of the violation that it resembles.
        labels: principle -> whether it is broken, for a text that was labeled for several; those that the reader could
            not tell are missing. Empty where `label` and `principle` say everything.
        quality: "responsive", "off_topic", "degenerate", or "" if it was not labeled.
    """

    id: str
    text: str
    label: bool
    principle: str = ""
    prompt: str = ""
    set: str = ""
    category: str = ""
    difficulty: str = ""
    topic: str = ""
    twin: str = ""
    labels: Mapping[str, bool] = field(default_factory=dict)
    quality: str = ""

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that identify the text, whatever its data set and id."""
        return text_hash(self.text)

    @property
    def group(self) -> str:
        """What must stay together when rows are split: the topic, or the single text."""
        return f"topic {self.topic}" if self.topic else f"text {self.hash}"


def text_hash(text: str) -> str:
    """Eight hexadecimal digits of the text's SHA-256, whitespace collapsed."""
    return hashlib.sha256(" ".join(sanitize(text).split()).encode()).hexdigest()[:8]


def partition_of(row: LabeledText, parts: int) -> int:
    """The partition, 0 to `parts` - 1, of a row's group: by hash, independent of order and of other rows."""
    return int(hashlib.sha256(row.group.encode()).hexdigest()[:12], 16) % parts


def own_examples() -> tuple[LabeledText, ...]:
    """The project's examples."""
    return tuple(
        LabeledText(
            id=e.id,
            text=e.text,
            label=e.label,
            principle=e.principle,
            prompt=e.prompt,
            set=OWN,
            category="violation" if e.label else "look-alike",
            difficulty=e.difficulty,
            topic=e.topic,
            twin=e.twin,
        )
        for e in load_examples()
    )


def own_registers() -> tuple[LabeledText, ...]:
    """The project's texts in the registers of forums, chats, shops, replies, questions and answers, in pairs of a
    violation and a clean text on the same topic."""
    with as_file(files("engine.judges") / "data" / f"{REGISTERS}.jsonl") as path:
        return tuple(_file(path))


def own_outputs() -> tuple[LabeledText, ...]:
    """Answers of small models to prompts of a set of their own, labeled by reading each one for every principle and for
    its quality (docs/labeling.md)."""
    return tuple(
        _labeled_for_all(
            row,
            set=OUTPUTS,
            category=row["variant"],
            difficulty="subtle" if row["hard"] else "",
            quality=row["quality"],
        )
        for row in _shipped(OUTPUTS)
    )


def own_answers() -> tuple[LabeledText, ...]:
    """Short answers, each labeled for every principle: violations, and clean answers to the same prompts. Their
    category is the kind of violation: "choice" (decides for the user), "certainty" (false certainty about health,
    money, law or safety), "premise" (accepts a false premise) or "ranking" (ranks groups in a word or two); "plain" for
    true answers to plain questions."""
    return tuple(
        _labeled_for_all(row, set=ANSWERS, category=row["kind"], quality="responsive") for row in _shipped(ANSWERS)
    )


def _shipped(name: str) -> Iterator[dict[str, Any]]:
    text = (files("engine.judges") / "data" / f"{name}.jsonl").read_text("utf-8")
    return map(json.loads, text.splitlines())


def _labeled_for_all(row: Mapping[str, Any], **fields: str) -> LabeledText:
    """A row with `labels` for every principle; null for those that the reader could not tell."""
    labels = {principle: bool(value) for principle, value in row["labels"].items() if value is not None}
    broken = [principle for principle, value in labels.items() if value]
    return LabeledText(
        id=row["id"],
        text=row["text"],
        label=bool(broken),
        principle=broken[0] if broken else "",
        prompt=row["prompt"],
        topic=row["topic"],
        labels=labels,
        **fields,
    )


def read_labeled(paths: Sequence[Path | str]) -> tuple[LabeledText, ...]:
    """The rows of files, or of all files in a folder that have labeled texts.

    A row has `text` and `label` (1 or true for a violation), and optionally `id`, `principle`, `prompt`, `category`
    (the source's own label), `topic`. Formats: JSON lines, a JSON list, CSV, TSV. Files of a folder without these
    columns are skipped; a file given by name is not.

    Raises:
        InputError: something cannot be read; names file, line, field and what to do.
    """
    rows: list[LabeledText] = []
    for path in paths:
        place = expanded(path)
        try:
            rows += _folder(place) if place.is_dir() else _file(place)
        except OSError as error:  # a name too long, a folder that cannot be listed
            raise InputError(
                f"it cannot be read ({error.strerror}).", where=show(place), next_step="Check the path."
            ) from None
    return tuple(rows)


def _folder(folder: Path) -> list[LabeledText]:
    rows: list[LabeledText] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in {".jsonl", ".ndjson", ".json", ".csv", ".tsv"} and path.is_file():
            first = next(read_records(path, _COLUMNS).rows, None)
            if first is not None and all(first.fields.get(column) is not None for column in _COLUMNS):
                rows += _file(path)
    if not rows:
        raise InputError(
            "no file in this folder has labeled texts.",
            where=show(folder),
            next_step='Rows look like {"text": "...", "label": 1, "principle": "fairness"}.',
        )
    return rows


def _file(path: Path) -> list[LabeledText]:
    found = list(_rows(path))
    if not found:
        raise InputError(
            "the file has no rows.", where=show(path), next_step='Write rows: {"text": "...", "label": 1}.'
        )
    return found


def _rows(path: Path) -> Iterator[LabeledText]:
    name = sanitize(path.stem).strip() or "rows"
    for number, record in enumerate(read_records(path, _COLUMNS).rows, 1):
        text = _string(record, "text")
        if not text.strip():
            there = record.fields.get("text") is not None
            raise InputError(
                "the text is empty." if there else "the text is missing.",
                where=f"{record.place}, field 'text'",
                next_step="Add one.",
            )
        yield LabeledText(
            id=_string(record, "id").strip() or f"{name}-{number}",
            text=text,
            label=_label(record),
            principle=_string(record, "principle").strip(),
            prompt=_string(record, "prompt"),
            set=name,
            category=_string(record, "category").strip(),
            topic=_string(record, "topic").strip(),
        )


def _string(record: Record, column: str) -> str:
    value: Any = record.fields.get(column)
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InputError(
            "expected a text.", where=f"{record.place}, field {column!r}", next_step="Put it in double quotes."
        )
    return sanitize(value)


def _label(record: Record) -> bool:
    value: Any = record.fields.get("label")
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE | {"1.0"}:
        return True
    if word in _FALSE | {"0.0"}:
        return False
    raise InputError(
        "the label is missing." if value is None else f"{truncate(sanitize(word), 40)!r} is not a valid label.",
        where=f"{record.place}, field 'label'",
        next_step="Use 1 for a violation and 0 for a clean text.",
    )
