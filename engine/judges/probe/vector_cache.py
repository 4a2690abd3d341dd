"""Vectors of texts that were computed once, kept in the cache folder: fitting again, or after a stop, is quick.

One file for each model, number format and set of layers; it can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine import paths
from engine.control import Control
from engine.errors import StorageError
from engine.files import write_atomically
from engine.judges.base import Judged
from engine.judges.probe import features
from engine.judges.probe.features import Vectors

if TYPE_CHECKING:
    from engine.models.local import LocalModel

_STEP = 512
"""Texts between two writes of the file."""

Told = Callable[[int, int], None]
"""Called with the texts done and their number."""


def _quiet(_done: int, _total: int) -> None:
    return None


class VectorStore:
    """Reads texts by a model's layers, each text once; their words are cheap and not kept.

    Args:
        model: the one whose layers are read.
        layers: which.
        folder: where the file is kept; "" for the cache folder.
    """

    def __init__(self, model: LocalModel, layers: Sequence[int], folder: Path | None = None) -> None:
        self._model = model
        self._layers = tuple(layers)
        facts = f"{model.sha256}|{model.dtype}|{self._layers}|{features.FORMAT}"
        name = f"vectors-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npz"
        self._path = (folder or paths.cache_dir() / "judge") / name
        self._known = self._load()

    def read(self, texts: Sequence[Judged], control: Control, told: Told = _quiet) -> Vectors:
        """The texts' vectors; what is not known yet is computed and kept.

        Raises:
            Stopped: where `control` asks for it; what is computed is kept.
        """
        keys = [_key(text) for text in texts]
        # Texts of like length together: a pass is cheapest so.
        once = sorted(dict(zip(keys, texts, strict=True)).items(), key=lambda item: len(item[1].text))
        for start in range(0, len(once), _STEP):
            part = once[start : start + _STEP]
            # What a text is read beside shows in its last bits: a step is read whole or not at all, so that a fit that
            # was stopped and begun again gives the same as one that was not.
            if all(key in self._known for key, _ in part):
                continue
            told(start, len(texts))
            found = features.states(self._model, [text for _, text in part], self._layers, control)
            for place, (key, _) in enumerate(part):
                self._known[key] = found.values[found.owner == place]
            self._save()
        told(len(texts), len(texts))
        values = [self._known[key] for key in keys]
        owner = np.repeat(np.arange(len(values)), [len(windows) for windows in values])
        return features.with_words(Vectors(np.concatenate(values), owner), texts)

    def _load(self) -> dict[str, NDArray[np.float32]]:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                values, counts = file["values"], file["counts"]
                parts = np.split(values, np.cumsum(counts)[:-1])
                return {str(key): part for key, part in zip(file["keys"], parts, strict=True)}
        except Exception:  # noqa: BLE001 - absent, or damaged in any of many ways: it is computed again
            return {}

    def _save(self) -> None:
        data = io.BytesIO()
        np.savez(
            data,
            keys=np.array(list(self._known)),
            counts=np.array([len(windows) for windows in self._known.values()]),
            values=np.concatenate(list(self._known.values())),
        )
        with contextlib.suppress(StorageError):  # only a memory
            write_atomically(self._path, data.getvalue())


def _key(text: Judged) -> str:
    return hashlib.sha256(f"{text.prompt}\x00{text.text}".encode("utf-8", "replace")).hexdigest()[:24]
