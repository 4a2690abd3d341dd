"""Datasets of the Hugging Face hub, and folders that the package `datasets` reads, as tables of rows.

A dataset is named like a file: `hf:OWNER/NAME`, with a revision, a configuration and a split where they are needed:
`hf:OWNER/NAME@REVISION:CONFIG:SPLIT`. The split may be a slice (`train[:1000]`). A path after `hf:` is a folder on this
machine: data files, or what `save_to_disk` wrote. No code of a dataset is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.files import expanded
from engine.text import sanitize, truncate

PREFIX = "hf:"
MAX_ROWS = 500_000
"""Larger datasets are refused: every prompt is held in memory for the whole run."""

_SPEC = re.compile(
    r"hf:(?P<name>[^:@]+)(?:@(?P<revision>[^:]+))?(?::(?P<config>[^:\[\]]+))??(?::(?P<split>[^:\[\]]+(?:\[[^\]]*\])?))?"
)


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as it is named.

    Args:
        name: OWNER/NAME, or the path of a folder.
        revision, config: "" for the default ones.
        split: such as "train" or "train[:1000]".
    """

    name: str
    revision: str = ""
    config: str = ""
    split: str = "train"

    @property
    def is_folder(self) -> bool:
        return self.name.startswith((".", "/", "~"))


def is_dataset(path: Path | str) -> bool:
    """Whether a name stands for a dataset rather than a file."""
    return str(path).startswith(PREFIX)


def parse(text: str) -> DatasetSpec:
    """The parts of a dataset's name.

    Raises:
        InputError: it is not of the form above.
    """
    found = _SPEC.fullmatch(text)
    parts = {name: value for name, value in (found.groupdict() if found else {}).items() if value}
    spec = DatasetSpec(**parts) if parts else None
    if spec is None or not (spec.is_folder or re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", spec.name)):
        raise InputError(
            "this is not the name of a dataset.",
            where=truncate(sanitize(text), 200),
            next_step="Write hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME@REVISION:CONFIG:SPLIT.",
        )
    return spec


def read_parquet(text: str) -> bytes:
    """The rows of a dataset as the bytes of a Parquet file.

    Raises:
        InputError: `datasets` is not installed, there is no such dataset, configuration or split, it cannot be fetched,
            or it has more than `MAX_ROWS` rows.
    """
    spec = parse(text)
    where = truncate(sanitize(text), 200)
    try:
        import datasets
    except ImportError:
        raise InputError(
            "reading datasets of the hub needs the package datasets.",
            where=where,
            next_step="Install it: pip install datasets. Or download a file of the dataset and name that.",
        ) from None
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        table = _from_disk(spec) if spec.is_folder else None
        if table is None:
            path = str(expanded(spec.name)) if spec.is_folder else spec.name
            table = datasets.load_dataset(path, spec.config or None, split=spec.split, revision=spec.revision or None)
    except Exception as error:  # noqa: BLE001 - `datasets` raises errors of many packages for what a user names
        raise _refusal(error, spec, where) from None
    if len(table) > MAX_ROWS:
        raise InputError(
            f"it has {len(table):,} rows; at most {MAX_ROWS:,} are read.",
            where=where,
            next_step=f"Take a part: {PREFIX}{spec.name}:{spec.split.partition('[')[0]}[:10000].",
        )
    return _parquet(table)


def _from_disk(spec: DatasetSpec) -> Any:
    """The split of a folder that `save_to_disk` wrote; None for another folder."""
    import datasets

    folder = expanded(spec.name)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {spec.name}")
    if not any((folder / name).exists() for name in ("state.json", "dataset_dict.json")):
        return None
    found = datasets.load_from_disk(str(folder))
    split = spec.split.partition("[")[0]
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(found)}.')
        found = found[split]
    (part,) = datasets.ReadInstruction.from_spec(spec.split).to_absolute({split: len(found)})
    return found.select(range(part.from_ or 0, len(found) if part.to is None else part.to))


def _parquet(table: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    # Pictures and sounds stay as they are: nothing of them is decoded, and no package for them is needed.
    for name, feature in table.features.items():
        if getattr(feature, "decode", False):
            table = table.cast_column(name, type(feature)(decode=False))
    table.to_parquet(buffer)
    return buffer.getvalue()


def _refusal(error: Exception, spec: DatasetSpec, where: str) -> InputError:
    """What `datasets` found wrong, with what to do about it."""
    import huggingface_hub.errors as hub

    kind, words = type(error).__name__, " ".join(str(error).split())
    if spec.is_folder:
        return InputError(
            f"this folder cannot be read as a dataset ({truncate(sanitize(words), 200)}).",
            where=where,
            next_step="Name a folder with CSV, JSON lines, Parquet or Arrow files, or one that save_to_disk wrote.",
        )
    if kind == "DatasetNotFoundError" and "gated" in words:
        return InputError(
            "the dataset is behind a license that has to be accepted on the hub.",
            where=where,
            next_step="Accept it on the dataset's page, then `hf auth login`, or set HF_TOKEN.",
        )
    offline = isinstance(error, ConnectionError | hub.OfflineModeIsEnabled) or "Couldn't reach" in words
    if offline or "Couldn't find cache" in words:
        return InputError(
            "the dataset is not on this machine, and the hub could not be reached.",
            where=where,
            next_step="Check the network (and HF_HUB_OFFLINE), or name a file that you have.",
        )
    if kind == "DatasetNotFoundError":
        return InputError(
            "the hub knows no such dataset, or it is private.",
            where=where,
            next_step="Check OWNER/NAME and the revision; for a private one set HF_TOKEN.",
        )
    if "scripts are no longer supported" in words:
        return InputError(
            "the dataset needs code of its own to be read, which is not run.",
            where=where,
            next_step=f"Take the hub's own copy of its rows: {PREFIX}{spec.name}@refs/convert/parquet.",
        )
    return InputError(
        f"the dataset cannot be read ({truncate(sanitize(words), 300)}).",
        where=where,
        next_step="Name configuration and split: hf:OWNER/NAME:CONFIG:SPLIT.",
    )
