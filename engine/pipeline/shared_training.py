"""A training that several processes share: the first one sends the others what is trained, and they train with it.

The others have no journal, write nothing, and obey the first process; the loop adds up the gradients of all.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.control import Control
from engine.errors import ModelError, RedraftError, Stopped
from engine.pipeline.model_cache import ModelCache

if TYPE_CHECKING:
    import torch

    from engine.pipeline.context import Context
    from engine.runs.trainings import Training
    from engine.training.config import TrainConfig
    from engine.training.data import Row

_GRACE = 20.0
"""Seconds after SIGTERM in which the first process may end a training for all."""


def share(
    context: Context, training: Training, rows: Sequence[Row], validation: Sequence[Row], config: TrainConfig
) -> None:
    """Send the other processes what is trained next."""
    from engine.training.distributed import Processes

    model = context.generator
    task = {
        "generator": context.config.generator,
        "sha256": model.sha256,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "config": config.as_dict(),
        "rows": [_to_json(row) for row in rows],
        "validation": [_to_json(row) for row in validation],
        "folder": str(context.folder.resolve()),
        "checkpoints": training.checkpoints,
        "references": "checkpoints",
    }
    Processes(model.decoder.device).message(json.dumps(task))


def release() -> None:
    """In the first process, at its end: inform the others that no training follows."""
    from engine.training.distributed import release as tell_others

    tell_others()


def serve() -> None:
    """In every process but the first: share its trainings until it says that none comes.

    Raises:
        RedraftError: the model cannot be loaded or is another than the first process's, or that one is gone.
    """
    from engine.training.distributed import Processes, own_device

    _leave_signals_to_the_first()
    place = own_device()
    models = ModelCache()
    try:
        processes = Processes(place)
        while task := processes.message():
            _train(json.loads(task), models, place)
    except RuntimeError as error:  # a broken connection; gloo and nccl know no other type
        raise RedraftError(
            f"the first process is gone ({' '.join(str(error).split())[:200]}).",
            next_step="Its own message says why; `redraft resume` under the same launcher continues the run.",
        ) from error


def _train(task: dict[str, Any], models: ModelCache, place: torch.device) -> None:
    from engine.training.config import TrainConfig
    from engine.training.loop import train

    model = models.get(task["generator"], str(place), task["dtype"], task["quantization"])
    if model.sha256 != task["sha256"]:
        raise ModelError(
            f"{model.name} has other files here than in the first process.",
            next_step="Give all processes the same model, by the same name.",
        )
    folder = Path(task["folder"])
    try:
        train(
            model.decoder,
            [_from_json(row) for row in task["rows"]],
            TrainConfig.from_dict(task["config"]),
            control=Control(),
            validation=[_from_json(row) for row in task["validation"]],
            checkpoints=folder / task["checkpoints"],
            references=folder / task["references"],
        )
    except Stopped:
        return


def _to_json(row: Row) -> dict[str, Any]:
    return vars(row)


def _from_json(values: dict[str, Any]) -> Row:
    from engine.training.data import PairRow, SftRow

    made: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return PairRow(**made) if "chosen" in made else SftRow(**made)


def _leave_signals_to_the_first() -> None:
    """Ctrl-C reaches all processes of a terminal, and SIGTERM all that a launcher started; the first one decides."""

    def end_later(_number: int, _frame: object) -> None:
        timer = threading.Timer(_GRACE, os._exit, (143,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_later)
