"""The trainings of a run, one per training seed, and which of their adapters is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from engine.runs.folder import ADAPTER, ADAPTER_WEIGHTS, read_config
from engine.runs.store import inspect
from engine.settings import RunConfig
from engine.text import sanitize


@dataclass(frozen=True)
class Training:
    """One of the trainings of a run: all train on the same pairs, each with its own seed.

    Args:
        number: from 1.
        seed: of the adapter's initial values, the order of the rows, and dropout.
    """

    number: int
    seed: int

    @property
    def arm(self) -> str:
        """Name of the trained model: "trained", "trained-2", ..."""
        return f"trained{self._suffix}"

    @property
    def adapter(self) -> str:
        """Name of the folder with the adapter, in peft's format."""
        return f"{ADAPTER}{self._suffix}"

    @property
    def checkpoints(self) -> str:
        """Name of the folder with the checkpoints."""
        return f"checkpoints{self._suffix}"

    @property
    def _suffix(self) -> str:
        return "" if self.number == 1 else f"-{self.number}"


def trainings(config: RunConfig) -> tuple[Training, ...]:
    """The trainings that a run of these settings does, in order."""
    return tuple(Training(number, (config.seed + number - 1) % 2**32) for number in range(1, config.seeds + 1))


def choose(folder: Path, seed: int | None = None) -> Training:
    """The training whose adapter is taken: that of this training seed, or the first.

    Raises:
        InputError: the run has no such training, or its adapter is not there (yet); says what to do.
        StorageError: the run's settings cannot be read.
    """
    config = read_config(folder)
    if config.against:
        raise InputError(
            "this run compares two models and trained none.", where=str(folder), next_step="Name the run of a training."
        )
    known = trainings(config)
    found = next((one for one in known if seed in (None, one.seed)), None)
    if found is None:
        raise InputError(
            f"the run has no training with seed {seed}.",
            where="--training-seed",
            next_step=f"Choose {_listed([one.seed for one in known])}.",
        )
    if (folder / found.adapter / ADAPTER_WEIGHTS).exists():
        return found
    state = inspect(folder).state
    step = {
        "running": "Wait for its end, or follow it: `redraft watch`.",
        "stopped": f"Finish it first: `redraft resume {sanitize(folder.name)}`.",
    }.get(state, "No pair was kept, so nothing was trained: `redraft show` says why.")
    which = "" if seed is None else f" of training seed {seed}"
    raise InputError(f"the run has no adapter{which}; it is {state}.", where=str(folder), next_step=step)


def which(folder: Path, training: Training) -> str:
    """Which of several adapters was taken, as words: "training seed 1 (adapter-2)"; "" where the run has only one."""
    several = len(trainings(read_config(folder))) > 1
    return f"training seed {training.seed} ({training.adapter})" if several else ""


def _listed(seeds: Sequence[int]) -> str:
    words = [str(seed) for seed in seeds]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
