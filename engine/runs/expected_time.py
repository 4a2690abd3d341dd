"""How long a run will take, from the newest finished run of the same models on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import RedraftError
from engine.runs.store import list_runs, read_report
from engine.settings import RunConfig, from_json

_LOOKED_AT = 20
"""Newest runs that are looked at."""


@dataclass(frozen=True)
class ExpectedTime:
    """An estimate.

    Args:
        seconds: of the whole run.
        run: id of the run that it comes from.
        same: whether that run had as much to do.
    """

    seconds: float
    run: str
    same: bool


def expected_time(config: RunConfig, runs: Path | None = None) -> ExpectedTime | None:
    """The time of the newest finished run with the same models, judge and device, scaled by how much there is to do;
    None where there is no such run.

    Args:
        runs: the folder of runs; the user's by default.

    Raises:
        StorageError: the folder of runs cannot be read.
    """
    finished = [run for run in list_runs(runs) if run.state == "finished"]
    for run in finished[:_LOOKED_AT]:
        try:
            report = read_report(run.folder)
            earlier = from_json(report["config"])
            seconds = float(report["seconds"])
        except (RedraftError, KeyError, TypeError, ValueError):
            continue
        if _roles(earlier) == _roles(config) and seconds > 0 and tokens(earlier):
            factor = tokens(config) / tokens(earlier)
            return ExpectedTime(seconds * factor, run.id, abs(factor - 1) < 0.01)
    return None


def tokens(config: RunConfig) -> int:
    """Tokens that a run writes and trains on at most. Both count alike: on a CPU a batch writes about as many tokens a
    second as LoRA trains on (docs/bench.md). Reading prompts and judging are left out."""
    samples = 1 if config.teacher == "demonstrations" else config.n_samples
    drafts = config.n_train * samples * config.draft.max_tokens
    revised = min(config.n_revised, config.n_train)
    revisions = revised * (config.critique.max_tokens + config.candidates * config.revision.max_tokens)
    texts = 1 if config.train.objective == "sft" else 2
    rows = config.n_train * config.train.num_train_epochs * texts * config.draft.max_tokens
    answers = (config.n_heldout * config.answers_per_prompt + config.n_benign) * config.answer.max_tokens
    return int(drafts + revisions + answers + config.seeds * (rows + answers))


def _roles(config: RunConfig) -> tuple[str, ...]:
    critic = config.critic or config.generator
    return (config.generator, critic, config.judge, config.endpoint, config.device)
