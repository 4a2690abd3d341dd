"""`redraft prompts`: what a file of prompts holds, before anything runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engine.prompts.preview import Preview


def prompts(
    path: Annotated[str, typer.Argument(metavar="FILE", help="Prompts: text, CSV, JSON, JSONL, YAML, Parquet, Arrow.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=COLUMN", help="Read this column as prompt, system, id, ... Repeatable."),
    ] = None,
    heldout: Annotated[
        str, typer.Option("--heldout-prompts", metavar="FILE", help="Count the prompts that this file holds, too.")
    ] = "",
    generator: Annotated[
        str,
        typer.Option("--generator", "-g", metavar="MODEL", help="Count lengths in the tokens of this model."),
    ] = "",
    share: Annotated[
        float | None,
        typer.Option("--split", metavar="SHARE", help="Hold out this share: write train.jsonl and heldout.jsonl."),
    ] = None,
    target: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the two files of --split.")
    ] = Path("prompts"),
    seed: Annotated[int, typer.Option(metavar="INTEGER", min=0, help="Random seed of --split.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Show what a run would take from a file: counts, lengths, languages, duplicates, and what is left out and why.

    With --split the prompts are divided into two files, one to train on and one to compare on.
    """
    from engine.files import expanded
    from engine.prompts.load import load_prompts
    from engine.prompts.preview import parse_columns, preview
    from engine.prompts.split import split

    against = load_prompts(expanded(heldout)).prompts if heldout else ()
    count, context = _counter(generator) if generator else (None, 0)
    found = preview(expanded(path), columns=parse_columns(columns or ()), count=count, context=context, against=against)
    mapping = parse_columns(columns or ())
    made = split(expanded(path), expanded(target), share, seed=seed, columns=mapping) if share is not None else None
    if as_json:
        written = {"train": str(made.train), "heldout": str(made.heldout)} if made is not None else None
        output.emit({**asdict(found), "split": written})
        return
    for line in lines(found):
        output.result(line)
    if made is not None:
        output.result(f"  written   {made.train} ({made.n_train:,} prompts), {made.heldout} ({made.n_heldout:,})")


def lines(found: Preview) -> Iterator[str]:
    """The preview as text."""
    from tui.views.formatting import count

    yield f"{found.source}: {count(found.rows, 'row')}, {count(found.usable, 'prompt')} to use"
    size = found.lengths
    yield f"  length    {size.low} to {size.high} {size.unit}, median {size.median}, 95 % up to {size.p95}"
    yield f"  language  {_listed(found.languages)} (a guess)"
    if set(found.principles) != {""}:
        yield f"  principle {_listed({name or 'none named': number for name, number in found.principles.items()})}"
    if found.chats or found.systems:
        yield f"  chats     {found.chats:,} with earlier turns, {found.systems:,} with a system text"
    for example in found.examples:
        yield f"  example   {example[:100]}"
    copies = ((found.exact, "exact"), (found.near, "near"))
    left_out = [(number, f"{kind} duplicate{'s' * (number > 1)}") for number, kind in copies]
    left_out += _skipped(found)
    left_out += [(found.too_long, "prompts longer than the model's context: they fail")]
    left_out += [(found.shared, "prompts of the held-out file: a run refuses them")]
    for number, words in left_out:
        if number:
            yield f"  left out  {number:,} {words}"
    for notice in found.notices:
        yield f"  note      {notice}"


def _skipped(found: Preview) -> list[tuple[int, str]]:
    return [(number, f"skipped: {reason}") for reason, number in found.skipped.items()]


def _listed(counts: object) -> str:
    assert isinstance(counts, dict)
    shown = [f"{name} {number:,}" for name, number in list(counts.items())[:6]]
    return ", ".join(shown) + (" …" if len(counts) > 6 else "")


def _counter(name: str) -> tuple[Callable[[Sequence[str]], list[int]], int]:
    """What counts tokens as a model does, and the model's context; loads the tokenizer only."""
    from engine.models.hub.token_counter import token_counter

    return token_counter(name)
