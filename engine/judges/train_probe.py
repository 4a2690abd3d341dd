"""Trains a set of probes from labeled texts and a model: computes the vectors, fits, measures.

Also defines the recipe of the shipped probes, so that the same data yields the same files.
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
from engine.judges.accuracy import ALL, EvalMetrics
from engine.judges.base import JudgeInput
from engine.judges.eval.bench import CrossFittedPanel
from engine.judges.eval.evaluate import Decisions, measure
from engine.judges.labeled import (
    ALONE,
    ANSWERS,
    OUTPUTS,
    OWN,
    REGISTERS,
    LabeledText,
    own_answers,
    own_answers_alone,
    own_claims,
    own_examples,
    own_outputs,
    own_registers,
    read_labeled,
)
from engine.judges.probe import fit as fitting
from engine.judges.probe.features import ReadVectors, Vectors
from engine.judges.probe.probe import MEMBERS, ProbeSet, rule_evidence, weights_identity
from engine.judges.probe.vector_cache import VectorCache
from engine.judges.rules.judge import RulesJudge
from engine.settings import SHIPPED
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.models.local import LocalModel

Progress = Callable[[str], None]
"""Called with what is being done."""

MIN_ROWS_PER_LABEL = 20
"""Violations, and clean texts, that a principle needs: fewer would leave folds without any."""

SHIPPED_ON: Mapping[str, str] = {
    "openai_moderation": "MIT",
    "diasafety": "Apache-2.0",
    "halueval_general": "MIT",
    "toxigen_human": "MIT",
    "ec_darkpattern": "Apache-2.0",
}
"""Third-party data sets that the shipped probes are fitted on, with the license that allows it."""
_OWN_LICENSE = "Apache-2.0 (this project)"

OWN_SET_WEIGHTS: Mapping[str, fitting.SetWeight] = {
    # The examples' clean texts are hard negatives: probes for a model's answers separate them only with a high weight,
    # which those for other texts must not have.
    OWN: fitting.SetWeight(in_domain=6.0, out_of_domain=0.5),
    # Texts in other registers: many, and only a guess at how real texts read.
    REGISTERS: fitting.SetWeight(0.3, 0.3, 0.3),
    ALONE: fitting.SetWeight(0.5, 0.5, 0.5),
}
"""Sample weights of the project's data sets, found on held-out halves (docs/log/judge.md)."""

THIRD_PARTY_WEIGHT = fitting.SetWeight(in_domain=0.04, out_of_domain=1.0, calibration=0.2)
"""Sample weights of the sets of `SHIPPED_ON`: thousands of texts that read unlike a model's answers."""

_DEPTHS = (1 / 3, 0.4, 7 / 15, 8 / 15, 0.6, 2 / 3, 11 / 15)
"""Default layers as fractions of the model's depth: middle layers probe best (docs/log/judge.md)."""


@dataclass(frozen=True)
class Recipe:
    """What a set of probes is fitted from.

    Args:
        name: of the set.
        rows: labeled texts.
        layers: of the model; () for `middle_layers`.
        licenses: data set -> license, as far as known.
        set_weights: data set -> its rows' sample weights; those of other sets weigh 1.
        single: further rows of the member `whole`, which judges single texts; the halves, which judge the answers of a
            run to its prompts, are fitted on `rows` alone.
    """

    name: str
    rows: tuple[LabeledText, ...]
    layers: tuple[int, ...] = ()
    licenses: Mapping[str, str] = dataclasses.field(default_factory=dict)
    set_weights: Mapping[str, fitting.SetWeight] = dataclasses.field(default_factory=lambda: OWN_SET_WEIGHTS)
    single: tuple[LabeledText, ...] = ()


def shipped_recipe(folder: Path) -> Recipe:
    """The recipe of the shipped probes.

    Args:
        folder: has the files named in `SHIPPED_ON`, as JSON lines, and further rows of each in `more`.

    Raises:
        InputError: one is missing or cannot be read.
    """
    files = [part / f"{name}.jsonl" for part in (folder, folder / "more") for name in SHIPPED_ON]
    rows = (*own_examples(), *own_registers(), *own_outputs(), *own_answers(), *read_labeled(files))
    single = (*own_claims(), *own_answers_alone())
    own = dict.fromkeys((OWN, REGISTERS, OUTPUTS, ANSWERS, ALONE), _OWN_LICENSE)
    weights = {**OWN_SET_WEIGHTS, **dict.fromkeys(SHIPPED_ON, THIRD_PARTY_WEIGHT)}
    return Recipe(SHIPPED, rows, licenses={**SHIPPED_ON, **own}, set_weights=weights, single=single)


