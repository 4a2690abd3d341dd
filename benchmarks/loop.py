"""The demo preset's whole run, timed, and what its stages asked of the model, read from its journal."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Stopwatch
from benchmarks.work import Ask, TrainingRow, ask, spread
from engine.control import Control
from engine.events.base import Record
from engine.events.comparison import Answer
from engine.events.generation import Critique, Draft, PairDecided, RevisionCandidate
from engine.events.registry import parse
from engine.events.training import TrainStart
from engine.events.verdicts import DraftVerdict, RevisionVerdict
from engine.models.inference.requests import Sampling
from engine.models.local import LocalModel
from engine.pipeline import chats
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.settings import RunConfig, preset


def perform_demo(models: ModelCache, name: str, dtype: str, sizes: dict[str, Any], each: int) -> dict[str, Any]:
    """One run of the demo preset, its model loaded already.

    Args:
        sizes: members of `RunConfig` to change (`n_train`, ...), and `tokens`, the longest text; empty for the preset.
        each: requests of each stage to return.

    Returns:
        A sample with 1 run as its units, and `stages`: name, count of requests, tokens written, and `each` of the
        requests, evenly spread over their lengths, with the number of tokens that was written; `rows`: likewise of the
        training rows, with `count` and `row_passes`, how many rows went through training altogether.
    """
    config = _config(name, dtype, sizes)
    with tempfile.TemporaryDirectory(prefix="redraft-bench-") as place:
        folder = Path(place) / "run"
        with Stopwatch() as watch:
            perform(config, folder, Control(), models)
        events = list(read(folder))
    model = models.get(name, "cpu", dtype)
    stages = _stages(events, config, model, each)
    rows, count, passes = _training(events, model, each)
    pairs = sum(e.kept for e in map(parse, events) if isinstance(e, PairDecided))
    note = f"{config.n_train} prompts, {pairs} pairs learned, {config.n_heldout} comparisons"
    return {
        **watch.sample(1.0, note=note),
        "stages": stages,
        "rows": rows,
        "count": count,
        "row_passes": passes,
        "batch": config.train.train_batch_size,
    }


def _config(name: str, dtype: str, sizes: dict[str, Any]) -> RunConfig:
    changes: dict[str, Any] = {key: value for key, value in sizes.items() if key != "tokens"}
    config = dataclasses.replace(preset("demo"), generator=name, device="cpu", dtype=dtype, **changes)
    if sizes.get("tokens"):
        kinds = ("draft", "critique", "revision", "answer")
        shorter = {k: dataclasses.replace(getattr(config, k), max_tokens=sizes["tokens"]) for k in kinds}
        config = dataclasses.replace(config, **shorter)
    return config


def _stages(events: Sequence[Record], config: RunConfig, model: LocalModel, each: int) -> list[dict[str, Any]]:
    greedy = Sampling()
    kinds = {
        Draft.STAGE: ("drafts", config.draft),
        Critique.STAGE: ("critiques", config.critique),
        RevisionCandidate.STAGE: ("revisions", config.revision),
        Answer.STAGE: ("answers", config.answer),
        DraftVerdict.STAGE: ("verdicts", greedy),
        RevisionVerdict.STAGE: ("verdicts", greedy),
    }
    asked: dict[str, list[Ask]] = {}
    for event in events:
        kind, sampling = kinds.get(event.stage, ("samples", greedy))
        request = event.raw.get("request") or event.raw.get("judge request")
        if not request or (kind == "samples" and "sample" not in event.texts):
            continue
        response = event.raw.get("model response")
        tokens = int(event.data.get("tokens", 0)) if response is None else model.count_tokens(response)
        asked.setdefault(kind, []).append(ask(request, sampling, 1, exact=max(1, tokens)))
    return [_sampled(kind, found, each) for kind, found in asked.items()]


def _sampled(kind: str, asks: list[Ask], each: int) -> dict[str, Any]:
    asks.sort(key=lambda a: a["exact"])
    return {
        "name": kind,
        "count": len(asks),
        "tokens": sum(a["exact"] for a in asks),
        "asks": [asks[i] for i in spread(len(asks), each)],
    }


def _training(events: Sequence[Record], model: LocalModel, each: int) -> tuple[list[TrainingRow], int, int]:
    rows: list[TrainingRow] = []
    passes = 0
    for event in map(parse, events):
        if isinstance(event, PairDecided) and event.kept:
            prompt, chosen = model.encode_pair(chats.draft(event.prompt), event.chosen)
            rows.append(TrainingRow(prompt=prompt, chosen=chosen, rejected=[]))
        elif isinstance(event, TrainStart):
            passes = event.rows * event.epochs
    rows.sort(key=lambda row: len(row["prompt"]) + len(row["chosen"]))
    return [rows[i] for i in spread(len(rows), each)], len(rows), passes
