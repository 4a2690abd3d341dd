"""A checkpoint of a run's training as a model: the run's generator with the adapter as it was at that step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ModelError
from engine.models.hub.catalog import Source
from engine.runs.folder import RUN, read_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.models.local import LocalModel


def base_name(source: Source) -> str:
    """The model that a checkpoint's adapter changes: the generator of the run that holds it.

    Args:
        source: of the kind "checkpoint".

    Raises:
        ModelError: no run holds it.
        StorageError: the run's settings cannot be read.
    """
    assert source.path is not None
    run = run_of(source.path)
    if run is None:
        raise ModelError(
            "This checkpoint does not lie in a run's folder, so its base model is not known.",
            where=str(source.path),
            next_step="Name the run and the step: RUN@step-40.",
        )
    return read_config(run).generator


def run_of(place: Path) -> Path | None:
    """The folder of the run that an adapter's or a checkpoint's folder lies in; None where no run does."""
    return next((folder for folder in place.resolve().parents[:2] if (folder / RUN).exists()), None)


def load_checkpoint(source: Source, load_base: Callable[[str], LocalModel]) -> LocalModel:
    """The generator of a run with the adapter of a checkpoint merged.

    Args:
        load_base: loads a model by its name.

    Raises:
        ModelError, StorageError: the checkpoint is damaged, or it is for another model.
    """
    from engine.training.checkpoint import read_adapter

    assert source.path is not None
    base = load_base(base_name(source))
    return base.with_built_in(read_adapter(source.path, base.decoder), source.name)
