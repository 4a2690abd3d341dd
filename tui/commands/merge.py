"""`redraft merge`: the trained model as a folder of safetensors, and as GGUF files for llama.cpp and Ollama."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.commands.failure import ended_by_sigterm
from tui.terminal import output

if TYPE_CHECKING:
    from engine.export.merge import GgufFile, Merged


def merge(
    run: options.Run,
    path: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Write into this folder, which must be new or empty.")
    ],
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--gguf",
            metavar="TYPE",
            help="Write a GGUF file of this type and an Ollama Modelfile, too: F32, F16, BF16, Q8_0, Q5_1, Q5_0, Q4_1, "
            "Q4_0; with llama.cpp's quantizer also Q4_K_M and others. Repeatable.",
        ),
    ] = None,
    training_seed: options.TrainingSeed = None,
    dtype: Annotated[
        str, typer.Option(metavar="float32|bfloat16|float16", help="Write weights in this dtype. [default: the base's]")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Merge even if the base model's files have changed.")] = False,
    as_json: options.Json = False,
) -> None:
    """Merge the adapter of a run into its base model; transformers, vLLM, llama.cpp and Ollama load the result.

    The folder gets the base model's tokenizer, chat template and generation config. What was written is read again:
    logits must agree with those of the adapter, and each GGUF file must answer.
    """
    from engine.export.merge import MODELFILE
    from engine.export.merge import merge as merge_run
    from engine.files import expanded
    from engine.runs.store import find_run

    folder = find_run(run)
    with ended_by_sigterm():
        done = merge_run(
            folder,
            expanded(path),
            training_seed=training_seed,
            dtype=dtype,
            force=force,
            progress=_progress(),
            gguf_kinds=kinds or (),
        )
    modelfile = str(done.folder / MODELFILE) if done.gguf else None
    if as_json:
        output.emit({**_object(done), "gguf": [_file(done, file) for file in done.gguf], "modelfile": modelfile})
        return
    output.result(
        f"{done.folder}: {done.base} with the adapter{_of(folder, done)} merged, {done.dtype}, "
        f"{done.nbytes / 1e6:.0f} MB; logits differ from the adapter's by at most {done.difference:.1e}."
    )
    for file in done.gguf:
        output.result(
            f"{done.folder / file.name}: {file.nbytes / 1e6:.0f} MB; {file.answers.same} of {file.answers.texts} "
            "greedy answers are the merged model's, word for word."
        )
    if modelfile:
        output.result(f"{modelfile}: `ollama create NAME -f Modelfile` in that folder.")


def _of(run: Path, done: Merged) -> str:
    from engine.runs.trainings import which

    words = which(run, done.training)
    return f" of {words}" if words else ""


def _object(done: Merged) -> dict[str, Any]:
    return {
        "path": str(done.folder),
        "base": done.base,
        "training_seed": done.training.seed,
        "dtype": done.dtype,
        "bytes": done.nbytes,
        "max_logit_difference": done.difference,
    }


def _file(done: Merged, file: GgufFile) -> dict[str, Any]:
    return {
        "path": str(done.folder / file.name),
        "type": file.kind,
        "bytes": file.nbytes,
        "pre_tokenizer": file.pre_tokenizer,
        "answers": file.answers.texts,
        "same_answers": file.answers.same,
    }


def _progress() -> Callable[[float, str], None]:
    """Writes each new sentence to stderr, once."""
    shown: set[str] = set()

    def report(_fraction: float, sentence: str) -> None:
        if sentence not in shown and output.is_terminal(sys.stderr):
            output.notice(sentence)
        shown.add(sentence)

    return report
