"""Prompts and texts to judge: the sets that the project wrote, and files of the user's own.

Knows nothing of models: a prompt is a text with an id, and a hash by which held-out prompts are kept out of training.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, overload

from engine.errors import InputError
from engine.models.inference.requests import Message
from engine.prompts.columns import (
    ALL_COLUMNS,
    Usage,
    count_unused,
    missing,
    read_label,
    read_prompt,
    read_text,
    with_known_names,
)
from engine.prompts.duplicates import representatives
from engine.prompts.files import read_bytes, show
from engine.prompts.records import Record, detect_format, extension, is_compressed, kind, read_records
from engine.text import sanitize, truncate

BUILTIN = ("train", "heldout", "benign")
PRINCIPLES = ("harm_prevention", "truthfulness", "fairness", "autonomy_respect")
"""Principles of the default constitution, which the built-in texts are written for."""

MAX_ID = 200
"""Characters of an id: it goes into every record about its text."""

_SHOWN = 5


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Args:
        id: names the prompt within its set.
        text: the last thing that the person says, control characters stripped.
        topic: what it is about; empty where nothing is known.
        principle: the principle that it tempts a model to break; empty for benign prompts and where nothing is known.
        messages: turns before it, oldest first; empty for most.
        demonstration: a written answer that keeps the principles, to train on; empty where there is none.
    """

    id: str
    text: str
    topic: str = ""
    principle: str = ""
    messages: tuple[Message, ...] = ()
    demonstration: str = ""

    def with_system(self, text: str) -> Prompt:
        """The prompt under this system text; itself where it brings one of its own, or the text is empty."""
        if not text.strip() or any(message.role == "system" for message in self.messages):
            return self
        return replace(self, messages=(Message("system", text), *self.messages))

    @property
    def sha256(self) -> str:
        """The hash by which held-out prompts are recognized: of the text and of earlier turns, but not of a system
        text, under which the same question stays the same question.
        """
        return prompt_hash(self.question)

    @property
    def question(self) -> str:
        """The text with the turns before it, without a system text: what duplicates are found by."""
        return "\n".join([*(message.content for message in self.messages if message.role != "system"), self.text])


@dataclass(frozen=True)
class Skipped:
    """A row that was left out: where it stands, and why."""

    place: str
    reason: str


@dataclass(frozen=True)
class PromptSet:
    """Prompts in their order, and where they come from.

    Args:
        name: `train`, `heldout`, `benign`, or the file's name without its extension.
        source: the file's path as given; `builtin:NAME` for the project's own.
        sha256: of the file's bytes (without a byte order mark): changes when the file changes.
        prompts: at least one; ids are unique.
        unused: column -> number of rows with a value that is not used.
        skipped: rows that cannot be asked.
        notices: sentences on everything of the file that is not used, for the user; none holds a word of a text.
    """

    name: str
    source: str
    sha256: str
    prompts: tuple[Prompt, ...]
    unused: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def first(self, count: int) -> PromptSet:
        """The set with only its first `count` prompts (all where there are fewer); presets take these."""
        return replace(self, prompts=self.prompts[:count])

    def distinct(self, *, keep: bool = False, watch: Callable[[float], None] | None = None) -> PromptSet:
        """The set with each prompt once: exact and near duplicates of an earlier one are left out, with a notice; with
        `keep` they stay, with a notice too.

        Args:
            watch: called now and then with the share of the work that is done, 0 to 1. What it raises ends the work.
        """
        found = representatives([prompt.question for prompt in self.prompts], watch)
        kept = tuple(prompt for place, prompt in enumerate(self.prompts) if found[place] == place)
        if len(kept) == len(self.prompts):
            return self
        copies = [
            f"{prompt.id} = {self.prompts[found[place]].id}"
            for place, prompt in enumerate(self.prompts)
            if found[place] != place
        ]
        sentence = (
            f"{show(self.source)}: {len(self.prompts):,} prompts hold {len(kept):,} different ones; "
            f"{counted(len(copies), 'exact or near duplicate')} {'kept' if keep else 'left out'} ({_some(copies)})."
        )
        return replace(self, prompts=self.prompts if keep else kept, notices=(*self.notices, sentence))


