"""Keeps transformers from writing into the terminal while it reads models, and hears from it how far it is."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

_lock = threading.RLock()


@contextlib.contextmanager
def quiet(tick: Callable[[float], None] | None = None) -> Iterator[None]:
    """Keep transformers from writing warnings and progress bars into the terminal; turn its bars into `tick` calls."""
    from transformers.utils import logging as transformers_logging

    def bar(_factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Bar:
        return _Bar(args[0] if args else kwargs.get("iterable"), kwargs.get("total"), tick)

    # The reader of GGUF files imports tqdm by itself, past transformers' own switch for it.
    from transformers import modeling_gguf_pytorch_utils as gguf_reader

    with _lock:
        level, plain = transformers_logging.get_verbosity(), gguf_reader.tqdm
        hook = transformers_logging.set_tqdm_hook(bar)
        transformers_logging.set_verbosity_error()
        gguf_reader.tqdm = lambda *args, **kwargs: bar(None, args, kwargs)
        try:
            yield
        finally:
            transformers_logging.set_verbosity(level)
            transformers_logging.set_tqdm_hook(hook)
            gguf_reader.tqdm = plain


@contextlib.contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep huggingface_hub from writing warnings, such as of a retry, into the terminal."""
    from huggingface_hub.utils import logging as hub_logging

    level = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)


class _Bar:
    """The part of tqdm's interface that transformers uses while it loads, without a terminal."""

    def __init__(self, iterable: Any, total: Any, tick: Callable[[float], None] | None) -> None:
        self._items = iterable
        self._total = total if total is not None else len(iterable) if hasattr(iterable, "__len__") else 0
        self._tick = tick
        self._done = 0

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            yield item
            self.update()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None

    def update(self, count: float = 1) -> None:
        self._done += int(count)
        if self._tick is not None and self._total:
            self._tick(min(1.0, self._done / self._total))
