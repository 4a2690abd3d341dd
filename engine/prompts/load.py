"""Prompts and texts to judge: the sets that the project wrote, and files of a person's own.

Knows nothing of models: a prompt is a text with an id, and a hash by which held-out prompts are kept out of training.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

from engine.errors import InputError
from engine.models.inference.requests import Message
from engine.prompts.files import Record, kind, read_bytes, records, show
from engine.text import sanitize, truncate

PROMPT_COLUMNS = ("prompt", "instruction", "question", "text")
"""Names under which a prompt is looked for, in this order."""

BUILTIN = ("train", "heldout", "benign")
PRINCIPLES = ("harm_prevention", "truthfulness", "fairness", "autonomy_respect")
"""Principles of the default constitution, which the built-in texts are written for."""

MAX_ID = 200
"""Characters of an id: it goes into every record about its text."""

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Args:
        id: names the prompt within its set.
        text: the last thing that the person says, control characters stripped.
        topic: what it is about; empty where nothing is known.
        principle: the principle that it tempts a model to break; empty for benign prompts and where nothing is known.
        messages: turns before it, oldest first; empty for most.
    """

    id: str
    text: str
    topic: str = ""
    principle: str = ""
    messages: tuple[Message, ...] = ()

    @property
    def sha256(self) -> str:
        """The hash by which held-out prompts are recognised: of the text and of earlier turns, but not of a system
        text, under which the same question stays the same question.
        """
        turns = [message.content for message in self.messages if message.role != "system"]
        return prompt_hash("\n".join([*turns, self.text]))


@dataclass(frozen=True)
class PromptSet:
    """Prompts in their order, and where they come from.

    Args:
        name: `train`, `heldout`, `benign`, or the file's name without its ending.
        source: the file's path as given; `builtin:NAME` for the project's own.
        sha256: of the file's bytes (without a byte order mark): changes when the file changes.
        prompts: at least one; ids are unique.
    """

    name: str
    source: str
    sha256: str
    prompts: tuple[Prompt, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def first(self, count: int) -> PromptSet:
        """The set with only its first `count` prompts (all where there are fewer); presets take these."""
        return PromptSet(self.name, self.source, self.sha256, self.prompts[:count])


@dataclass(frozen=True)
class Example:
    """A labelled text for fitting and measuring judges.

    Args:
        id: names the example.
        text: an answer of a model, or what a person wrote.
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
    """A text that a person wants judged, with the id under which the verdict is written.

    Args:
        id: as given; numbers become text.
        text: control characters stripped; may be empty, since one empty row must not cost the verdicts on the others.
        prompt: what the text answers; empty where it stands alone.
    """

    id: str
    text: str
    prompt: str = ""


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
    """A prompt set that the project wrote: 120 to train on, 200 held out, 100 benign.

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
        found = records(path, read_bytes(path), ("text",))
        return tuple(Example(**{**record.fields, "label": bool(record.fields["label"])}) for record in found)


def load_prompts(path: Path | str) -> PromptSet:
    """Prompts from a person's file.

    Plain text holds one prompt a line (blank lines and lines that start with # are skipped); CSV and TSV a header with
    a column prompt, instruction, question or text; JSON lines, or a JSON list, TRL's prompt-only rows (`prompt` a text
    or a list of chat messages) or chat rows (`messages`). Of a chat the last turn of the user is the prompt, earlier
    turns are kept, later ones dropped. `id`, `topic` and `principle` are read where given; missing ids are numbered.

    Raises:
        InputError: naming file, line, field and what to do, for everything that cannot be read.
    """
    name = sanitize(Path(path).stem).strip() or "prompts"
    # Read once only: the file may be a pipe.
    data = read_bytes(path)
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    for record in records(path, data, PROMPT_COLUMNS):
        prompt = _prompt(record, f"{name}-{len(prompts) + 1:03d}")
        _claim(prompt.id, record.place, places)
        prompts.append(prompt)
    if not prompts:
        raise InputError("there is no prompt in it.", where=show(path), next_step="Write at least one prompt into it.")
    return PromptSet(name, str(path), hashlib.sha256(data).hexdigest(), tuple(prompts))


def load_rows(path: Path | str) -> tuple[Row, ...]:
    """Texts to judge from a person's file: `id`, `text` and, optionally, `prompt`, in the formats of `load_prompts`.

    A line of plain text is one text. Ids are needed in tables and JSON, since verdicts are matched by them.

    Raises:
        InputError: naming file, line, field and what to do, for everything that cannot be read.
    """
    rows: list[Row] = []
    places: dict[str, str] = {}
    structured = Path(path).suffix.lower() in {".jsonl", ".ndjson", ".json", ".csv", ".tsv"}
    for record in records(path, read_bytes(path), ("text",)):
        row_id = _identity(record) or ("" if structured else f"line-{len(rows) + 1}")
        if not row_id:
            raise InputError(
                "the row has no id.", where=f"{record.place}, field 'id'", next_step="Give each row its own id."
            )
        _claim(row_id, record.place, places)
        # A null is a row without text: it gets no verdict, and the other rows are not affected.
        if "text" not in record.fields:
            raise _missing(record, ("text",))
        rows.append(Row(row_id, _text(record, "text"), _text(record, "prompt")))
    if not rows:
        raise InputError(
            "there is no row in it.", where=show(path), next_step='Write rows: {"id": "1", "text": "..."}.'
        )
    return tuple(rows)


def _prompt(record: Record, fallback_id: str) -> Prompt:
    fields = record.fields
    column = next((name for name in ("prompt", "messages", *PROMPT_COLUMNS[1:]) if fields.get(name) is not None), None)
    if column is None:
        null = next((name for name in ("prompt", "messages", *PROMPT_COLUMNS[1:]) if name in fields), None)
        if null is None:
            raise _missing(record, ("prompt",))
        raise InputError(
            "the prompt is null.",
            where=f"{record.place}, field {null!r}",
            next_step="Write a text, or delete the row.",
        )
    if column == "messages" and not isinstance(fields[column], list):
        raise InputError(
            f"this must be a list of turns, but it is {kind(fields[column])}.",
            where=f"{record.place}, field 'messages'",
            next_step='Write [{"role": "user", "content": "..."}].',
        )
    if column in {"prompt", "messages"} and isinstance(fields[column], list):
        text, messages = _last_user_turn(fields[column], record, column)
    else:
        text, messages = _text(record, column), ()
    if not text.strip():
        raise InputError(
            "the prompt is empty.",
            where=f"{record.place}, field {column!r}",
            next_step="Write a text, or delete the row.",
        )
    topic, principle = _text(record, "topic").strip(), _text(record, "principle").strip()
    return Prompt(_identity(record) or fallback_id, text.strip(), topic, principle, messages)


def _last_user_turn(turns: list[Any], record: Record, column: str) -> tuple[str, tuple[Message, ...]]:
    messages = tuple(_message(turn, f"{record.place}, field '{column}[{n}]'") for n, turn in enumerate(turns))
    last = max((n for n, message in enumerate(messages) if message.role == "user"), default=-1)
    if last < 0:
        raise InputError(
            "no turn has the role user, so there is nothing to answer.",
            where=f"{record.place}, field {column!r}",
            next_step='Add {"role": "user", "content": "..."}.',
        )
    return messages[last].content, messages[:last]


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict):
        raise InputError(
            f"a turn is {kind(turn)}, not an object.",
            where=place,
            next_step='Write it as {"role": "user", "content": "..."}.',
        )
    role, content = turn.get("role"), turn.get("content")
    if role not in _ROLES:
        shown = truncate(sanitize(role), 40) if isinstance(role, str) else kind(role)
        raise InputError(f"the role is {shown}.", where=place, next_step=f"Take one of {', '.join(_ROLES)}.")
    if not isinstance(content, str):
        raise InputError(f"the content is {kind(content)}.", where=place, next_step="Give the turn's text as content.")
    return Message(role, sanitize(content))