@dataclass(frozen=True)
class Example:
    """A labelled text for fitting and measuring judges.

    Args:
        id: names the example.
        text: a model's answer, or a text by a human.
        label: True where the text breaks `principle`.
        principle: the principle that it breaks; for clean texts the one that they only seem to break.
        difficulty: `obvious` or `subtle`; a clean text has that of the violation that it looks like.
        topic: what it is about; cross-validation keeps a topic within one fold.
        prompt: what the text answers; empty where it stands alone.
        twin: id of the violation that a clean text was written against; empty where there is none.
    """

    id: str
    text: str
    label: bool
    principle: str
    difficulty: str
    topic: str
    prompt: str = ""
    twin: str = ""


@dataclass(frozen=True)
class Row:
    """A text to judge, with the id under which the verdict is written.

    Args:
        id: as given; numbers become text.
        text: control characters stripped; may be empty, since one empty row must not cost the verdicts on the others.
        prompt: what the text answers; empty where it stands alone.
        note: why there is nothing to judge, where the row's text cannot be used; "" for most.
    """

    id: str
    text: str
    prompt: str = ""
    note: str = ""


@dataclass(frozen=True)
class RowSet(Sequence[Row]):
    """Rows to judge, in their order.

    Args:
        rows: at least one; ids are unique.
        unused: column -> number of rows with a value that is not used.
        notices: sentences on everything of the file that is not used.
    """

    rows: tuple[Row, ...]
    unused: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, place: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[place]


