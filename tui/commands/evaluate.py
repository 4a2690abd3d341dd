"""`redraft eval`: a verdict on a text, a file, stdin, or every row of a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.commands.settings_flags import build_config, with_flags
from tui.terminal import output

if TYPE_CHECKING:
    from engine.judges.base import Verdict
    from engine.models.local import LocalModel
    from engine.prompts.load import Row, RowSet

_ROWS = {".jsonl", ".ndjson", ".json", ".csv", ".tsv"}
_PATHLIKE = {
    *_ROWS, ".txt", ".md", ".markdown", ".tab", ".jsonlines", ".yaml", ".yml", ".parquet", ".arrow", ".gz", ".zst",
    ".zstd",
}  # fmt: skip
_PATH = re.compile(r"(?:\.{1,2}|~)?/[\w./~-]*\w")
"""What is meant as a path although nothing is there; other words may be a text."""
_MAX_STDIN = 256 << 20
_WIDEST = 100


@with_flags(
    "judge",
    "constitution",
    "endpoint",
    "endpoint_model",
    "endpoint_key_env",
    "endpoint_timeout",
    "endpoint_concurrency",
)
def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|FILE|-", help="Text, text file, file of rows (.jsonl, .csv, hf:OWNER/NAME), or '-' for stdin."
        ),
    ],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="Judge the text as an answer to this prompt.")] = "",
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", metavar="MODEL", help="Ask this model, where the judge asks one.")
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Read stdin as rows: JSON lines with id, text, prompt.")] = False,
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Judge a text, or every row of a file; nothing is written to disk.

    A file .jsonl, .json, .csv or .tsv holds rows with id, text and, optionally, prompt; each gets a verdict. With
    --json a verdict is one object a line, in the order of the rows.
    """
    from engine.control import Control
    from engine.judges.registry import check_coverage, configured_accuracy, judge_server, needs_model
    from engine.pipeline.evaluate import check_text, evaluate_rows
    from engine.pipeline.prepare import load_constitution
    from engine.pipeline.unused_settings import unused_for_verdicts

    config = build_config("standard", {"generator": generator, **flags})
    texts, is_one = _texts(source, prompt, rows)
    if is_one:
        check_text(texts[0].text, where=texts[0].id)
    principles = load_constitution(config)
    unseen = check_coverage(config.judge, principles)
    model = _load(config.generator) if needs_model(config.judge) else None
    for notice in (*principles.notices, *unseen, *unused_for_verdicts(config), *(model.notices if model else ())):
        output.notice(notice)
    verdicts = evaluate_rows(texts, config.judge, principles, model, Control(), judge_server(config), output.notice)
    for row, verdict in in_order(texts, verdicts):
        if as_json:
            output.emit(verdict.to_row())
        else:
            for line in lines(row, verdict, alone=is_one):
                output.result(line)
            sys.stdout.flush()
    if is_one and not as_json:
        accuracy = configured_accuracy(config, principles).summary
        output.result(f"  accuracy: {accuracy or 'not measured; `redraft judge bench` measures it'}")


def in_order(rows: Sequence[Row], verdicts: Iterable[Verdict]) -> Iterator[tuple[Row, Verdict]]:
    """Rows with their verdicts in the order of the rows, each as soon as those before it are known."""
    waiting: dict[str, Verdict] = {}
    position = 0
    for verdict in verdicts:
        waiting[verdict.key] = verdict
        while position < len(rows) and rows[position].id in waiting:
            yield rows[position], waiting.pop(rows[position].id)
            position += 1


def lines(row: Row, verdict: Verdict, alone: bool) -> Iterator[str]:
    """A verdict as text, with the words of the app."""
    from engine.events.verdicts import VerdictData
    from engine.text import sanitize
    from tui.commands.plain import columns
    from tui.views import verdict as shown
    from tui.views.formatting import mark_of, score_words

    data = VerdictData.of(verdict)
    words = {"reasoning": verdict.reasoning, "note": verdict.note}
    mark, text = mark_of(verdict.flagged), sanitize(row.text)
    yield f"{'' if alone else sanitize(row.id) + ': '}{mark.sign} {mark.word}, score {score_words(verdict.score)}"
    width = min(columns(sys.stdout), _WIDEST) - 2
    body = shown.lines(data, text, words, width) if alone else shown.brief(data, text, words, width)
    yield from (f"  {line}".rstrip() for line in shown.plain(body))


def _texts(source: str, prompt: str, rows: bool) -> tuple[Sequence[Row], bool]:
    """The texts to judge, and whether it is a single one, given as such."""
    from engine.errors import InputError
    from engine.prompts.files import decode, is_table_file, read_bytes
    from engine.prompts.hub_datasets import is_dataset
    from engine.prompts.load import Row, is_structured, load_rows

    if source == "-":
        data = _stdin()
        if rows:
            return _announced(_piped_rows(data)), False
        text = decode(data, "stdin")
        if is_structured(text, "stdin"):
            output.notice("stdin looks like rows and is judged as one text; --rows judges each row.")
        return (Row("stdin", text, prompt),), True
    if rows:
        raise InputError("--rows is for stdin only.", where="--rows", next_step="Remove it.")
    if is_dataset(source) and len(source.split()) == 1:
        return _announced(load_rows(source)), False
    if _is_file(source):
        # Read once: it may be a pipe. A row file is one by its content, whatever its name.
        data = read_bytes(source)
        if is_table_file(data) or is_structured(decode(data, source), source):
            return _announced(load_rows(source, data=data)), False
        return (Row(Path(source).name, decode(data, source), prompt),), True
    if len(source.split()) == 1 and (Path(source).suffix.lower() in _PATHLIKE or _PATH.fullmatch(source)):
        raise InputError(
            "file not found.",
            where=source,
            next_step="Check the path; to judge these words as text, pipe them: `echo ... | redraft eval -`.",
        )
    return (Row("text", source, prompt),), True


def _announced(rows: RowSet) -> RowSet:
    for notice in rows.notices:
        output.notice(notice)
    return rows


def _is_file(source: str) -> bool:
    try:
        path = Path(source)
        return bool(source.strip()) and path.exists() and not (path.is_dir() and " " in source)
    except (OSError, ValueError):
        return False  # too long for a name, or a NUL in it: a text


def _stdin() -> bytes:
    from engine.errors import InputError

    if sys.stdin is None:
        raise InputError("stdin is closed.", where="-", next_step="Pipe a text in or name a file.")
    if output.is_terminal(sys.stdin):
        output.notice("Type or paste the text, then Ctrl-D.")
    data = sys.stdin.buffer.read(_MAX_STDIN + 1)
    if len(data) > _MAX_STDIN:
        raise InputError(f"more than {_MAX_STDIN >> 20} MB of input.", where="stdin", next_step="Split it.")
    return data


def _piped_rows(data: bytes) -> RowSet:
    """The rows of stdin, by way of a private temporary file: rows are read from files only."""
    import tempfile

    from engine.errors import InputError
    from engine.prompts.load import load_rows

    with tempfile.NamedTemporaryFile(suffix=".jsonl", prefix="stdin-") as file:
        file.write(data)
        file.flush()
        try:
            return load_rows(file.name)
        except InputError as error:
            where = error.where.replace(file.name, "stdin")
            raise InputError(error.what.replace(file.name, "stdin"), where=where, next_step=error.next_step) from None


def _load(name: str) -> LocalModel:
    from engine.pipeline.model_cache import ModelCache

    output.notice(f"loading {name} …")
    return ModelCache().get(name)
