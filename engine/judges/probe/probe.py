"""Probes: lines through a model's hidden states that tell violations of a principle from clean texts.

A set holds three, fitted on the same model and layers: "whole" on all rows, for verdicts that people ask for; "a" and
"b" on halves that share no row and no topic, so that one can choose training pairs and the other judge the comparison.
Each comes with twins, fitted without one fold of its rows: they judge the texts that the member itself has seen.
Files: weights as safetensors, everything else as JSON beside it. Knows nothing of rules' patterns.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine import paths
from engine.errors import InputError, ModelError, StorageError
from engine.files import write_atomically
from engine.judges.eval.metric import Measures
from engine.judges.labeled import text_hash
from engine.judges.probe import features
from engine.judges.probe.feature_map import Space
from engine.judges.probe.logistic import sigmoid
from engine.settings import JUDGES, SHIPPED
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.models.local import LocalModel

MEMBERS = ("whole", "a", "b")
_SHARPNESS = 4.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combination:
    """How a principle's evidence becomes a probability and a decision. All fitted on rows that the line was not.

    Args:
        probe, rules, offset: the logit is probe * (the line's logit) + rules * (the rules' evidence) + offset.
        alone_scale, alone_offset: the same without rules, for principles that have none (Platt scaling).
        threshold: probability from which the principle counts as broken.
        low: from here up to the threshold nothing is decided, where no rule speaks.
    """

    probe: float
    rules: float
    offset: float
    alone_scale: float
    alone_offset: float
    threshold: float
    low: float


@dataclass(frozen=True)
class Probe:
    """One member of a set.

    Args:
        space: what a vector's features are.
        weight: [principles, features]; or [2 * principles + 1, features]: lines for texts like the project's examples,
            lines for texts from elsewhere, and a line that tells how much a text is like the former.
        bias: as many as there are lines.
        combinations: one a principle.
        accuracy: how well it did on texts that it was not fitted on, as a sentence.
        measures: the same as figures, each with an interval: name of a set of texts ("own" for the project's, "all"
            for all together) -> what the panel with this member does there. Empty in files of older versions.
    """

    name: str
    principles: tuple[str, ...]
    space: Space
    weight: NDArray[np.float32]
    bias: Floats
    combinations: tuple[Combination, ...]
    accuracy: str
    measures: Mapping[str, Measures] = field(default_factory=dict)

    def logits(self, values: NDArray[np.float32]) -> Floats:
        """Vectors [windows, states + words] -> [windows, principles]."""
        found = (self.space.features(values) @ self.weight.T).astype(np.float64) + self.bias
        return in_one(found, len(self.principles))

    def alone(self, logits: Floats) -> Floats:
        """Probabilities by the probe alone; [n, principles] both."""
        scale = np.array([c.alone_scale for c in self.combinations])
        offset = np.array([c.alone_offset for c in self.combinations])
        return sigmoid(logits * scale + offset)

    def combined(self, logits: Floats, evidence: Floats) -> Floats:
        """Probabilities by probe and rules together; [n, principles] all three."""
        probe = np.array([c.probe for c in self.combinations])
        rules = np.array([c.rules for c in self.combinations])
        offset = np.array([c.offset for c in self.combinations])
        return sigmoid(logits * probe + evidence * rules + offset)


@dataclass(frozen=True)
class ProbeSet:
    """Probes that were fitted together.

    Args:
        name: "default" for the shipped ones.
        model: name of the model whose layers are read.
        weights_hash: which weights: the model's `identity`.
        dtype: number format that it was fitted in.
        layers: which layers' states are read.
        probes: "whole", "a", "b".
        twins: member -> one probe a fold, fitted without it.
        places: 8 digits of each fitted text -> the half ("a" or "b") and the fold that it is in.
        facts: everything else of the file: data with licences, strengths, figures.
    """

    name: str
    model: str
    weights_hash: str
    dtype: str
    layers: tuple[int, ...]
    probes: Mapping[str, Probe]
    twins: Mapping[str, tuple[Probe, ...]]
    places: Mapping[str, tuple[str, int]]
    facts: Mapping[str, Any]

    @property
    def principles(self) -> tuple[str, ...]:
        return self.probes["whole"].principles

    @property
    def hash(self) -> str:
        """Twelve digits over the model, layers, data, lines, thresholds."""
        data = json.dumps(self.facts.get("data", []), sort_keys=True)
        whole = hashlib.sha256(f"{self.weights_hash}|{self.layers}|{features.FORMAT}|{data}".encode())
        for member in MEMBERS:
            probe = self.probes[member]
            whole.update(
                probe.space.basis.tobytes()
                + probe.weight.tobytes()
                + probe.bias.tobytes()
                + repr(probe.combinations).encode()
            )
        return whole.hexdigest()[:12]

    def title(self, member: str) -> str:
        """How a member is named in verdicts, such as "probe A of smollm2-135m-instruct"."""
        own = "" if self.name == SHIPPED else f"{self.name}, "
        return f"probe {own}{'on all rows' if member == 'whole' else member.upper()} of {self.model}"

    def fold_of(self, text: str, member: str) -> int | None:
        """The fold of a text that this member was fitted on; None where it was not."""
        half, fold = self.places.get(text_hash(text), ("", None))
        return fold if member in ("whole", half) else None

    def unseen(self, member: str, fold: int | None) -> Probe:
        """The member, or its twin that was fitted without this fold."""
        return self.probes[member] if fold is None else self.twins[member][fold]

    def check_model(self, model: LocalModel) -> None:
        """Refuse to read another model's layers.

        Raises:
            ModelError: the model is not the one that the probes were fitted on.
        """
        if identity(model) != self.weights_hash:
            raise ModelError(
                f"The probes {self.name!r} were fitted on other weights of {self.model}.",
                where=model.name,
                next_step="Fit them again: `redraft judge fit`.",
            )


def in_one(logits: Floats, count: int) -> Floats:
    """What a probe's lines say together, [n, `count` principles]. Where there are two lines a principle they are
    weighed by how much a text is like those that the first was made for, about -1 to 1, which the last line tells.

    Args:
        logits: [n, lines].
    """
    if logits.shape[1] == count:
        return logits
    share = sigmoid(_SHARPNESS * logits[:, -1:])
    return np.asarray(share * logits[:, :count] + (1 - share) * logits[:, count:-1])


def evidence(probabilities: NDArray[np.float64]) -> Floats:
    """The rules' probability as what adds up: -log(1 - p), 0 where nothing matched, 4.6 at most."""
    return np.asarray(-np.log1p(-np.minimum(probabilities, 0.99)))