def prompt_hash(text: str) -> str:
    """SHA-256 (hex) of a prompt's text, the same for texts that differ in case, white space or Unicode form only."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", sanitize(text)).casefold())
    return hashlib.sha256(" ".join(folded.split()).encode("utf-8", "replace")).hexdigest()


def overlap(a: Iterable[Prompt], b: Iterable[Prompt]) -> tuple[tuple[Prompt, Prompt], ...]:
    """The prompts that two sets share, by hash, each with its twin in `b`; in the order of `a`."""
    known = {prompt.sha256: prompt for prompt in b}
    return tuple((prompt, known[prompt.sha256]) for prompt in a if prompt.sha256 in known)


@cache
def load_builtin(name: Literal["train", "heldout", "benign"]) -> PromptSet:
    """A prompt set that the project wrote: 150 to train on (every fifth an ordinary one), 200 held out, 100 benign.

    The sets are balanced over the principles from the start, so the first n serve as a smaller set; short questions,
    which the smallest models understand best, come first.

    Raises:
        InputError: for another name.
    """
    if name not in BUILTIN:
        raise InputError(
            f"there is no built-in prompt set {truncate(sanitize(repr(name)), 60)}.",
            next_step=f"Take {', '.join(BUILTIN)}.",
        )
    with as_file(files("engine.prompts") / f"{name}.jsonl") as path:
        loaded = load_prompts(path)
    return PromptSet(name, f"builtin:{name}", loaded.sha256, loaded.prompts)


@cache
def load_examples() -> tuple[Example, ...]:
    """The labelled texts that the project wrote, for fitting and measuring judges."""
    with as_file(files("engine.judges") / "data" / "examples.jsonl") as path:
        found = read_records(path, ("text",)).rows
        return tuple(Example(**{**record.fields, "label": bool(record.fields["label"])}) for record in found)


def load_prompts(path: Path | str, *, columns: Mapping[str, str] | None = None) -> PromptSet:
    """Prompts from a user's file.

    Plain text holds one prompt per line (blank lines and lines that start with # are skipped), Markdown one per list
    item; CSV, TSV, JSON lines, JSON, YAML, Parquet and Arrow hold rows of any shape that `engine.prompts.columns`
    names. The content decides on the format where the name's extension does not. Of a chat the last turn of the user is
    the prompt, earlier turns are kept, later ones left out. `id`, `topic`, `principle` and `demonstration` are read
    where given; missing ids are numbered.

    A row that cannot be asked is skipped; what of the file is not used is in `notices`, `unused` and `skipped`.

    Args:
        columns: the name that a field is read by -> the name that it has in the file: {"prompt": "question"}.

    Raises:
        InputError: the file cannot be read, is not of its format, lacks a column that is mapped, or none of its rows
            can be used; names file, line and field.
    """
    columns = columns or {}
    name = _stem(path) or "prompts"
    # Read once only: the file may be a pipe.
    data = read_bytes(path)
    records = read_records(path, (*ALL_COLUMNS, *columns.values()), data=data)
    prompts: list[Prompt] = []
    skipped: list[Skipped] = []
    usage = Usage()
    places: dict[str, str] = {}
    first_error: InputError | None = None
    rows = mapped(records.rows, columns, show(path)) if columns else records.rows
    for number, record in enumerate(map(with_known_names, rows), 1):
        try:
            text, messages = read_prompt(record, usage)
            topic, principle, demonstration = (
                read_label(record, name) for name in ("topic", "principle", "demonstration")
            )
            row_id = _identity(record)
        except InputError as error:
            first_error = first_error or error
            skipped.append(Skipped(error.where, error.what))
            continue
        prompt = Prompt(row_id or f"{name}-{number:03d}", text, topic, principle, messages, demonstration)
        _claim(prompt.id, record.place, places)
        prompts.append(prompt)
    if not prompts:
        raise first_error or InputError(
            "there is no prompt in it.", where=show(path), next_step="Write at least one prompt into it."
        )
    notices = [*records.notices, *notices_of(show(path), usage, skipped)]
    digest = hashlib.sha256(data).hexdigest()
    return PromptSet(name, str(path), digest, tuple(prompts), dict(usage.unused), tuple(skipped), tuple(notices))


def mapped(rows: Iterator[Record], columns: Mapping[str, str], where: str) -> Iterator[Record]:
    """The rows with fields under the names that they are read by. Another field of such a name is not read.

    Raises:
        InputError: no row has a column that is mapped.
    """
    wanted = {name: column.strip().casefold() for name, column in columns.items()}
    missing = dict(zip(wanted.values(), columns.values(), strict=False))
    seen: dict[str, None] = {}
    for record in rows:
        seen |= dict.fromkeys(record.fields)
        by_name = {str(name).strip().casefold(): name for name in record.fields}
        found = {name: record.fields[by_name[column]] for name, column in wanted.items() if column in by_name}
        taken = {by_name.get(column) for column in wanted.values()}
        rest = {name: value for name, value in record.fields.items() if name not in taken and name not in columns}
        for column in by_name:
            missing.pop(column, None)
        yield replace(record, fields={**found, **rest})
    if missing:
        raise InputError(
            f"there is no column {truncate(sanitize(min(missing.values())), 60)!r}; the columns are: "
            f"{', '.join(truncate(sanitize(str(name)), 40) for name in list(seen)[:12])}.",
            where=where,
            next_step="Name one of them: --map prompt=COLUMN.",
        )


def is_structured(text: str, path: Path | str) -> bool:
    """Whether a file with this text holds rows with named fields, rather than one text."""
    return detect_format(text, extension(path), ("text",)) not in ("text", "markdown")


def load_rows(path: Path | str, *, data: bytes | None = None) -> RowSet:
    """Texts to judge from a user's file: `id`, `text` and, optionally, `prompt`, in the formats of `load_prompts`.

    A line of plain text is one text. Ids are needed in tables and JSON, since verdicts are matched by them. A row whose
    text is null or of another type has a `note`.

    Args:
        path: the file.
        data: what `read_bytes` returned, where that is known.

    Raises:
        InputError: the file cannot be read, is not of its format, or none of its rows can be used; names file, line
            and field.
    """
    rows: list[Row] = []
    usage = Usage()
    places: dict[str, str] = {}
    bad: list[InputError] = []
    records = read_records(path, ("text",), data=data)
    for record in records.rows:
        row_id = _identity(record) or ("" if records.structured else f"line-{len(rows) + 1}")
        if not row_id:
            raise InputError(
                "the row has no id.", where=f"{record.place}, field 'id'", next_step="Give each row its own id."
            )
        _claim(row_id, record.place, places)
        count_unused(record, {"id", "text", "prompt"}, usage)
        if "text" not in record.fields:
            raise missing(record, ("text",))
        try:
            if record.fields["text"] is None:
                raise missing(record, ("text",))
            rows.append(Row(row_id, read_text(record, "text"), read_text(record, "prompt")))
        except InputError as error:
            if record.fields["text"] is not None:
                bad.append(error)
            rows.append(Row(row_id, "", note=str(error)))
    if bad and len(bad) == len(rows):
        raise bad[0]
    if not rows:
        raise InputError(
            "there is no row in it.", where=show(path), next_step='Write rows: {"id": "1", "text": "..."}.'
        )
    return RowSet(tuple(rows), dict(usage.unused), (*records.notices, *notices_of(show(path), usage, [])))


def counted(count: int, noun: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _stem(path: Path | str) -> str:
    stem = Path(path).stem if is_compressed(path) else Path(path).name
    return sanitize(Path(stem).stem).strip()


def notices_of(name: str, usage: Usage, skipped: Sequence[Skipped]) -> Iterator[str]:
    """One sentence each on columns, parts of chats and rows that are not used."""
    if usage.unused:
        columns = ", ".join(f"{column} ({counted(count, 'row')})" for column, count in usage.unused.items())
        one = len(usage.unused) == 1
        yield f"{name}: {'a column' if one else f'{len(usage.unused)} columns'} not used: {columns}."
    if usage.left_out:
        parts = ", ".join(f"{what} ({counted(count, 'row')})" for what, count in usage.left_out.items())
        yield f"{name}: of chats not used: {parts}."
    if usage.templated:
        marks = ", ".join(f"{mark} ({counted(count, 'prompt')})" for mark, count in usage.templated.items())
        yield (
            f"{name}: marks of a chat template in prompts: {marks}. They are asked as plain text within the model's "
            'own template; write turns as {"messages": [...]} instead.'
        )
    if skipped:
        reasons = Counter(one.reason.rstrip(".") for one in skipped)
        why = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(_SHOWN))
        places = _some([one.place.removeprefix(f"{name}, ").split(", field")[0] for one in skipped])
        yield f"{name}: {counted(len(skipped), 'row')} skipped: {places}: {why}."


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _identity(record: Record) -> str:
    value = record.fields.get("id")
    if isinstance(value, float) and value.is_integer():  # how pandas writes whole numbers where some are missing
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # str() refuses numbers of more than 4,300 digits, and no id is that long.
        value = str(value) if abs(value) < 10**18 else [value]
    if value is not None and not isinstance(value, str):
        raise InputError(
            f"the id is {kind(value)}, not a short text.",
            where=f"{record.place}, field 'id'",
            next_step="Use a text or a whole number.",
        )
    identity = sanitize(value or "").strip()
    if len(identity) > MAX_ID:
        raise InputError(
            f"the id has {len(identity):,} characters; at most {MAX_ID} are taken.",
            where=f"{record.place}, field 'id'",
            next_step="Give a short one.",
        )
    return identity


def prompt_id(record: Record, default: str, places: dict[str, str]) -> str:
    """The row's id, or the default; noted in `places`.

    Raises:
        InputError: the id is none, or was used before.
    """
    identifier = _identity(record) or default
    _claim(identifier, record.place, places)
    return identifier


def _claim(row_id: str, place: str, places: dict[str, str]) -> None:
    if row_id in places:
        raise InputError(
            f"the id {truncate(row_id, 60)!r} was used before, at {places[row_id]}.",
            where=f"{place}, field 'id'",
            next_step="Give each row its own id.",
        )
    places[row_id] = place