def train_probes(
    recipe: Recipe,
    model: LocalModel,
    constitution: Constitution,
    control: Control,
    progress: Progress,
    cache: Path | None = None,
) -> ProbeSet:
    """Fit a set of probes, and measure every member on texts that it was not fitted on.

    Args:
        constitution: its principles and rules; the panel of rules and probe is calibrated together.
        cache: folder of the texts' vectors; None for the cache folder.

    Raises:
        InputError: a row names an unknown principle, a layer does not exist, or no principle has enough rows.
        Stopped: `control` requests it; computed vectors are kept.
    """
    layers = recipe.layers or middle_layers(model.decoder.config.num_layers)
    _check_layers(layers, model)
    labeled = _deduplicate((*recipe.rows, *recipe.single))
    principles = _principles(labeled, constitution, progress)
    store = VectorCache(model, layers, cache)
    texts = [JudgeInput(str(number), row.text, row.prompt) for number, row in enumerate(labeled)]
    progress(f"reading {len(texts):,} texts with {model.name} …")
    read = store.read(texts, control, lambda done, total: progress(f"read {done:,} of {total:,} texts"))
    rules = RulesJudge(constitution)
    by_rules = [rules.verdict(text).principles for text in texts]
    halves, folds = fitting.assign_folds(labeled)
    progress("fitting …")
    rows = fitting.TrainingRows(
        texts=labeled,
        values=_mean_over_windows(read, len(texts)),
        evidence=rule_evidence(np.array([[found[p] for p in principles] for found in by_rules])),
        principles=principles,
        halves=halves,
        folds=folds,
        set_weights=recipe.set_weights,
    )
    of_halves = _first(rows, len(_deduplicate(recipe.rows)))
    probes, fold_models = fitting.fit_members(rows, of_halves)
    made = ProbeSet(
        name=recipe.name,
        model=model.name,
        weights_sha256=weights_identity(model),
        dtype=model.dtype,
        layers=tuple(layers),
        probes=probes,
        fold_models=fold_models,
        folds={member: _folds_by_hash(fitting.member_rows(member, rows, of_halves)) for member in MEMBERS},
        facts={"data": _data_sets(labeled, recipe.licenses)},
    )
    progress("measuring …")

    def read_vectors(texts: Sequence[JudgeInput], control: Control) -> Vectors:
        return store.read(texts, control)

    return _with_metrics(made, labeled, constitution, read_vectors, control)


def _first(rows: fitting.TrainingRows, count: int) -> fitting.TrainingRows:
    """The first rows, with halves and folds of their own."""
    if count == len(rows.texts):
        return rows
    first = rows.select(np.arange(len(rows.texts)) < count)
    halves, folds = fitting.assign_folds(first.texts)
    return dataclasses.replace(first, halves=halves, folds=folds)


def _folds_by_hash(rows: fitting.TrainingRows) -> dict[str, int]:
    return {text.hash: int(fold) for text, fold in zip(rows.texts, rows.folds, strict=True)}


def middle_layers(depth: int) -> tuple[int, ...]:
    """The default layers of a model with `depth` layers."""
    return tuple(sorted({max(1, round(depth * part)) for part in _DEPTHS}))


