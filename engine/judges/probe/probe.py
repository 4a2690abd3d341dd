"""Linear probes on a model's hidden states and n-grams, and their files.

A set has three members, fitted on the same model and layers: "whole" on all rows, for single verdicts; "a" and "b" on
halves that share no row and no topic, so that one can select training pairs and the other judge the comparison. Each
comes with fold models (cross-fitting), fitted without one fold of its rows: they judge the texts that the member was
fitted on. Files: weights as safetensors, everything else as JSON. Knows nothing of rules' patterns.
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
from engine.files import expanded, write_atomically
from engine.judges.accuracy import EvalMetrics
from engine.judges.labeled import text_hash
from engine.judges.probe import features
from engine.judges.probe.calibrate import sigmoid
from engine.judges.probe.feature_map import FeatureMap
from engine.settings import JUDGES, SHIPPED
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.models.local import LocalModel

MEMBERS = ("whole", "a", "b")
_DOMAIN_SHARPNESS = 4.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Calibration and thresholds of one principle, fitted on out-of-fold logits.

    Args:
        probe, rules, offset: the logit is probe * (the probe's logit) + rules * (the rules' evidence) + offset.
        alone_scale, alone_offset: the same without rules, for principles that have none (Platt scaling).
        threshold: probability from which the principle counts as broken.
        low: lower end of the abstain band; from there up to the threshold there is no verdict unless a rule matches.
    """

    probe: float
    rules: float
    offset: float
    alone_scale: float
    alone_offset: float
    threshold: float
    low: float


@dataclass(frozen=True)
class QualityCalibration:
    """Platt scaling of the quality probe: the probability that a text is not an answer (off topic or degenerate)."""

    scale: float
    offset: float


@dataclass(frozen=True)
class Probe:
    """One member of a set.

    Args:
        feature_map: computes the features of a vector.
        weight: [principles, features]; or [2 * principles + 1, features]: in-domain rows (texts like the project's
            examples), out-of-domain rows, and the domain probe's row. With `quality`, one more row at the end.
        bias: one per row of `weight`.
        calibrations: one per principle.
        accuracy: of the panel with this member on texts it was not fitted on, as a sentence.
        metrics: the same as numbers: data set ("own" for the project's, "all" for all together) -> metrics.
        quality: calibration of the quality probe; None where there is none.
    """

    name: str
    principles: tuple[str, ...]
    feature_map: FeatureMap
    weight: NDArray[np.float32]
    bias: Floats
    calibrations: tuple[Calibration, ...]
    accuracy: str
    metrics: Mapping[str, EvalMetrics] = field(default_factory=dict)
    quality: QualityCalibration | None = None

    def logits(self, values: NDArray[np.float32]) -> Floats:
        """Vectors [windows, states + n-grams] -> [windows, principles]."""
        return self.outputs(values)[:, : len(self.principles)]

    def outputs(self, values: NDArray[np.float32]) -> Floats:
        """Vectors [windows, states + n-grams] -> [windows, principles], or [windows, principles + 1] with the quality
        probe's output last."""
        outputs = (self.feature_map.features(values) @ self.weight.T).astype(np.float64) + self.bias
        if self.quality is None:
            return mix_domains(outputs, len(self.principles))
        return np.concatenate([mix_domains(outputs[:, :-1], len(self.principles)), outputs[:, -1:]], 1)

    def unusable(self, output: float) -> float:
        """Probability that a text is not an answer, from the quality probe's output; 0 where there is none."""
        if self.quality is None:
            return 0.0
        return float(sigmoid(np.array([self.quality.scale * output + self.quality.offset]))[0])

    def alone(self, logits: Floats) -> Floats:
        """Probabilities by the probe alone; [n, principles] both."""
        scale = np.array([c.alone_scale for c in self.calibrations])
        offset = np.array([c.alone_offset for c in self.calibrations])
        return sigmoid(logits * scale + offset)

    def combined(self, logits: Floats, evidence: Floats) -> Floats:
        """Probabilities by probe and rules together; [n, principles] all three."""
        probe = np.array([c.probe for c in self.calibrations])
        rules = np.array([c.rules for c in self.calibrations])
        offset = np.array([c.offset for c in self.calibrations])
        return sigmoid(logits * probe + evidence * rules + offset)


