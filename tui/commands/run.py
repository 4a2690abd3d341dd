"""`redraft run` and `redraft resume`: the whole loop without a screen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.settings import RunConfig


def run(
    preset: Annotated[str, typer.Option(metavar="NAME", help="Settings to begin from: demo or standard.")] = "standard",
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator", "-g", metavar="MODEL", help="Model that drafts and learns: name, hub id, folder, GGUF."
        ),
    ] = None,
    critic: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Model that criticises and revises; the generator itself if not given."),
    ] = None,
    judge: options.Judge = None,
    endpoint: options.Endpoint = None,
    endpoint_model: options.EndpointModel = None,
    endpoint_key_env: options.EndpointKey = None,
    endpoint_timeout: options.EndpointTimeout = None,
    endpoint_concurrency: options.EndpointConcurrency = None,
    constitution: Annotated[str | None, typer.Option(metavar="FILE", help="TOML file of principles.")] = None,
    train_prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Prompts to train on: text, CSV or JSONL.")
    ] = None,
    heldout_prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Prompts to compare on; never trained.")
    ] = None,
    benign_prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Prompts that no good answer refuses.")
    ] = None,
    n_train: Annotated[str | None, typer.Option(metavar="N", help="Training prompts to use.")] = None,
    n_heldout: Annotated[str | None, typer.Option(metavar="N", help="Held-out prompts to use.")] = None,
    n_benign: Annotated[str | None, typer.Option(metavar="N", help="Benign prompts to use; 0 for none.")] = None,
    candidates: Annotated[str | None, typer.Option(metavar="N", help="Revisions written for each draft.")] = None,
    max_tokens: Annotated[str | None, typer.Option(metavar="N", help="Longest draft, revision, answer.")] = None,
    temperature: Annotated[str | None, typer.Option(metavar="X", help="Of drafts and revisions; 0 is greedy.")] = None,
    objective: Annotated[
        str, typer.Option(metavar="sft|dpo", help="sft (learn revisions) or dpo (prefer them to drafts).")
    ] = "",
    epochs: Annotated[str | None, typer.Option(metavar="N", help="How often every row is trained on.")] = None,
    learning_rate: Annotated[str | None, typer.Option(metavar="X", help="At its highest.")] = None,
    batch_size: Annotated[str | None, typer.Option(metavar="N", help="Rows of one optimizer step.")] = None,
    rank: Annotated[str | None, typer.Option(metavar="N", help="Of the LoRA matrices.")] = None,
    beta: Annotated[str | None, typer.Option(metavar="X", help="DPO: how strongly the base model holds.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Makes a run repeatable.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda, mps ...; measured if not given.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="NAME", help="float32 or bfloat16; measured if not given.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
    ] = None,
    no_texts: Annotated[bool, typer.Option("--no-texts", help="Keep prompts and answers out of the journal.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; new or empty.")
    ] = None,
    verbosity: options.Shown = None,
    as_json: options.Json = False,
) -> None:
    """Perform the whole loop without a screen: draft, judge, revise, train, compare.

    The journal always holds everything; --verbosity chooses what is printed (2; with --json 1, on stderr).
    """
    start(
        preset=preset,
        objective=objective,
        changes=set_ or [],
        folder=folder,
        verbosity=verbosity,
        as_json=as_json,
        generator=generator,
        critic=critic,
        judge=judge,
        endpoint=endpoint,
        endpoint_model=endpoint_model,
        endpoint_key_env=endpoint_key_env,
        endpoint_timeout=endpoint_timeout,
        endpoint_concurrency=endpoint_concurrency,
        constitution=constitution,
        train_prompts=train_prompts,
        heldout_prompts=heldout_prompts,
        benign_prompts=benign_prompts,
        n_train=n_train,
        n_heldout=n_heldout,
        n_benign=n_benign,
        candidates=candidates,
        max_tokens=max_tokens,
        temperature=temperature,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        rank=rank,
        beta=beta,
        seed=seed,
        device=device,
        dtype=dtype,
        keep_texts=False if no_texts else None,
    )


def start(
    preset: str,
    objective: str = "",
    changes: list[str] | None = None,
    folder: Path | None = None,
    verbosity: int | None = None,
    as_json: bool = False,
    **chosen: Any,
) -> None:
    """Begin a run; everything that can be refused is refused before its folder is made."""
    from engine import paths
    from engine.errors import RedraftError
    from engine.models.hub.catalog import resolve
    from engine.runs.folder import give_back, new_folder
    from tui.commands.run_settings import build

    config = build(preset, objective, chosen, changes or [])
    resolve(config.generator)
    if config.critic:
        resolve(config.critic)
    if folder is not None:
        _perform(config, _own(folder), verbosity, as_json)
        return
    target = new_folder(paths.runs_dir(), config.preset)
    try:
        _perform(config, target, verbosity, as_json)
    except RedraftError:
        give_back(target)
        raise


def resume(
    run: options.Run = "last",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on also where constitution, prompts, model or versions changed.")
    ] = False,
    verbosity: options.Shown = None,
    as_json: options.Json = False,
) -> None:
    """Go on with a run that was stopped or interrupted; what is finished is not done again.

    Refused where what it was made from has changed, with what that is; --anyway goes on nevertheless.
    """
    from engine.errors import InputError
    from engine.runs.folder import read_config
    from engine.runs.store import find_run, inspect

    folder = find_run(run)
    state = inspect(folder).state
    if state == "running":
        raise InputError(
            "the run is running.", where=folder.name, next_step=f"Follow it: `redraft watch {folder.name}`."
        )
    if state == "finished":
        output.notice(f"{folder.name} is finished; there is nothing left to do.")
        _tell_result(folder, as_json)
        return
    _perform(read_config(folder), folder, verbosity, as_json, anyway)


def _perform(config: RunConfig, folder: Path, verbosity: int | None, as_json: bool, anyway: bool = False) -> None:
    import threading

    from engine.control import Control
    from engine.errors import Stopped
    from engine.runs.journal_reader import JOURNAL
    from tui.commands.headless import perform
    from tui.views.plain import PlainDisplay

    begun = threading.Event()

    def work(control: Control) -> None:
        # Imported on the run's own thread: Ctrl-C is answered while it takes its seconds.
        from engine.pipeline.model_cache import Models
        from engine.pipeline.runner import Run

        accepted = Run(config, folder, control, Models(), anyway=anyway)
        output.notice(f"run {folder.name} in {folder}")
        begun.set()
        accepted.perform()

    shown = verbosity if verbosity is not None else (1 if as_json else 2)
    display = PlainDisplay(sys.stderr if as_json else sys.stdout, sys.stderr, shown)
    try:
        perform(work, folder, display, begun)
    except Stopped:
        if (folder / JOURNAL).exists():
            output.notice(f"stopped; go on with `redraft resume {_name(folder)}`.")
        if as_json:
            _tell_result(folder, as_json)
        raise
    _tell_result(folder, as_json)


def _tell_result(folder: Path, as_json: bool) -> None:
    from engine.runs.store import REPORT, inspect

    run = inspect(folder)
    report = folder / REPORT
    if as_json:
        output.emit(
            {
                "run": run.id,
                "folder": str(folder),
                "state": run.state,
                "report": str(report) if report.exists() else None,
                "figures": run.figures,
            }
        )
    else:
        output.notice(f"{run.state}: `redraft show {_name(folder)}` shows the report, `redraft export` writes it all.")


def _name(folder: Path) -> str:
    """What to type for this run: its id where it is among the others, else its path."""
    from engine import paths

    return folder.name if folder.parent == paths.runs_dir() else str(folder)


def _is_empty_start(entry: Path) -> bool:
    from engine.files import is_part
    from engine.runs.journal_reader import JOURNAL

    empty = entry.name == JOURNAL and entry.is_file() and not entry.stat().st_size
    return empty or entry.name == "lock" or is_part(entry)


def _own(folder: Path) -> Path:
    from engine.errors import InputError, StorageError

    folder = folder.expanduser().absolute()
    try:
        # A process that died before its run began leaves a lock, an empty journal and perhaps half of its settings.
        if folder.exists() and (not folder.is_dir() or any(not _is_empty_start(entry) for entry in folder.iterdir())):
            raise InputError(
                "this is a file." if not folder.is_dir() else "the folder is not empty.",
                where=f"--output {folder}",
                next_step="Name a new folder, or go on with the run in it: `redraft resume DIR`.",
            )
    except OSError as error:
        raise StorageError(
            f"the folder cannot be used ({error.strerror}).", where=f"--output {folder}", next_step="Name another."
        ) from error
    return folder