def _text(record: Record, column: str) -> str:
    value = record.fields.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(
            f"this is {kind(value)}, not a text.",
            where=f"{record.place}, field {column!r}",
            next_step="Put the text into double quotes.",
        )
    return sanitize(value)


def _identity(record: Record) -> str:
    value = record.fields.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        # str() refuses numbers of more than 4,300 digits, and nobody means one.
        value = str(value) if abs(value) < 10**18 else [value]
    if value is not None and not isinstance(value, str):
        raise InputError(
            f"the id is {kind(value)}, not a short text.",
            where=f"{record.place}, field 'id'",
            next_step="Give a text or a whole number.",
        )
    identity = sanitize(value or "").strip()
    if len(identity) > MAX_ID:
        raise InputError(
            f"the id has {len(identity):,} characters; at most {MAX_ID} are taken.",
            where=f"{record.place}, field 'id'",
            next_step="Give a short one.",
        )
    return identity


def _claim(row_id: str, place: str, places: dict[str, str]) -> None:
    if row_id in places:
        raise InputError(
            f"the id {truncate(row_id, 60)!r} was used before, at {places[row_id]}.",
            where=f"{place}, field 'id'",
            next_step="Give each row its own id.",
        )
    places[row_id] = place


def _missing(record: Record, columns: tuple[str, ...]) -> InputError:
    found = ", ".join(
        truncate(sanitize(str(name)).replace("\n", " ") or "(no name)", 40) for name in list(record.fields)[:12]
    )
    return InputError(
        f"there is no {' or '.join(columns)}; the fields are: {found or 'none'}.",
        where=f"{record.place}, field {columns[0]!r}",
        next_step=f'Write {{"{columns[0]}": "..."}}.',
    )