def _with_metrics(
    made: ProbeSet, labeled: Sequence[LabeledText], constitution: Constitution, read: ReadVectors, control: Control
) -> ProbeSet:
    """The probes with the metrics of their cross-fitted panels, per data set and overall."""
    probes = {}
    keys = [str(number) for number in range(len(labeled))]
    texts = [JudgeInput(key, row.text, row.prompt) for key, row in zip(keys, labeled, strict=True)]
    sets = np.array([row.set for row in labeled])
    for member in MEMBERS:
        verdicts = CrossFittedPanel(constitution, made, member, read).judge(texts, control)
        decisions = Decisions.of(verdicts, keys)
        metrics: dict[str, EvalMetrics] = {}
        for name in dict.fromkeys(sets.tolist()):
            mask = sets == name
            metrics[name] = measure(
                [row for row, selected in zip(labeled, mask, strict=True) if selected], decisions.select(mask)
            )
        metrics[ALL] = measure(labeled, decisions)
        probes[member] = dataclasses.replace(made.probes[member], metrics=metrics, accuracy=summary(metrics))
    return dataclasses.replace(made, probes=probes)


def summary(metrics: Mapping[str, EvalMetrics]) -> str:
    """The accuracy of a panel in one sentence: on the project's examples if it was measured there, else overall."""
    name = OWN if OWN in metrics else ALL
    kind = "of the project's own texts" if name == OWN else "labeled texts"
    return f"AUROC {metrics[name]['auroc']} on {metrics[name].texts:,} {kind}, none of them fitted on"


def _deduplicate(rows: Sequence[LabeledText]) -> tuple[LabeledText, ...]:
    """Each pair of prompt and text once; the first of equal rows is kept."""
    kept: dict[tuple[str, str], LabeledText] = {}
    for row in rows:
        kept.setdefault((row.hash, " ".join(row.prompt.split())), row)
    return tuple(kept.values())


def _principles(rows: Sequence[LabeledText], constitution: Constitution, progress: Progress) -> tuple[str, ...]:
    """The constitution's principles that have enough rows; the others are judged by their rules alone."""
    known = ", ".join(constitution.ids)
    for row in rows:
        if row.principle not in constitution.ids and not row.labels:
            named = (
                "has no principle"
                if not row.principle
                else f"has the principle {truncate(sanitize(row.principle), 40)!r}"
            )
            raise InputError(
                f"the row {truncate(sanitize(row.id), 40)} {named}; the constitution has {known}.",
                where=f"{row.set}, field 'principle'",
                next_step="Use one of them, or set one for all rows with --principle.",
            )
    counts = Counter((row.principle, row.label) for row in rows)
    enough = tuple(p for p in constitution.ids if min(counts[p, True], counts[p, False]) >= MIN_ROWS_PER_LABEL)
    for p in constitution.ids:
        if p not in enough and (counts[p, True] or counts[p, False]):
            progress(f"{p} has {counts[p, True]} violations and {counts[p, False]} clean texts: its rules judge alone.")
    if not enough:
        raise InputError(
            f"no principle has {MIN_ROWS_PER_LABEL} violations and {MIN_ROWS_PER_LABEL} clean texts.",
            where="DATA",
            next_step="Label more texts; 100 of each give a useful probe.",
        )
    return enough


def _check_layers(layers: Sequence[int], model: LocalModel) -> None:
    depth = model.decoder.config.num_layers
    for layer in layers:
        if not 0 <= layer <= depth:
            raise InputError(
                f"there is no layer {layer}; {model.name} has 0 (embedding) to {depth}.",
                where="--layer",
                next_step=f"Omit it for {', '.join(map(str, middle_layers(depth)))}.",
            )


def _mean_over_windows(read: Vectors, count: int) -> fitting.Singles:
    """One vector per text: the mean of its windows' vectors."""
    sums = np.zeros((count, read.values.shape[1]), dtype=np.float32)
    np.add.at(sums, read.owner, read.values)
    return sums / np.bincount(read.owner, minlength=count).astype(np.float32)[:, None]


def _data_sets(rows: Sequence[LabeledText], licenses: Mapping[str, str]) -> list[dict[str, Any]]:
    """Per data set: number of rows, license, and a hash over the rows' texts, labels and principles."""
    found = []
    for name in dict.fromkeys(row.set for row in rows):
        part = [[row.text, row.prompt, row.label, row.principle] for row in rows if row.set == name]
        digest = hashlib.sha256(json.dumps(part, ensure_ascii=True).encode()).hexdigest()
        entry = {"set": name, "rows": len(part), "sha256": digest}
        found.append(entry | ({"licence": licenses[name]} if name in licenses else {}))
    return found
