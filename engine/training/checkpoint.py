"""Everything that a training needs to resume exactly, in safetensors and JSON: nothing is ever unpickled.

A checkpoint is a folder `step-00000040` with `state.safetensors` and `state.json`; the JSON holds the other's SHA-256
and its own. It is written under another name, synced and renamed, so it is whole or absent; the last two are kept, and
where the newer one is damaged the older one is used. What a process that was killed left half written is swept away by
the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import ModelError, StorageError
from engine.models.hub.tensor_files import read_json, read_tensors, write_json, write_tensors
from engine.models.nn.decoder import LanguageDecoder
from engine.models.nn.lora_weights import Adapter
from engine.training.config import TrainConfig, renamed
from engine.training.lora import Lora, select

VERSION = 1
KEPT = 2
_TENSORS, _VALUES = "state.safetensors", "state.json"
_NEW, _OLD = ".new", ".old"


@dataclass(frozen=True)
class State:
    """Everything at the end of a step.

    Args:
        step: optimizer steps done.
        tensors: adapter and optimizer values by name.
        values: the rest, as JSON knows it (sampler, metrics so far, what the run is made of).
    """

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: where they lie; made when the first is written.

    Attributes:
        damaged: what was found damaged by `latest`, as sentences for the journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[str] = []

    def save(self, state: State) -> Path:
        """Write a checkpoint with the random states of this process, then drop all but the last two.

        Raises:
            StorageError: if it cannot be written; those before it are untouched.
        """
        place = self.folder / f"step-{state.step:08d}"
        temporary = self.folder / f".{place.name}.{os.getpid()}{_NEW}"
        aside = self.folder / f".{place.name}.{os.getpid()}{_OLD}"
        try:
            self._clear(temporary)
            numbers, randomness = _random_state()
            values = {
                "version": VERSION,
                "step": state.step,
                "values": dict(state.values),
                "random": randomness,
                "tensors_sha256": write_tensors(temporary / _TENSORS, {**state.tensors, **numbers}),
            }
            values["sha256"] = _digest(values)
            write_json(temporary / _VALUES, values)
            if place.exists():
                # Aside first: a process that is killed here leaves both, and the next one puts the old one back.
                place.rename(aside)
            temporary.rename(place)
            _sync(self.folder)
        except OSError as error:
            raise StorageError(f"the checkpoint cannot be written ({error.strerror}).", where=str(place)) from error
        finally:
            self._clear(temporary)
            self._clear(aside)
        for old in self._places()[:-KEPT]:
            self._clear(old)
        return place

    def latest(self) -> State | None:
        """The newest checkpoint that is whole, with the random states of this process put back; None where there is
        none. Damaged ones are noted in `damaged`; what another process left half written is swept away."""
        self._mend()
        for place in reversed(self._places()):
            try:
                return _read(place)
            except StorageError as error:
                self.damaged.append(str(error))
        return None

    def remove(self) -> None:
        """Delete all checkpoints: the training is over and its adapter is stored."""
        for place in self._places():
            self._clear(place)

    def _mend(self) -> None:
        """Sweep up behind a process that was killed while it wrote."""
        if not self.folder.is_dir():
            return
        for entry in sorted(self.folder.iterdir()):
            place = self.folder / entry.name[1 : len(".step-00000000")]
            if entry.name.startswith(".step-") and entry.name.endswith(_OLD) and not place.exists():
                with contextlib.suppress(OSError):  # the other processes of one training do the same
                    entry.rename(place)
            elif entry.name.startswith(".step-"):
                self._clear(entry)

    def _places(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(place for place in self.folder.iterdir() if place.name.startswith("step-") and place.is_dir())

    @staticmethod
    def _clear(folder: Path) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def read_adapter(place: Path, decoder: LanguageDecoder) -> Adapter:
    """The adapter as it was at a checkpoint.

    Args:
        place: the checkpoint's folder.
        decoder: the model that was trained.

    Raises:
        StorageError: the checkpoint is damaged.
        ModelError: it is of a training of another model.
    """
    values, tensors = _verified(place)
    known = TrainConfig().as_dict()
    named = {name: value for name, value in renamed(values["values"]["identity"]).items() if name in known}
    made = TrainConfig.from_dict({**known, **named})
    lora = Lora(select(decoder.adaptable(), made.target_modules), made.lora_r, made.lora_alpha)
    flat = tensors["adapter"]
    if flat.shape != lora.flat.shape:
        raise ModelError(
            f"The checkpoint is for another model: it has {flat.numel():,} numbers, and this one takes "
            f"{lora.flat.numel():,}.",
            where=str(place),
        )
    with torch.no_grad():
        lora.flat.copy_(flat)
    return lora.export()


def _read(place: Path) -> State:
    values, tensors = _verified(place)
    _set_random_state(tensors, values["random"])
    return State(values["step"], {k: v for k, v in tensors.items() if not k.startswith("random.")}, values["values"])


def _verified(place: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint holds, once it is sure that it is whole.

    Raises:
        StorageError: it is damaged.
    """
    values = read_json(place / _VALUES)
    where = str(place / _VALUES)
    if values.get("version") != VERSION:
        raise StorageError(f"the checkpoint has version {values.get('version')!r}, not {VERSION}.", where=where)
    claimed = values.pop("sha256", None)
    if claimed != _digest(values):
        raise StorageError("the checkpoint is damaged (its checksum is wrong).", where=where)
    if _sha256(place / _TENSORS) != values["tensors_sha256"]:
        raise StorageError("the checkpoint is damaged (its checksum is wrong).", where=str(place / _TENSORS))
    return values, read_tensors(place / _TENSORS)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"the file cannot be read ({error.strerror}).", where=str(path)) from error


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut, where the file system can (some network ones cannot)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of python's, numpy's and torch's generators, as tensors and as JSON."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    numbers = {
        "random.torch": torch.get_rng_state(),
        "random.numpy": torch.from_numpy(np.asarray(keys, dtype=np.uint32).astype(np.int64)),
        "random.python": torch.tensor(words, dtype=torch.int64),
    }
    if torch.cuda.is_available():
        numbers |= {f"random.cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return numbers, {
        "python": [version, gauss],
        "numpy": [str(name), int(position), int(has_gauss), float(cached)],
    }


def _set_random_state(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    version, gauss = values["python"]
    random.setstate((version, tuple(tensors["random.python"].tolist()), gauss))
    name, position, has_gauss, cached = values["numpy"]
    keys = tensors["random.numpy"].numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))
    torch.set_rng_state(tensors["random.torch"])
    cuda = [tensors[f"random.cuda.{i}"] for i in range(len(tensors)) if f"random.cuda.{i}" in tensors]
    if cuda and torch.cuda.is_available() and torch.cuda.device_count() == len(cuda):
        torch.cuda.set_rng_state_all(cuda)
