"""Makes a set of probes from labelled texts and a model: reads the texts, fits, measures what came of it.

Also holds the recipe of the probes that are shipped, so that anyone with the same data gets the same files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.constitution.model import Constitution
from engine.control import Control
from engine.errors import InputError
from engine.judges.base import Judged
from engine.judges.eval.bench import PanelMember
from engine.judges.eval.cache import ALL
from engine.judges.eval.evaluate import Decisions, measure
from engine.judges.eval.metric import Measures
from engine.judges.labeled import OWN, REGISTERS, Labelled, own_examples, own_registers, read_labelled
from engine.judges.panel import Reader
from engine.judges.probe import fit as fitting
from engine.judges.probe.features import Vectors
from engine.judges.probe.probe import MEMBERS, ProbeSet, evidence, identity
from engine.judges.probe.vector_cache import VectorStore
from engine.judges.rules.judge import RulesJudge
from engine.settings import SHIPPED
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.models.local import LocalModel

Told = Callable[[str], None]

LEAST = 20
"""Violations, and clean texts, that a principle needs: fewer would leave folds without any."""

SHIPPED_ON: Mapping[str, str] = {
    "openai_moderation": "MIT",
    "diasafety": "Apache-2.0",
    "halueval_general": "MIT",
    "toxigen_human": "MIT",
    "ec_darkpattern": "Apache-2.0",
}
"""Sets of other people's that the shipped probes are fitted on, with the licence that allows it."""
_OWN_LICENCE = "Apache-2.0 (this project)"

_DEPTHS = (1 / 3, 0.4, 7 / 15, 8 / 15, 0.6, 2 / 3, 11 / 15)
"""Layers that are read where none are named, as parts of the model's depth: the middle knows most."""


@dataclass(frozen=True)
class Recipe:
    """What a set of probes is made of.

    Args:
        name: of the set.
        rows: labelled texts.
        layers: which of the model's are read; () for `middle_layers`.
        licences: set -> licence, for those that are known.
    """

    name: str
    rows: tuple[Labelled, ...]
    layers: tuple[int, ...] = ()
    licences: Mapping[str, str] = dataclasses.field(default_factory=dict)


def shipped_recipe(folder: Path) -> Recipe:
    """The recipe of the shipped probes.

    Args:
        folder: holds the files named in `SHIPPED_ON`, as JSON lines.

    Raises:
        InputError: one is missing or cannot be read.
    """
    files = [folder / f"{name}.jsonl" for name in SHIPPED_ON]
    rows = (*own_examples(), *own_registers(), *read_labelled(files))
    return Recipe(SHIPPED, rows, licences={**SHIPPED_ON, OWN: _OWN_LICENCE, REGISTERS: _OWN_LICENCE})


def make(
    recipe: Recipe,
    model: LocalModel,
    constitution: Constitution,
    control: Control,
    told: Told,
    cache: Path | None = None,
) -> ProbeSet:
    """Fit a set of probes, and measure every member on texts that it was not fitted on.

    Args:
        constitution: whose principles; its rules take part in the panel that is calibrated.
        cache: where the texts' vectors are kept; None for the cache folder.

    Raises:
        InputError: a row names an unknown principle, a layer does not exist, or no principle has enough rows.
        Stopped: where `control` asks for it; what was read is kept.
    """
    layers = recipe.layers or middle_layers(model.decoder.config.num_layers)
    _check_layers(layers, model)
    labelled = _once(recipe.rows)
    principles = _principles(labelled, constitution, told)
    store = VectorStore(model, layers, cache)
    texts = [Judged(str(number), row.text, row.prompt) for number, row in enumerate(labelled)]
    told(f"reading {len(texts):,} texts with {model.name} …")
    read = store.read(texts, control, lambda done, total: told(f"read {done:,} of {total:,} texts"))
    rules = RulesJudge(constitution)
    said = [rules.verdict(text).principles for text in texts]
    halves, folds = fitting.divide(labelled)
    told("fitting …")
    rows = fitting.Rows(
        labelled=labelled,
        values=_one_each(read, len(texts)),
        evidence=evidence(np.array([[found[p] for p in principles] for found in said])),
        principles=principles,
        halves=halves,
        folds=folds,
    )
    probes, twins = fitting.fit_members(rows)
    made = ProbeSet(
        name=recipe.name,
        model=model.name,
        weights_hash=identity(model),
        dtype=model.dtype,
        layers=tuple(layers),
        probes=probes,
        twins=twins,
        places={r.hash: (fitting.HALVES[h], int(f)) for r, h, f in zip(labelled, halves, folds, strict=True)},
        facts={"data": _data(labelled, recipe.licences)},
    )
    told("measuring …")

    def reader(asked: Sequence[Judged], control: Control) -> Vectors:
        return store.read(asked, control)

    return _measured(made, labelled, constitution, reader, control)