@dataclass(frozen=True)
class ProbeSet:
    """A set of probes that were fitted together.

    Args:
        name: "default" for the shipped ones.
        model: name of the model whose hidden states are read.
        weights_sha256: identity of its weights (`weights_identity`).
        dtype: of the model when the probes were fitted.
        layers: whose hidden states are read.
        probes: member ("whole", "a", "b") -> probe.
        fold_models: member -> one probe per fold, fitted without it.
        folds: member -> hash of each text that it was fitted on -> its fold.
        facts: everything else in the file: data sets with licenses.
    """

    name: str
    model: str
    weights_sha256: str
    dtype: str
    layers: tuple[int, ...]
    probes: Mapping[str, Probe]
    fold_models: Mapping[str, tuple[Probe, ...]]
    folds: Mapping[str, Mapping[str, int]]
    facts: Mapping[str, Any]

    @property
    def principles(self) -> tuple[str, ...]:
        return self.probes["whole"].principles

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits over model, layers, data, weights and calibrations."""
        data = json.dumps(self.facts.get("data", []), sort_keys=True)
        whole = hashlib.sha256(f"{self.weights_sha256}|{self.layers}|{features.FORMAT}|{data}".encode())
        for member in MEMBERS:
            probe = self.probes[member]
            whole.update(
                probe.feature_map.basis.tobytes()
                + probe.weight.tobytes()
                + probe.bias.tobytes()
                # The class was called Combination when the first probes were fitted: they keep their hash.
                + repr(probe.calibrations).replace("Calibration(", "Combination(").encode()
            )
            if probe.quality is not None:
                whole.update(repr(probe.quality).encode())
        return whole.hexdigest()[:12]

    def title(self, member: str) -> str:
        """Display name of a member in verdicts, such as "probe A of smollm2-135m-instruct"."""
        own = "" if self.name == SHIPPED else f"{self.name}, "
        return f"probe {own}{'on all rows' if member == 'whole' else member.upper()} of {self.model}"

    def fold_of(self, text: str, member: str) -> int | None:
        """The fold of a text that this member was fitted on; None if it was not."""
        return self.folds[member].get(text_hash(text))

    def unseen(self, member: str, fold: int | None) -> Probe:
        """The member, or its fold model that was fitted without this fold."""
        return self.probes[member] if fold is None else self.fold_models[member][fold]

    def check_model(self, model: LocalModel) -> None:
        """Refuse another model's hidden states.

        Raises:
            ModelError: the model is not the one that the probes were fitted on.
        """
        if weights_identity(model) != self.weights_sha256:
            raise ModelError(
                f"The probes {self.name!r} were fitted on other weights of {self.model}.",
                where=model.name,
                next_step="Fit them again: `redraft judge fit`.",
            )


def mix_domains(logits: Floats, count: int) -> Floats:
    """Logits [n, `count` principles] of a probe's outputs. In-domain and out-of-domain outputs are mixed by the domain
    probe's output (about -1 to 1) as a gate.

    Args:
        logits: [n, `count`], or [n, 2 * `count` + 1]: in-domain, out-of-domain, domain.
    """
    if logits.shape[1] == count:
        return logits
    share = sigmoid(_DOMAIN_SHARPNESS * logits[:, -1:])
    return np.asarray(share * logits[:, :count] + (1 - share) * logits[:, count:-1])


def rule_evidence(probabilities: NDArray[np.float64]) -> Floats:
    """The rules' probability as additive evidence: -log(1 - p), from 0 (no match) to 4.6."""
    return np.asarray(-np.log1p(-np.minimum(probabilities, 0.99)))


def weights_identity(model: LocalModel) -> str:
    """Identity of a model's weights. The converted files of the embedded model may differ in their metadata between
    machines, so it is identified by the file that it was converted from.

    Raises:
        StorageError: a file of the model is missing.
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
        tensors[f"{name}.mean"], tensors[f"{name}.scale"] = probe.feature_map.mean, probe.feature_map.scale
        tensors[f"{name}.basis"] = np.ascontiguousarray(probe.feature_map.basis.astype(np.float16))
        for key, one in _keyed(name, probe, probes.fold_models[name]):
            tensors[f"{key}.weight"] = np.ascontiguousarray(one.weight.astype(np.float16))
            tensors[f"{key}.bias"] = np.ascontiguousarray(one.bias)
        members[name] = {
            "accuracy": probe.accuracy,
            "measures": {of: metrics.to_data() for of, metrics in probe.metrics.items()},
            "combinations": _to_data(probe),
            "twins": [_to_data(fold_model) for fold_model in probes.fold_models[name]],
            "quality": [None if p.quality is None else vars(p.quality) for p in (probe, *probes.fold_models[name])],
        }
    blob = save(tensors)
    places: dict[str, str] = {}
    for member, folds in probes.folds.items():
        for digits, fold in sorted(folds.items()):
            places[f"{member}{fold}"] = places.get(f"{member}{fold}", "") + digits
    document = {
        "name": probes.name,
        "model": probes.model,
        "model_sha256": probes.weights_sha256,
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
    """Where the user's own probes are stored."""
    return paths.data_dir() / "judges"


def load(name: str = SHIPPED) -> ProbeSet:
    """The shipped probes, or the user's own, by name or by the path of their JSON file.

    Raises:
        InputError: there are no probes of this name.
        StorageError: the files are damaged.
    """
    if name == SHIPPED:
        return _shipped()
    if name.endswith(".json"):
        return _read(expanded(name))
    if name not in names():
        raise InputError(
            f"there are no probes {name!r}.",
            where="--judge",
            next_step=f"Choose one of: {', '.join(names())}. `redraft judge fit DATA --name NAME` fits new ones.",
        )
    return _read(folder() / f"{name}.json")


