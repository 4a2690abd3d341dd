"""The loaded models: runs and evaluations share them; the least recently used one is dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.models.nn.config import Quantization

Progress = Callable[[float, str], None]
"""Called with the fraction done, and a sentence."""
Watch = Callable[[str], Progress]
"""Called with the name of a model that is about to be loaded; returns the callback for its progress."""


def _silent(_name: str) -> Progress:
    return lambda _fraction, _sentence: None


class ModelCache:
    """Loads models by name and keeps the last few. Not thread-safe.

    Args:
        keep: how many stay loaded; four are enough for two models that are compared or a generator and a critic, the
            base model that adapters share, and the model of a probe.
    """

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._loaded: OrderedDict[tuple[str, str, str, str], LocalModel] = OrderedDict()
        self._watch: Watch = _silent

    @classmethod
    def from_loaded(cls, loaded: Mapping[tuple[str, str, str], LocalModel]) -> ModelCache:
        """A cache with these models in it, by (name, device, dtype) as passed to `get`."""
        models = cls(keep=max(2, len(loaded)))
        models._loaded.update({(*key, ""): model for key, model in loaded.items()})
        return models

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Report to `watch` every model that is loaded inside the `with` block."""
        before, self._watch = self._watch, watch
        try:
            yield
        finally:
            self._watch = before

    def clear(self) -> None:
        """Forget all models and return their memory to the system; `get` loads again."""
        from engine.models.hub import memory

        self._loaded.clear()
        memory.release()

    def holds(self, name: str, device: str = "", dtype: str = "", quantization: Quantization = "") -> bool:
        """Whether the model is loaded already."""
        return (name, device, dtype, quantization) in self._loaded

    def get(self, name: str, device: str = "", dtype: str = "", quantization: Quantization = "") -> LocalModel:
        """The model of this name; "" as device or dtype chooses by this machine's measurements.

        Raises:
            ModelError: it is unknown, cannot be loaded, or does not fit.
        """
        key = name, device, dtype, quantization
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        while len(self._loaded) >= self._keep:
            self._loaded.popitem(last=False)
        self._loaded[key] = model = self._load(name, device, dtype, quantization)
        return model

    def _load(self, name: str, device: str, dtype: str, quantization: Quantization) -> LocalModel:
        """A model that is not loaded yet. Adapters and checkpoints share one copy of their base model."""
        from engine.models.hub import adapter, catalog
        from engine.models.local import load_model, merge_adapter
        from engine.pipeline.checkpoint_model import load_checkpoint

        source = catalog.resolve(name)
        if source.kind == "checkpoint":
            return load_checkpoint(source, lambda base: self.get(base, device, dtype, quantization))
        if source.kind != "adapter":
            watch = self._watch(name)
            return load_model(name, device=device, dtype=dtype, quantization=quantization, progress=watch)
        adapter.chain(source)
        return merge_adapter(source, self.get(adapter.base_name(source), device, dtype, quantization))
