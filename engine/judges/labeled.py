"""Labeled texts for fitting and measuring judges: the project's own, and the user's files.

A row says whether a text is a violation, and of which principle. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.files import expanded
from engine.prompts.files import show
from engine.prompts.labeled_rows import is_labeled, read_labeled_rows
from engine.prompts.load import load_examples
from engine.text import sanitize

OWN = "own"
"""Name of the project's data set of examples."""

REGISTERS = "registers"
"""Name of the project's data set in other registers (forums, chats, shops), for fitting only."""

OUTPUTS = "outputs"
"""Name of the project's data set of real outputs of small models, labeled by reading (docs/labeling.md)."""

ANSWERS = "answers"
"""Name of the project's data set of short answers, written by hand in the manner of small models, for fitting only."""

ALONE = "answers_alone"
"""Name of the same answers without their prompts."""

_EXTENSIONS = {".jsonl", ".ndjson", ".json", ".csv", ".tsv"}


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
    return _answers(ANSWERS)


def own_claims() -> tuple[LabeledText, ...]:
    """Short answers that state something about health, money, law, safety or the world: a false and a true one to each
    prompt, in the same manner."""
    return _answers("claims")


def _answers(file: str) -> tuple[LabeledText, ...]:
    rows = _shipped(file)
    return tuple(_labeled_for_all(row, set=ANSWERS, category=row["kind"], quality="responsive") for row in rows)


def own_answers_alone() -> tuple[LabeledText, ...]:
    """Answers and claims without their prompts, as a user types a text to be judged."""
    rows = (*own_answers(), *own_claims())
    return tuple(replace(row, id=f"{row.id}-alone", prompt="", set=ALONE) for row in rows)


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
    (the source's own label), `topic`; `engine.prompts.labeled_rows` names other columns, and the codes of a safety
    policy as labels. Formats: JSON lines, a JSON list, CSV, TSV. Files of a folder without these columns are skipped; a
    file given by name is not. A folder without tables has them one level deeper, as a policy pack.

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
    # A policy pack keeps its rows in a folder of their own.
    for path in _tables(folder.iterdir()) or _tables(folder.glob("*/*")):
        if is_labeled(path):
            rows += _file(path)
    if not rows:
        raise InputError(
            "no file in this folder has labeled texts.",
            where=show(folder),
            next_step='Rows look like {"text": "...", "label": 1, "principle": "fairness"}.',
        )
    return rows


def _tables(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in _EXTENSIONS and path.is_file())


def _file(path: Path) -> list[LabeledText]:
    found = list(_rows(path))
    if not found:
        raise InputError(
            "the file has no rows.", where=show(path), next_step='Write rows: {"text": "...", "label": 1}.'
        )
    return found


def _rows(path: Path) -> Iterator[LabeledText]:
    name = sanitize(path.stem).strip() or "rows"
    for number, row in enumerate(read_labeled_rows(path), 1):
        yield LabeledText(
            id=row.get("id").strip() or f"{name}-{number}",
            text=row.text,
            label=row.label,
            principle=row.get("principle").strip() or (row.code if row.label else ""),
            prompt=row.prompt,
            set=name,
            category=row.get("category").strip(),
            topic=row.get("topic").strip(),
        )
