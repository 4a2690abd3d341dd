"""The models that are loaded now: a run and an evaluation share them, and the least recently used one makes room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.models.local import LocalModel

Progress = Callable[[float, str], None]
"""Called with the fraction that is done, and a sentence."""
Watch = Callable[[str], Progress]
"""Called with the name of a model that is about to be loaded; gives what is told how far that is."""


def _silent(_name: str) -> Progress:
    return lambda _fraction, _sentence: None


class Models:
    """Loads models by name and keeps the last few. Used by one thread only.

    Args:
        keep: how many stay loaded; three serve a generator, a critic and the model that a probe reads.
    """

    def __init__(self, keep: int = 3) -> None:
        self._keep = keep
        self._loaded: OrderedDict[tuple[str, str, str], LocalModel] = OrderedDict()
        self._watch: Watch = _silent

    @classmethod
    def holding(cls, loaded: Mapping[tuple[str, str, str], LocalModel]) -> Models:
        """Models that are loaded already, by (name, device, dtype) as `get` is asked for them."""
        models = cls(keep=max(2, len(loaded)))
        models._loaded.update(loaded)
        return models

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Tell `watch` of what is loaded meanwhile, whoever asks for it."""
        before, self._watch = self._watch, watch
        try:
            yield
        finally:
            self._watch = before

    def holds(self, name: str, device: str = "", dtype: str = "") -> bool:
        """Whether the model is loaded already."""
        return (name, device, dtype) in self._loaded

    def get(self, name: str, device: str = "", dtype: str = "") -> LocalModel:
        """The model of this name; "" for device or dtype lets this machine's measurement choose.

        Raises:
            ModelError: it is unknown, cannot be loaded, or does not fit.
        """
        key = name, device, dtype
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        from engine.models.local import load_model

        while len(self._loaded) >= self._keep:
            self._loaded.popitem(last=False)
        model = load_model(name, device=device, dtype=dtype, progress=self._watch(name))
        self._loaded[key] = model
        return model
