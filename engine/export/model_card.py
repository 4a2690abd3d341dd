"""The model card of a run's adapter or merged model: what was measured, by which judge, and what it does not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from engine.errors import InputError
from engine.models.hub import catalog
from engine.runs.export_markdown import inline
from engine.runs.folder import read_config
from engine.runs.more_prompts import needed_prompts
from engine.runs.report import OUTCOMES, Report
from engine.runs.store import read_report
from engine.runs.trainings import Training
from engine.settings import RunConfig


def model_card(folder: Path, training: Training | None = None, *, merged: bool = False) -> str:
    """The text of README.md for a model on the hub.

    Args:
        folder: of a finished run.
        training: the one whose model this is, where that is known.
        merged: the weights are merged, and not an adapter next to its base.

    Raises:
        InputError: the run has no report, or it trained nothing.
        StorageError: report or settings cannot be read.
    """
    config = read_config(folder)
    if config.against:
        raise InputError(
            "this run compares two models and trained none.", where=str(folder), next_step="Name the run of a training."
        )
    data = read_report(folder)
    report = Report.of(data)
    head = yaml.safe_dump(_metadata(config, merged), sort_keys=False, allow_unicode=True)
    body = "\n\n".join(part for part in _body(folder.name, config, report, data, training) if part)
    return f"---\n{head}---\n\n{body}\n"


def _metadata(config: RunConfig, merged: bool) -> dict[str, Any]:
    source = catalog.find(config.generator)
    values: dict[str, Any] = {}
    base = source.repo if source is not None else config.generator
    if base and "/" in base and not base.startswith(("/", ".", "~")):
        values["base_model"] = base
        values["base_model_relation"] = "finetune" if merged else "adapter"
    if source is not None:
        values["license"] = source.license.lower()
    values["library_name"] = "transformers" if merged else "peft"
    values["pipeline_tag"] = "text-generation"
    values["tags"] = ["redraft", "constitutional-ai", config.train.objective, "lora", "text-generation"]
    return values


def _body(
    name: str, config: RunConfig, report: Report, data: Mapping[str, Any], training: Training | None
) -> Iterator[str]:
    yield f"# {inline(report.generator or config.generator)}, trained to follow {inline(report.constitution)}"
    yield (
        f"Trained by [Redraft](https://github.com/redraft/redraft) (run `{name}`): {_origin(config, report)}. "
        f"A LoRA adapter was trained on them by {config.train.objective.upper()}."
    )
    outcome, _ = OUTCOMES.get(report.outcome, (report.outcome, ""))
    yield f"## Measured\n\n**{outcome}**, about {report.scope or 'this run'}."
    yield _figures(report)
    yield "\n".join(
        f"- [{'x' if one.met else ' '}] {one.id.replace('_', ' ')}: {inline(one.detail)}"
        + (f" ({more})" if (more := needed_prompts(report, one)) else "")
        for one in report.conditions
    )
    accuracy = report.accuracy or "its accuracy was not measured"
    yield f"Judge: {inline(report.judge)} ({inline(accuracy)}). Scores are that judge's; lower is better."
    yield "## Training\n\n" + _training(config, report, training)
    yield "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(report))
    if config.generator and isinstance(data.get("versions"), Mapping):
        versions = ", ".join(f"{key} {value}" for key, value in data["versions"].items())
        yield f"Versions: {inline(versions)}."


def _origin(config: RunConfig, report: Report) -> str:
    """Where the preference pairs came from."""
    if config.pairs:
        return "the preference pairs were given, and not made from the model's answers"
    judged = "the model's own answers to prompts were judged by a written constitution, and"
    own = f"{judged} the better and the worse ones became preference pairs"
    taught = report.pairs.demonstrations if report.pairs is not None else 0
    if not taught:
        return own
    if report.pairs is not None and taught == report.pairs.kept:
        return f"{judged} written answers that came with the prompts became preference pairs with them"
    return f"{own}; in {taught:,} of them the better one is a written answer that came with the prompt"


def _figures(report: Report) -> str:
    rows = []
    changes = [("score", report.score), *((one.principle, one.change) for one in report.principles)]
    for name, change in changes:
        if change is None or change.base is None or change.trained is None:
            continue
        interval = ""
        if change.interval is not None:
            interval = f"{change.interval[0]:+.3f} to {change.interval[1]:+.3f}"
        rows.append(f"| {inline(name)} | {change.base:.3f} | {change.trained:.3f} | {interval} | {change.n or ''} |")
    if not rows:
        return ""
    head = "| held-out prompts | base | trained | 95 % interval of the change | n |\n|:--|--:|--:|:--|--:|"
    return "\n".join([head, *rows])


def _training(config: RunConfig, report: Report, training: Training | None) -> str:
    train = config.train
    seed = f"seed {config.seed if training is None else training.seed}"
    if config.seeds > 1:
        seeds = f"{config.seeds} training seeds, which the figures above pool"
        seed = f"one of {seeds}: {seed}" if training is not None else f"one of {seeds}"
    kept = f"{report.pairs.kept} preference pairs" if report.pairs is not None else "preference pairs"
    if report.pairs is not None and report.pairs.source:
        kept += f" ({report.pairs.source})"
    return (
        f"{kept}, {train.objective.upper()}, {train.num_train_epochs} epochs, batch size {train.train_batch_size}, "
        f"learning rate {train.learning_rate:g}, LoRA rank {train.lora_r}, alpha {train.lora_alpha:g}"
        + (f", beta {train.beta:g}" if train.objective == "dpo" else "")
        + f", {seed}."
    )


def _limits(report: Report) -> Iterator[str]:
    yield (
        "What is written above was measured on the prompts and with the judge of one run. Other prompts and judges may "
        "find something else."
    )
    if report.outcome != "confirmed":
        yield "Do not present this model as an improvement: the conditions for that were not met."
    if report.score is not None and report.score.smallest_detectable is not None:
        yield f"A change of the score below {report.score.smallest_detectable:.2f} could not have been detected."
    yield "It was not tested for abilities beyond these prompts, nor for attacks."
    yield "The license and the limits of the base model hold for this model, too."
