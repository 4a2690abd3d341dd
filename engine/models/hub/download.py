"""Downloads a model that the user named from the Hugging Face hub: only its safetensors, config and tokenizer files.

The only place of Redraft's that reaches for the hub. A model that is in the hub's own cache needs no network.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ModelError, RedraftError, StorageError
from engine.models.hub.catalog import EMBEDDED, Source
from engine.models.hub.hf_logging import quiet_hub

Progress = Callable[[float, str], None]

_WANTED = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
"""Files of a model's top folder; never a pickle, never code."""


def fetch(source: Source, progress: Progress) -> Path:
    """The folder of the model's files, from the hub's cache where they are there, else from the network.

    An interrupted download continues where it stopped. The token, where one is needed, is that of `HF_TOKEN` or of
    `hf auth login`; `HF_HUB_OFFLINE` keeps to the cache.

    Raises:
        ModelError: if the hub cannot be reached, there is no such model, or it asks for an account.
        StorageError: if the disk has no space or may not be written, or a file is not what the hub says it is.
    """
    found = cached(source)
    if found is not None:
        return found
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    progress(0.0, f"Asking the hub for {source.repo}.")
    try:
        files = _files(source)
        total = sum(file.size for file in files)
        _check_space(source, total)
        with quiet_hub():  # a retry would be written over the screen
            place = snapshot_download(
                source.repo,
                revision=source.revision or None,
                allow_patterns=[file.name for file in files],
                tqdm_class=_bar(progress, source, total),
                max_workers=2,
            )
        folder = Path(place)
        _check_content(folder, files)
        return folder
    except HfHubHTTPError as error:
        raise _refused(source, error) from None
    except PermissionError as error:
        raise StorageError("The hub's cache cannot be written.", where=str(error.filename or "")) from None
    except (OSError, RuntimeError) as error:
        # No route, no name server, offline mode, a broken connection: httpx's and the hub's own types are under these.
        raise _unreachable(source, error) from None
    except Exception as error:
        if "httpx" in type(error).__module__:
            raise _unreachable(source, error) from None
        raise


def cached(source: Source) -> Path | None:
    """The model's folder in the hub's cache, if a whole model is there. (`snapshot_download` would also want the files
    that were left out on purpose.)"""
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(source.repo, "config.json", revision=source.revision or None)
    except (OSError, ValueError):
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    # A download that was broken off leaves a folder without all its shards, or without a tokenizer.
    tokenizer = any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return folder if tokenizer and _shards_present(folder) else None


def _shards_present(folder: Path) -> bool:
    from engine.models.hub import weights

    try:
        return all(path.exists() for path in weights.files(folder))
    except RedraftError:
        return False


@dataclass(frozen=True)
class _File:
    """A file of a model on the hub; `sha256` is "" for small ones, which are not kept in Git LFS."""

    name: str
    size: int
    sha256: str


def _check_content(folder: Path, files: Sequence[_File]) -> None:
    """Refuse a file with other bytes than the hub says, and remove it, so that the next try fetches it again."""
    from engine.models.hub import weights

    for file in files:
        path = folder / file.name
        if file.sha256 and weights.digest(path) != file.sha256:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise StorageError(
                f"{file.name} was damaged on its way: its SHA-256 is not the one that the hub gives. It was removed.",
                where=str(path),
                next_step="Try again.",
            )


def _files(source: Source) -> list[_File]:
    """The files that are wanted."""
    from fnmatch import fnmatch

    from huggingface_hub import HfApi

    listing = HfApi().model_info(source.repo, revision=source.revision or None, files_metadata=True, timeout=20)
    wanted = [
        _File(sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else "")
        for sibling in listing.siblings or []
        if "/" not in sibling.rfilename and any(fnmatch(sibling.rfilename, pattern) for pattern in _WANTED)
    ]
    if not any(file.name.endswith(".safetensors") for file in wanted):
        raise ModelError(
            f"{source.repo} has no safetensors files on the hub; pickles (.bin) are never read.",
            next_step="Name another model, or a GGUF file of this one.",
        )
    return wanted


def _check_space(source: Source, size: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size + 100_000_000:
        raise StorageError(
            f"There is no space for {source.repo}: it needs {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.",
            where=str(HF_HUB_CACHE),
            next_step="Free some space, or set HF_HOME to a folder on another disk.",
        )


def _refused(source: Source, error: Any) -> RedraftError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    name = type(error).__name__
    if name == "GatedRepoError" or (status in (401, 403) and name != "RepositoryNotFoundError"):
        return ModelError(
            f"The hub gives {source.repo} only to accounts that accepted its license.",
            next_step=f"Accept it at https://huggingface.co/{source.repo} and set HF_TOKEN, or name another model.",
        )
    if name in ("RepositoryNotFoundError", "RevisionNotFoundError") or status == 404:
        what = f"{source.repo}@{source.revision}" if source.revision else source.repo
        return ModelError(
            f"There is no model {what} on the hub.", next_step="Check the name; `redraft models` lists some."
        )
    if not status:
        return _unreachable(source, error)
    return ModelError(f"The hub answered {status} when asked for {source.repo}.", next_step="Try again later.")


def _unreachable(source: Source, error: Exception) -> RedraftError:
    import errno

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"The disk became full while {source.repo} was fetched.", next_step="Free some space.")
    if type(error).__name__ == "OfflineModeIsEnabled":
        return ModelError(
            f"{source.repo} is not on this machine, and the hub is not asked: HF_HUB_OFFLINE is set.",
            next_step=f"Unset it, copy the model's folder here and give its path, or use {EMBEDDED}.",
        )
    return ModelError(
        f"{source.repo} is not on this machine, and the hub could not be reached ({type(error).__name__}).",
        next_step="Connect to the network (what was fetched is kept), copy the model's folder here and give its path, "
        f"or use {EMBEDDED}, which needs no network.",
    )


def _bar(progress: Progress, source: Source, total: int) -> Any:
    """A tqdm class that reports the bytes fetched over all files to `progress` and writes nothing."""
    import threading

    from tqdm.auto import tqdm

    lock = threading.Lock()
    done = [0.0]

    class Bar(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._bytes = kwargs.get("unit") == "B"
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._bytes and n:
                with lock:
                    done[0] += n
                    fraction = min(1.0, done[0] / max(total, 1))
                progress(fraction, f"Fetching {source.repo}: {done[0] / 1e6:,.0f} of {total / 1e6:,.0f} MB.")
            return None

    return Bar
