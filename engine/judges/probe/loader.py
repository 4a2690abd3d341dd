"""Loads the model that a set of probes reads, when the first text needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.control import Control
    from engine.judges.base import JudgeInput
    from engine.judges.probe.features import ReadVectors, StatesModel, Vectors
    from engine.judges.probe.probe import ProbeSet
    from engine.judges.probe.vector_cache import VectorCache
    from engine.models.local import LocalModel

GetModel = Callable[[str, str], "LocalModel"]
"""(name, device) -> the loaded model; "" for this machine's choice of device. `engine.pipeline.model_cache` has one."""
IsLoaded = Callable[[str, str], bool]
"""(name, device) -> whether that model is loaded already."""


_WITHOUT_LOADING = 8_000
"""Characters that are judged under numpy before a model is loaded for the rest: about what it computes in the time that
importing torch and transformers takes."""


def make_reader(
    probes: ProbeSet, get_model: GetModel, device: str, *, use_cache: bool = False, is_loaded: IsLoaded | None = None
) -> ReadVectors:
    """A function that computes the probes' input vectors. The model runs in the dtype that suits the device, whatever
    the run's: verdicts must not depend on how the generator is computed. Texts that two probes judge one after the
    other are read once.

    Args:
        get_model: loads the probes' model.
        use_cache: keep the vectors in the cache folder, for texts that are judged again and again.
        is_loaded: whether `get_model` has the model already. As long as it has not, the first few texts are read by the
            embedded model under numpy (`engine.models.numpy_model`), to the same values. None always loads.
    """
    from engine.judges.probe import features

    caches: list[VectorCache] = []
    last: dict[tuple[tuple[str, str], ...], Vectors] = {}
    light: list[StatesModel | None] = []
    characters = 0

    def read(texts: Sequence[JudgeInput], control: Control) -> Vectors:
        key = tuple((text.prompt, text.text) for text in texts)
        if key not in last:
            small = light_model(texts)
            if small is not None:
                vectors = features.vectors(small, texts, probes.layers, control)
            else:
                model = get_model(probes.model, device)
                probes.check_model(model)
                vectors = cached(model, texts, control) if use_cache else computed(model, texts, control)
            last.clear()
            last[key] = vectors
        return last[key]

    def light_model(texts: Sequence[JudgeInput]) -> StatesModel | None:
        nonlocal characters
        size = sum(len(text.text) + len(text.prompt) for text in texts)
        # Batches are of a file, which may be long: what they hold together counts. Single texts are typed by a user.
        if len(texts) > 1:
            size = characters = characters + size
        if is_loaded is None or size > _WITHOUT_LOADING or device not in ("", "cpu"):
            return None
        if is_loaded(probes.model, device):
            return None
        if not light:
            light.append(_numpy_model(probes))
        return light[0]

    def computed(model: LocalModel, texts: Sequence[JudgeInput], control: Control) -> Vectors:
        return features.vectors(model, texts, probes.layers, control)

    def cached(model: LocalModel, texts: Sequence[JudgeInput], control: Control) -> Vectors:
        if not caches:
            from engine.judges.probe.vector_cache import VectorCache

            caches.append(VectorCache(model, probes.layers))
        return caches[0].read(texts, control)

    return read


def _numpy_model(probes: ProbeSet) -> StatesModel | None:
    """The embedded model under numpy, if these probes read it."""
    from engine.models import numpy_model
    from engine.models.hub import catalog, embedded

    if probes.model != catalog.EMBEDDED or probes.weights_sha256 != embedded.SHA256:
        return None
    return numpy_model.load()
