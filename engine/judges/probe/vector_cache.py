"""Disk cache of the texts' hidden states, so that fitting again or after an interruption is fast.

One file per model, dtype and set of layers; it can be deleted at any time.
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
from engine.judges.base import JudgeInput
from engine.judges.probe import features
from engine.judges.probe.features import Vectors

if TYPE_CHECKING:
    from engine.models.local import LocalModel

_CHUNK = 512
"""Texts between two writes of the file."""

Progress = Callable[[int, int], None]
"""Called with the number of texts done and of all texts."""


def _silent(_done: int, _total: int) -> None:
    return None


class VectorCache:
    """Computes the vectors of texts, each text once; only hidden states are stored, n-grams are cheap.

    Args:
        model: whose hidden states are read.
        layers: of the model.
        folder: of the file; None for the cache folder.
    """

    def __init__(self, model: LocalModel, layers: Sequence[int], folder: Path | None = None) -> None:
        self._model = model
        self._layers = tuple(layers)
        facts = f"{model.sha256}|{model.dtype}|{self._layers}|{features.FORMAT}"
        name = f"vectors-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npz"
        self._path = (folder or paths.cache_dir() / "judge") / name
        self._stored = self._load()

    def read(self, texts: Sequence[JudgeInput], control: Control, progress: Progress = _silent) -> Vectors:
        """The texts' vectors; missing ones are computed and stored.

        Raises:
            Stopped: `control` requests it; what is computed is stored.
        """
        keys = [_key(text) for text in texts]
        # Sorted by length, which minimizes padding.
        once = sorted(dict(zip(keys, texts, strict=True)).items(), key=lambda item: len(item[1].text))
        for start in range(0, len(once), _CHUNK):
            part = once[start : start + _CHUNK]
            # A text's states depend in their last bits on its batch: a chunk is computed as a whole or not at all, so
            # that an interrupted fit yields the same probes as an uninterrupted one.
            if all(key in self._stored for key, _ in part):
                continue
            progress(start, len(texts))
            found = features.states(self._model, [text for _, text in part], self._layers, control)
            for place, (key, _) in enumerate(part):
                self._stored[key] = found.values[found.owner == place]
            self._save()
        progress(len(texts), len(texts))
        values = [self._stored[key] for key in keys]
        owner = np.repeat(np.arange(len(values)), [len(windows) for windows in values])
        return features.with_ngrams(Vectors(np.concatenate(values), owner), texts)

    def _load(self) -> dict[str, NDArray[np.float32]]:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                values, counts = file["values"], file["counts"]
                parts = np.split(values, np.cumsum(counts)[:-1])
                return {str(key): part for key, part in zip(file["keys"], parts, strict=True)}
        except Exception:  # noqa: BLE001 - missing, or damaged in any of many ways: computed again
            return {}

    def _save(self) -> None:
        data = io.BytesIO()
        np.savez(
            data,
            keys=np.array(list(self._stored)),
            counts=np.array([len(windows) for windows in self._stored.values()]),
            values=np.concatenate(list(self._stored.values())),
        )
        with contextlib.suppress(StorageError):  # only a cache
            write_atomically(self._path, data.getvalue())


def _key(text: JudgeInput) -> str:
    return hashlib.sha256(f"{text.prompt}\x00{text.text}".encode("utf-8", "replace")).hexdigest()[:24]
