"""A run's folder with an adapter on a tiny model, made without performing the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from export_samples import write_run

from engine.runs.folder import RUN
from engine.runs.trainings import trainings
from engine.settings import RunConfig, to_json

TrainedRun = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a journal of two pairs and three steps, and a report."""
    return write_run(tmp_path / "small")


@pytest.fixture
def trained_run(tmp_path: Path, redraft_home: Path) -> TrainedRun:
    """A function folder of a model -> folder of a run whose adapter changes all of its matrices by random numbers; with
    `seeds` it has as many adapters, and each is other numbers; `number` makes others. Where the folder holds an
    adapter, `base` is the folder of its model."""

    import torch

    from engine.models.hub import load, weights_hash
    from engine.models.nn import families
    from engine.models.nn.lora_weights import Adapter, LoraPair
    from engine.training import lora

    def make(model: Path, seeds: int = 1, *, base: Path | None = None, number: int = 3) -> Path:
        folder = tmp_path / ("run" if base is None else "run-on-an-adapter")
        decoder = families.from_transformers(load.read_folder(base or model, "float32"))
        source = torch.Generator().manual_seed(number)
        config = RunConfig(generator=str(model), seed=5, seeds=seeds)
        for training in trainings(config):
            pairs = {
                name: LoraPair(
                    0.3 * torch.randn((4, inner), generator=source), 0.3 * torch.randn((out, 4), generator=source), 2.0
                )
                for name, (out, inner) in decoder.adaptable().items()
            }
            place = folder / training.adapter
            lora.save(Adapter(pairs), place, base_model=str(model), family=decoder.config.family)
        models = {} if base else {str(model): weights_hash.of_folder(model)}
        (folder / RUN).write_text(json.dumps({"version": 1, "config": to_json(config), "models": models}))
        return folder

    return make