def middle_layers(depth: int) -> tuple[int, ...]:
    """The layers that are read where none are named, of a model with `depth` of them."""
    return tuple(sorted({max(1, round(depth * part)) for part in _DEPTHS}))


def _measured(
    made: ProbeSet, labelled: Sequence[Labelled], constitution: Constitution, read: Reader, control: Control
) -> ProbeSet:
    probes = {}
    keys = [str(number) for number in range(len(labelled))]
    texts = [Judged(key, row.text, row.prompt) for key, row in zip(keys, labelled, strict=True)]
    sets = np.array([row.set for row in labelled])
    for member in MEMBERS:
        verdicts = PanelMember(constitution, made, member, read).judge(texts, control)
        said = Decisions.of(verdicts, keys)
        measures: dict[str, Measures] = {}
        for name in dict.fromkeys(sets.tolist()):
            part = sets == name
            measures[name] = measure(
                [row for row, wanted in zip(labelled, part, strict=True) if wanted], said.only(part)
            )
        measures[ALL] = measure(labelled, said)
        probes[member] = dataclasses.replace(made.probes[member], measures=measures, accuracy=sentence(measures))
    return dataclasses.replace(made, probes=probes)


def sentence(measures: Mapping[str, Measures]) -> str:
    """How well a panel tells violations, for people: on the project's examples where it was measured there."""
    name = OWN if OWN in measures else ALL
    kind = "of the project's own texts" if name == OWN else "labelled texts"
    return f"AUROC {measures[name]['auroc']} on {measures[name].texts:,} {kind}, none of them fitted on"


def _once(rows: Sequence[Labelled]) -> tuple[Labelled, ...]:
    """Each text with its prompt once; the first row of several that are the same counts."""
    kept: dict[tuple[str, str], Labelled] = {}
    for row in rows:
        kept.setdefault((row.hash, " ".join(row.prompt.split())), row)
    return tuple(kept.values())


def _principles(rows: Sequence[Labelled], constitution: Constitution, told: Told) -> tuple[str, ...]:
    """The principles of the constitution that have enough rows; the others are left to their rules."""
    known = ", ".join(constitution.ids)
    for row in rows:
        if row.principle not in constitution.ids:
            named = "names no principle" if not row.principle else f"names {truncate(sanitize(row.principle), 40)!r}"
            raise InputError(
                f"the row {truncate(sanitize(row.id), 40)} {named}; the constitution has {known}.",
                where=f"{row.set}, field 'principle'",
                next_step="Name one of them, or give one for all rows with --principle.",
            )
    counts = Counter((row.principle, row.label) for row in rows)
    enough = tuple(p for p in constitution.ids if min(counts[p, True], counts[p, False]) >= LEAST)
    for p in constitution.ids:
        if p not in enough and (counts[p, True] or counts[p, False]):
            told(f"{p} has {counts[p, True]} violations and {counts[p, False]} clean texts: its rules judge alone.")
    if not enough:
        raise InputError(
            f"no principle has {LEAST} violations and {LEAST} clean texts.",
            where="DATA",
            next_step="Label more texts; 100 of each make a useful probe.",
        )
    return enough


def _check_layers(layers: Sequence[int], model: LocalModel) -> None:
    depth = model.decoder.config.num_layers
    for layer in layers:
        if not 0 <= layer <= depth:
            raise InputError(
                f"there is no layer {layer}; {model.name} has 0 (embedding) to {depth}.",
                where="--layer",
                next_step=f"Leave it out for {', '.join(map(str, middle_layers(depth)))}.",
            )


def _one_each(read: Vectors, count: int) -> fitting.Singles:
    """One vector a text: the mean of its windows'."""
    sums = np.zeros((count, read.values.shape[1]), dtype=np.float32)
    np.add.at(sums, read.owner, read.values)
    return sums / np.bincount(read.owner, minlength=count).astype(np.float32)[:, None]


def _data(rows: Sequence[Labelled], licences: Mapping[str, str]) -> list[dict[str, Any]]:
    """Which sets, how many rows, which licence, and a hash over the rows' texts, labels and principles."""
    found = []
    for name in dict.fromkeys(row.set for row in rows):
        part = [[row.text, row.prompt, row.label, row.principle] for row in rows if row.set == name]
        digest = hashlib.sha256(json.dumps(part, ensure_ascii=True).encode()).hexdigest()
        entry = {"set": name, "rows": len(part), "sha256": digest}
        found.append(entry | ({"licence": licences[name]} if name in licences else {}))
    return found
