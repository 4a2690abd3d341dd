"""`redraft data show`: training rows as the model sees them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from engine.models.prompt_encoder import PromptEncoder
    from engine.training.data import Row

app = typer.Typer(name="data", help="Look at the data of a run.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Look at the data of a run."""


@app.command("show")
def show(
    run: options.Run = "last",
    row: Annotated[int, typer.Option(metavar="INTEGER", min=1, help="Show this row, counted from 1.")] = 1,
    every: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show training rows as the model sees them: prompt dim, learned tokens bright, end token marked.

    Nothing is loaded but the generator's tokenizer. A row with no learned token, or without an end token, is an error.
    """
    from engine.errors import InputError
    from engine.models.prompt_encoder import load_encoder
    from engine.pipeline.prepare import load_prompts
    from engine.pipeline.training_rows import encode_rows, stored_pairs
    from engine.runs.folder import read_config
    from engine.runs.journal_reader import JOURNAL
    from engine.runs.store import find_run

    folder = find_run(run)
    config = read_config(folder)
    pairs = stored_pairs(folder / JOURNAL)
    if not pairs:
        raise InputError(
            "this run has no kept pair with its texts.",
            where=folder.name,
            next_step="Name a run that kept pairs; runs with --no-texts keep none of their texts.",
        )
    if row > len(pairs):
        raise InputError(f"there are {len(pairs)} rows.", where=f"--row {row}", next_step="Name one of them.")
    encoder = load_encoder(config.generator)
    prompts = {prompt.id: prompt for prompt in load_prompts(config).train}
    missing = next((pair.item for pair in pairs if pair.item not in prompts), None)
    if missing is not None:
        raise InputError(
            f"the prompt {missing} is not in the run's prompts any more.",
            where=config.train_prompts or "built-in prompts",
            next_step="Restore the file that the run was started with.",
        )
    chosen = pairs if every else pairs[row - 1 : row]
    rows = encode_rows(encoder, encoder.codec.ends, prompts, chosen, config.train.objective)
    for number, found in enumerate(rows, 1 if every else row):
        if as_json:
            output.emit({"row": number, "item": found.key, **_json(found, encoder)})
        else:
            _print(number, len(pairs), found, encoder)


def _completions(row: Row) -> dict[str, tuple[int, ...]]:
    from engine.training.data import SftRow

    if isinstance(row, SftRow):
        return {"completion": row.completion}
    return {"chosen": row.chosen, "rejected": row.rejected}


def _json(row: Row, encoder: PromptEncoder) -> dict[str, Any]:
    parts = {"prompt": row.prompt, **_completions(row)}
    return {
        name: {
            "tokens": list(ids),
            "text": encoder.spelled(ids),
            "learned": name != "prompt",
            "ends": _end(ids, encoder.codec.ends) is not None and name != "prompt",
        }
        for name, ids in parts.items()
    }


def _end(ids: Sequence[int], ends: Collection[int]) -> int | None:
    """Where the token that ends the turn is; None where it is not learned."""
    return next((place for place in range(len(ids) - 1, -1, -1) if ids[place] in ends), None)


def _print(number: int, count: int, row: Row, encoder: PromptEncoder) -> None:
    completions = _completions(row)
    learned = sum(len(ids) for ids in completions.values())
    output.result(f"row {number} of {count} · {row.key} · {len(row.prompt)} tokens of prompt, {learned} learned")
    colored = output.coloured(sys.stdout)
    _part("prompt", encoder.spelled(row.prompt), "", colored, "dim")
    for name, ids in completions.items():
        end = _end(ids, encoder.codec.ends)
        text, mark = (ids, ()) if end is None else (ids[:end], ids[end:])
        said = encoder.spelled(mark) if mark else ""
        _part(name, encoder.spelled(text), said, colored, "bold")
        if not mark:
            output.result("  (no end token: the text was cut when it was written)")


def _part(name: str, text: str, end: str, colored: bool, style: str) -> None:
    from engine.text import sanitize

    output.result(f"{name}:")
    for line, last in _lines(sanitize(text)):
        shown = output.paint(line, style) if colored else line
        marked = (output.paint(sanitize(end), "green", "bold") if colored else f"[end {sanitize(end)}]") if end else ""
        sys.stdout.write(f"  {shown}{marked if last else ''}\n")


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    lines = text.split("\n")
    for place, line in enumerate(lines):
        yield line, place == len(lines) - 1
