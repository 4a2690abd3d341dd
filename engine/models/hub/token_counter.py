"""Counts tokens as a model does, without loading the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import ModelError
from engine.models.hub import adapter, catalog, checkpoint, download, embedded, gguf, load

_BATCH = 4_096


def token_counter(name: str) -> tuple[Callable[[Sequence[str]], list[int]], int]:
    """A function texts -> tokens of each, and the most tokens that the model's context holds.

    Args:
        name: see `engine.models.hub.catalog.resolve`. A model on the hub must have been fetched before.

    Raises:
        ModelError: there is no such model, or it was not fetched yet.
        StorageError: its files cannot be read.
    """
    source = adapter.whole(name)
    if source.kind == "gguf":
        assert source.path is not None
        tokenizer = load.gguf_tokenizer(source.path)
        context = gguf.check(source.path).config.context
    else:
        folder = _folder(source)
        tokenizer = load.folder_tokenizer(folder)
        context = checkpoint.parse_config(folder / "config.json", checkpoint.folder_values(folder)).context
    backend = tokenizer.backend_tokenizer

    def count(texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            found += [len(encoding.ids) for encoding in backend.encode_batch_fast(batch, add_special_tokens=False)]
        return found

    return count, context


def _folder(source: catalog.Source) -> Path:
    if source.kind == "embedded":
        return embedded.prepare()
    if source.kind == "folder":
        assert source.path is not None
        return source.path
    found = download.cached(source)
    if found is None:
        raise ModelError(
            f"The model {source.name} has not been fetched yet.",
            next_step="A run fetches it; without --generator lengths are counted in words.",
        )
    return found