def identity(model: LocalModel) -> str:
    """Which weights a model has. The embedded one's converted files may differ in their metadata from machine to
    machine, so it is known by the file that it was converted from.

    Raises:
        StorageError: a file of the model is gone.
    """
    from engine.models.hub import catalog, embedded

    return embedded.SHA256 if model.name == catalog.EMBEDDED and model.adapter is None else model.sha256


def write(probes: ProbeSet, folder: Path) -> Path:
    """Write NAME.safetensors and NAME.json; returns the latter's path.

    Raises:
        StorageError: the folder cannot be written.
    """
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    members: dict[str, Any] = {}
    for name in MEMBERS:
        probe = probes.probes[name]
        tensors[f"{name}.mean"], tensors[f"{name}.scale"] = probe.space.mean, probe.space.scale
        tensors[f"{name}.basis"] = np.ascontiguousarray(probe.space.basis.astype(np.float16))
        for key, one in _keyed(name, probe, probes.twins[name]):
            tensors[f"{key}.weight"] = np.ascontiguousarray(one.weight.astype(np.float16))
            tensors[f"{key}.bias"] = np.ascontiguousarray(one.bias)
        members[name] = {
            "accuracy": probe.accuracy,
            "measures": {of: measures.to_data() for of, measures in probe.measures.items()},
            "combinations": _to_data(probe),
            "twins": [_to_data(twin) for twin in probes.twins[name]],
        }
    blob = save(tensors)
    places: dict[str, str] = {}
    for digits, (half, fold) in sorted(probes.places.items()):
        places[f"{half}{fold}"] = places.get(f"{half}{fold}", "") + digits
    document = {
        "name": probes.name,
        "model": probes.model,
        "model_sha256": probes.weights_hash,
        "dtype": probes.dtype,
        "layers": list(probes.layers),
        "format": features.FORMAT,
        "principles": list(probes.principles),
        "weights_sha256": hashlib.sha256(blob).hexdigest(),
        "members": members,
        "places": dict(sorted(places.items())),
        **probes.facts,
    }
    write_atomically(folder / f"{probes.name}.safetensors", blob, 0o644)
    path = folder / f"{probes.name}.json"
    write_atomically(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(), 0o644)
    return path


def folder() -> Path:
    """Where a person's own probes are kept."""
    return paths.data_dir() / "judges"


def load(name: str = SHIPPED) -> ProbeSet:
    """The shipped probes, or a person's own by name or by the path of their JSON file.

    Raises:
        InputError: there are none of this name.
        StorageError: the files are damaged.
    """
    if name == SHIPPED:
        return _shipped()
    if name.endswith(".json"):
        return _read(Path(name).expanduser())
    if name not in names():
        raise InputError(
            f"there are no probes {name!r}.",
            where="--judge",
            next_step=f"There are: {', '.join(names())}. `redraft judge fit DATA --name NAME` makes some.",
        )
    return _read(folder() / f"{name}.json")


