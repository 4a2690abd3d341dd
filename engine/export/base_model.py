"""The adapter of a run and the model that it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ModelError
from engine.models.hub import adapter
from engine.models.local import LocalModel, load_model
from engine.runs.folder import read_config, read_run
from engine.runs.trainings import Training, choose

if TYPE_CHECKING:
    from engine.models.hub.embedded import Progress
    from engine.models.nn.lora_weights import Adapter


def run_adapter(folder: Path, training_seed: int | None = None) -> tuple[Training, Adapter]:
    """The adapter that a run trained, and of which training it is.

    Args:
        training_seed: of which training; None takes the first.

    Raises:
        InputError: the run has none (yet), or no such training.
        StorageError: it is damaged.
    """
    training = choose(folder, training_seed)
    return training, adapter.load(folder / training.adapter)


def run_base(folder: Path, progress: Progress, *, dtype: str = "float32", force: bool = False) -> LocalModel:
    """The generator of a run, loaded, once it is sure that these are the weights that the adapter was trained on.

    Args:
        force: load it also where its files have changed.

    Raises:
        ModelError: it cannot be loaded, or its files are others than those of the run.
        StorageError: a file is damaged or missing.
    """
    name = read_config(folder).generator
    model = load_model(name, device="cpu", dtype=dtype, progress=progress)
    models = read_run(folder).get("models")
    trained_on = models.get(name) if isinstance(models, dict) else None
    if trained_on is not None and trained_on != model.sha256 and not force:
        raise ModelError(
            f"The model {name} has changed since the run (sha256 {str(trained_on)[:12]} → {model.sha256[:12]}); the "
            "adapter belongs to the old one.",
            where=str(model.folder or name),
            next_step="Restore the model's files, or use the changed ones with --force.",
        )
    return model
