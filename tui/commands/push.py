"""`redraft push`: a run's adapter or merged model on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands import options
from tui.terminal import output


def push(
    run: options.Run,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub; made if missing.")],
    merged: Annotated[
        Path | None,
        typer.Option(
            "--merged", metavar="DIR", help="Upload this folder, written by `redraft merge`. [default: adapter]"
        ),
    ] = None,
    training_seed: options.TrainingSeed = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be uploaded; send nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Upload the adapter of a run, with a model card of what was measured, to the Hugging Face hub.

    The token is read from HF_TOKEN or from `hf auth login`. Prompts and answers of the run are not uploaded.
    """
    from engine.export.hub import lines, plan
    from engine.export.hub import push as upload_to_hub
    from engine.files import expanded
    from engine.runs.store import find_run
    from engine.runs.trainings import which

    folder = find_run(run)
    place = expanded(merged) if merged is not None else None
    upload = plan(folder, repo, merged=place, training_seed=training_seed, private=private)
    address = "" if dry_run else upload_to_hub(upload)
    if as_json:
        output.emit(
            {
                "repo": upload.repo,
                "files": upload.files,
                "training_seed": upload.training.seed if upload.training else None,
                "private": private,
                "url": address,
                "sent": not dry_run,
            }
        )
        return
    if upload.training and (words := which(folder, upload.training)):
        output.notice(f"The adapter is that of {words}.")
    for line in lines(upload):
        output.result(line)
    total = sum(upload.files.values()) / 1e6
    if dry_run:
        output.notice(f"{total:.1f} MB for {upload.repo}; nothing was sent. The card:\n\n{upload.card}")
    else:
        output.result(f"{total:.1f} MB uploaded to {address}")