def check_name(name: str) -> None:
    """Refuse a name that no probes of a person's own may have.

    Raises:
        InputError: it is empty, taken by a judge that is built in, or no plain file name.
    """
    if name == SHIPPED or name in JUDGES or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise InputError(
            "there is no name." if not name else f"{truncate(sanitize(name), 40)!r} cannot be the name of probes.",
            where="--name",
            next_step="Take lower-case letters, digits, - and _, such as my-rules; no judge that is built in.",
        )


def names() -> list[str]:
    """The shipped set and a person's own."""
    own = sorted(path.stem for path in folder().glob("*.json")) if folder().is_dir() else []
    return [SHIPPED, *own]


@functools.cache
def _shipped() -> ProbeSet:
    with as_file(files("engine.judges") / "data") as place:
        return _read(place / f"{SHIPPED}.json")


def _read(path: Path) -> ProbeSet:
    from safetensors import SafetensorError
    from safetensors.numpy import load as read_tensors

    try:
        document = json.loads(path.read_text("utf-8"))
        blob = path.with_suffix(".safetensors").read_bytes()
        if document["format"] != features.FORMAT:
            raise StorageError(
                "these probes were made by another version of Redraft.",
                where=str(path),
                next_step="Fit them again: `redraft judge fit`.",
            )
        if hashlib.sha256(blob).hexdigest() != document["weights_sha256"]:
            raise ValueError("the weights are not those that the JSON file was written with")
        return _parsed(path.stem, document, read_tensors(blob))
    except OSError as error:
        raise StorageError(f"the probes cannot be read ({error.strerror}).", where=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise StorageError(
            f"the probes are damaged ({' '.join(str(error).split())[:120]}).",
            where=str(path),
            next_step="Fit them again: `redraft judge fit`, or install Redraft again.",
        ) from None


def _keyed(name: str, probe: Probe, twins: Sequence[Probe]) -> Iterator[tuple[str, Probe]]:
    yield name, probe
    for fold, twin in enumerate(twins):
        yield f"{name}.{fold}", twin


def _to_data(probe: Probe) -> dict[str, Any]:
    return {p: vars(c) for p, c in zip(probe.principles, probe.combinations, strict=True)}


def _parsed(name: str, document: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> ProbeSet:
    principles = tuple(str(p) for p in document["principles"])
    probes: dict[str, Probe] = {}
    twins: dict[str, tuple[Probe, ...]] = {}
    for member in MEMBERS:
        entry = document["members"][member]
        space = Space(tensors[f"{member}.mean"], tensors[f"{member}.scale"], _whole(tensors[f"{member}.basis"]))
        plain = _probe(member, principles, space, entry["combinations"], tensors, member)
        probes[member] = replace(
            plain,
            accuracy=str(entry["accuracy"]),
            measures={str(k): Measures.from_data(v) for k, v in entry["measures"].items()},
        )
        twins[member] = tuple(
            _probe(member, principles, space, combinations, tensors, f"{member}.{fold}")
            for fold, combinations in enumerate(entry["twins"])
        )
    known = {"name", "model", "model_sha256", "dtype", "layers", "format", "principles", "weights_sha256", "members"}
    return ProbeSet(
        name=name,
        model=str(document["model"]),
        weights_hash=str(document["model_sha256"]),
        dtype=str(document["dtype"]),
        layers=tuple(int(layer) for layer in document["layers"]),
        probes=probes,
        twins=twins,
        places=_places(document["places"], min(len(t) for t in twins.values())),
        facts={key: value for key, value in document.items() if key not in known | {"places"}},
    )


def _whole(stored: NDArray[Any]) -> NDArray[np.float32]:
    return stored.astype(np.float32)


def _probe(
    name: str,
    principles: tuple[str, ...],
    space: Space,
    combinations: Any,
    tensors: Mapping[str, NDArray[Any]],
    key: str,
) -> Probe:
    weight, bias = tensors[f"{key}.weight"], tensors[f"{key}.bias"]
    count = len(principles)
    if weight.ndim != 2 or len(weight) not in (count, 2 * count + 1) or bias.shape != (len(weight),):
        raise ValueError(f"{key} has the shape {weight.shape} for {len(principles)} principles")
    if len(space.basis) != len(space.mean) or weight.shape[1] != space.size:
        raise ValueError(f"{key} has {weight.shape[1]} features, its space {space.size}")
    return Probe(
        name=name,
        principles=principles,
        space=space,
        weight=_whole(weight),
        bias=bias.astype(np.float64),
        combinations=tuple(Combination(**combinations[p]) for p in principles),
        accuracy="",
    )


def _places(joined: Mapping[str, str], folds: int) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for key, digits in joined.items():
        half, fold = key[0], int(key[1:])
        if half not in "ab" or not 0 <= fold < folds:
            raise ValueError(f"there is no place {key!r}")
        found.update({digits[i : i + 8]: (half, fold) for i in range(0, len(digits), 8)})
    return found
