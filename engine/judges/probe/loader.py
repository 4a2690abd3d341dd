"""Loads the model that a set of probes reads, when the first text comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.control import Control
    from engine.judges.base import Judged
    from engine.judges.panel import Reader
    from engine.judges.probe.features import Vectors
    from engine.judges.probe.probe import ProbeSet
    from engine.judges.probe.vector_cache import VectorStore
    from engine.models.local import LocalModel
    from engine.pipeline.model_cache import Models


def reader(probes: ProbeSet, models: Models | None, device: str, *, remember: bool = False) -> Reader:
    """Reads the layers of the probes' model, in the number format that suits the device whatever a run's own: verdicts
    must not depend on how the generator is computed. Texts that two probes judge one after the other are read once.

    Args:
        models: holds the model; an own one is loaded where None.
        remember: keep the vectors in the cache folder: for texts that are judged again and again.
    """
    from engine.judges.probe import features
    from engine.pipeline.model_cache import Models

    held = models if models is not None else Models()
    stores: list[VectorStore] = []

    last: dict[tuple[tuple[str, str], ...], Vectors] = {}

    def read(texts: Sequence[Judged], control: Control) -> Vectors:
        key = tuple((text.prompt, text.text) for text in texts)
        if key not in last:
            model = held.get(probes.model, device)
            probes.check_model(model)
            found = _kept(model).read(texts, control) if remember else _fresh(model, texts, control)
            last.clear()
            last[key] = found
        return last[key]

    def _fresh(model: LocalModel, texts: Sequence[Judged], control: Control) -> Vectors:
        return features.vectors(model, texts, probes.layers, control)

    def _kept(model: LocalModel) -> VectorStore:
        if not stores:
            from engine.judges.probe.vector_cache import VectorStore

            stores.append(VectorStore(model, probes.layers))
        return stores[0]

    return read
