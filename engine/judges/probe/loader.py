"""Loads the model that a set of probes reads, when the first text needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.control import Control
    from engine.judges.base import JudgeInput
    from engine.judges.probe.features import ReadVectors, Vectors
    from engine.judges.probe.probe import ProbeSet
    from engine.judges.probe.vector_cache import VectorCache
    from engine.models.local import LocalModel

GetModel = Callable[[str, str], "LocalModel"]
"""(name, device) -> the loaded model; "" for this machine's choice of device. `engine.pipeline.model_cache` has one."""


def make_reader(probes: ProbeSet, get_model: GetModel, device: str, *, use_cache: bool = False) -> ReadVectors:
    """A function that computes the probes' input vectors. The model runs in the dtype that suits the device, whatever
    the run's: verdicts must not depend on how the generator is computed. Texts that two probes judge one after the
    other are read once.

    Args:
        get_model: loads the probes' model.
        use_cache: keep the vectors in the cache folder, for texts that are judged again and again.
    """
    from engine.judges.probe import features

    caches: list[VectorCache] = []
    last: dict[tuple[tuple[str, str], ...], Vectors] = {}

    def read(texts: Sequence[JudgeInput], control: Control) -> Vectors:
        key = tuple((text.prompt, text.text) for text in texts)
        if key not in last:
            model = get_model(probes.model, device)
            probes.check_model(model)
            vectors = cached(model, texts, control) if use_cache else computed(model, texts, control)
            last.clear()
            last[key] = vectors
        return last[key]

    def computed(model: LocalModel, texts: Sequence[JudgeInput], control: Control) -> Vectors:
        return features.vectors(model, texts, probes.layers, control)

    def cached(model: LocalModel, texts: Sequence[JudgeInput], control: Control) -> Vectors:
        if not caches:
            from engine.judges.probe.vector_cache import VectorCache

            caches.append(VectorCache(model, probes.layers))
        return caches[0].read(texts, control)

    return read