def check_name(name: str) -> None:
    """Validate the name of the user's own probes.

    Raises:
        InputError: it is empty, the name of a built-in judge, or not a plain file name.
    """
    if name == SHIPPED or name in JUDGES or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise InputError(
            "there is no name." if not name else f"{truncate(sanitize(name), 40)!r} cannot be the name of probes.",
            where="--name",
            next_step="Use lowercase letters, digits, - and _, such as my-rules; not the name of a built-in judge.",
        )


def names() -> list[str]:
    """The shipped set and the user's own."""
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
                "these probes are from another version of Redraft.",
                where=str(path),
                next_step="Fit them again: `redraft judge fit`.",
            )
        if hashlib.sha256(blob).hexdigest() != document["weights_sha256"]:
            raise ValueError("the weights do not match the JSON file")
        return _parsed(path.stem, document, read_tensors(blob))
    except OSError as error:
        raise StorageError(f"the probes cannot be read ({error.strerror}).", where=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise StorageError(
            f"the probes are damaged ({' '.join(str(error).split())[:120]}).",
            where=str(path),
            next_step="Fit them again: `redraft judge fit`, or install Redraft again.",
        ) from None


def _keyed(name: str, probe: Probe, fold_models: Sequence[Probe]) -> Iterator[tuple[str, Probe]]:
    yield name, probe
    for fold, fold_model in enumerate(fold_models):
        yield f"{name}.{fold}", fold_model


def _to_data(probe: Probe) -> dict[str, Any]:
    return {p: vars(c) for p, c in zip(probe.principles, probe.calibrations, strict=True)}


def _parsed(name: str, document: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> ProbeSet:
    principles = tuple(str(p) for p in document["principles"])
    probes: dict[str, Probe] = {}
    fold_models: dict[str, tuple[Probe, ...]] = {}
    for member in MEMBERS:
        entry = document["members"][member]
        feature_map = FeatureMap(
            tensors[f"{member}.mean"], tensors[f"{member}.scale"], _float32(tensors[f"{member}.basis"])
        )
        qualities = [None if q is None else QualityCalibration(**q) for q in entry.get("quality") or ()]
        qualities = qualities or [None] * (len(entry["twins"]) + 1)
        plain = _probe(member, principles, feature_map, entry["combinations"], tensors, member, qualities[0])
        probes[member] = replace(
            plain,
            accuracy=str(entry["accuracy"]),
            metrics={str(k): EvalMetrics.from_data(v) for k, v in entry["measures"].items()},
        )
        fold_models[member] = tuple(
            _probe(member, principles, feature_map, calibrations, tensors, f"{member}.{fold}", quality)
            for fold, (calibrations, quality) in enumerate(zip(entry["twins"], qualities[1:], strict=True))
        )
    known = {"name", "model", "model_sha256", "dtype", "layers", "format", "principles", "weights_sha256", "members"}
    return ProbeSet(
        name=name,
        model=str(document["model"]),
        weights_sha256=str(document["model_sha256"]),
        dtype=str(document["dtype"]),
        layers=tuple(int(layer) for layer in document["layers"]),
        probes=probes,
        fold_models=fold_models,
        folds=_folds(document["places"], min(map(len, fold_models.values()))),
        facts={key: value for key, value in document.items() if key not in known | {"places"}},
    )


def _float32(stored: NDArray[Any]) -> NDArray[np.float32]:
    return stored.astype(np.float32)


def _probe(
    name: str,
    principles: tuple[str, ...],
    feature_map: FeatureMap,
    calibrations: Any,
    tensors: Mapping[str, NDArray[Any]],
    key: str,
    quality: QualityCalibration | None,
) -> Probe:
    weight, bias = tensors[f"{key}.weight"], tensors[f"{key}.bias"]
    count, more = len(principles), quality is not None
    if weight.ndim != 2 or len(weight) not in (count + more, 2 * count + 1 + more) or bias.shape != (len(weight),):
        raise ValueError(f"{key} has the shape {weight.shape} for {len(principles)} principles")
    if len(feature_map.basis) != len(feature_map.mean) or weight.shape[1] != feature_map.n_features:
        raise ValueError(f"{key} has {weight.shape[1]} features, its feature map {feature_map.n_features}")
    return Probe(
        name=name,
        principles=principles,
        feature_map=feature_map,
        weight=_float32(weight),
        bias=bias.astype(np.float64),
        calibrations=tuple(Calibration(**calibrations[p]) for p in principles),
        accuracy="",
        quality=quality,
    )


def _folds(joined: Mapping[str, str], count: int) -> dict[str, dict[str, int]]:
    """The folds of a file's "places". Files of before have those of the halves alone, which were all rows together."""
    found: dict[str, dict[str, int]] = {member: {} for member in MEMBERS}
    for key, digits in joined.items():
        member, fold = key[:-1], int(key[-1:])
        if member not in found or not 0 <= fold < count:
            raise ValueError(f"there is no fold {key!r}")
        found[member].update({digits[i : i + 8]: fold for i in range(0, len(digits), 8)})
    if not found["whole"]:
        found["whole"] = {digits: fold for half in ("a", "b") for digits, fold in found[half].items()}
    return found
