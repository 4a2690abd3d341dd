"""`redraft merge`: the trained model as a folder of safetensors, and as GGUF files for llama.cpp and Ollama."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.export.merge import Merged


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
    from engine.export import gguf_write
    from engine.export.merge import merge as merge_run
    from engine.files import expanded
    from engine.runs.store import find_run

    folder = find_run(run)
    wanted = list(dict.fromkeys(gguf_write.check_kind(kind) for kind in kinds or ()))
    report = _progress()
    done = merge_run(folder, expanded(path), training_seed=training_seed, dtype=dtype, force=force, progress=report)
    files = [_write_gguf(done.folder, folder.name, kind, report) for kind in wanted]
    if files:
        _write_modelfile(folder, done.folder, files[0]["path"])
    if as_json:
        output.emit({**_object(done), "gguf": files, "modelfile": str(done.folder / "Modelfile") if files else None})
        return
    output.result(
        f"{done.folder}: {done.base} with the adapter{_of(folder, done)} merged, {done.dtype}, "
        f"{done.nbytes / 1e6:.0f} MB; logits differ from the adapter's by at most {done.difference:.1e}."
    )
    for file in files:
        output.result(
            f"{file['path']}: {file['bytes'] / 1e6:.0f} MB; {file['same_answers']} of {file['answers']} greedy answers "
            "are the merged model's, word for word."
        )
    if files:
        output.result(f"{done.folder / 'Modelfile'}: `ollama create NAME -f Modelfile` in that folder.")


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


def _write_gguf(folder: Path, name: str, kind: str, report: Callable[[float, str], None]) -> dict[str, Any]:
    from engine.export import answers, gguf_write

    path = folder / f"{name}-{kind}.gguf"
    written = gguf_write.write(folder, path, kind, tick=lambda part: report(part, f"Writing {path.name}."))
    report(1.0, f"Checking {path.name}.")
    found = answers.compare(folder, path, exact=kind == "F32")
    return {
        "path": str(path),
        "type": kind,
        "bytes": written.nbytes,
        "pre_tokenizer": written.pre_tokenizer,
        "answers": found.texts,
        "same_answers": found.same,
    }


def _write_modelfile(run: Path, folder: Path, gguf: str) -> None:
    from engine.export.modelfile import modelfile
    from engine.files import write_atomically
    from engine.models.hub.load import folder_tokenizer
    from engine.runs.folder import read_config

    text = modelfile(Path(gguf).name, folder_tokenizer(folder), read_config(run).system)
    write_atomically(folder / "Modelfile", text.encode(), 0o644)


def _progress() -> Callable[[float, str], None]:
    """Writes each new sentence to stderr, once."""
    shown: set[str] = set()

    def report(_fraction: float, sentence: str) -> None:
        if sentence not in shown and output.is_terminal(sys.stderr):
            output.notice(sentence)
        shown.add(sentence)

    return report
