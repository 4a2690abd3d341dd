"""`redraft try`: base and trained model of a run, asked the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.export.conversation import TrialAnswer
    from engine.models.inference.requests import Sampling
    from engine.runs.trainings import Training


def try_models(
    run: options.Run = "last",
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="Answer this prompt and exit, instead of opening the screen.")
    ] = "",
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="System text of the conversation. [default: the run's]"),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="FLOAT", min=0, max=100, help="Sampling temperature. [default: the run's]")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="INTEGER", min=1, help="Max new tokens per answer. [default: the run's, or 160]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INTEGER", min=0, help="Random seed of the first answer.")] = 0,
    training_seed: options.TrainingSeed = None,
    judge: Annotated[
        str, typer.Option(metavar="NAME", help="Judge the answers by this judge. [default: the run's]")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Ask the base and the trained model of a run the same, and see both answers with their verdicts.

    Each answer is tagged with the hash of the weights that wrote it. The screen keeps the conversation: type a prompt,
    /system, /set, /again, /new, /keep train or /keep heldout.
    """
    from engine.errors import InputError
    from engine.runs.folder import read_config
    from engine.runs.store import find_run
    from engine.runs.trainings import choose
    from tui.commands.runs import open_app

    folder = find_run(run)
    training = choose(folder, training_seed)
    config = read_config(folder)
    sampling, system = config.answer, config.system if system is None else system
    limit = max_tokens if max_tokens is not None else max(160, sampling.max_tokens)
    sampling = dataclasses.replace(sampling, max_tokens=limit)
    if temperature is not None:
        sampling = dataclasses.replace(sampling, temperature=temperature)
    if prompt:
        _print(folder, training, prompt, system, sampling, seed, judge, as_json)
    elif as_json or not output.has_terminal():
        raise InputError(
            "the screen needs a terminal.", where="redraft try", next_step="Write the prompt: redraft try RUN PROMPT."
        )
    else:
        asked = {"sampling": sampling, "system": system, "seed": seed, "judge": judge}
        open_app(folder, trying={**asked, "training_seed": training.seed})


def _print(
    folder: Path,
    training: Training,
    prompt: str,
    system: str,
    sampling: Sampling,
    seed: int,
    judge: str,
    as_json: bool,
) -> None:
    from engine.control import Control
    from engine.export.conversation import Conversation
    from engine.export.trial import Trial
    from engine.runs.trainings import which

    trial = Trial(folder, judge=judge, training_seed=training.seed)
    turn = trial.ask(Conversation(system), prompt, sampling, seed, Control())
    if as_json:
        asked = {"prompt": turn.prompt, "system": system, "seed": seed, "training_seed": training.seed}
        output.emit({**asked, **{answer.arm: _object(answer) for answer in turn.answers}})
        return
    if words := which(folder, training):
        output.notice(f"The trained model is that of {words}.")
    for answer in turn.answers:
        for line in _lines(answer):
            output.result(line)


def _object(answer: TrialAnswer) -> dict[str, Any]:
    return {
        "weights": answer.weights,
        "answer": answer.text,
        "finish": answer.finish,
        "tokens": answer.tokens,
        "verdict": {**answer.verdict, **answer.verdict_texts},
    }


def _lines(answer: TrialAnswer) -> list[str]:
    from tui.views.formatting import mark_of, score_words

    mark = mark_of(answer.verdict.get("flagged"))
    return [
        f"{answer.arm.capitalize()} · weights {answer.weights} · {answer.tokens} tokens · {answer.finish}",
        *(f"  {line}" for line in answer.text.split("\n")),
        f"  {mark.sign} {mark.word}, score {score_words(answer.verdict.get('score'))}",
        "",
    ]
