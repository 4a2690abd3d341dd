"""The inputs of a run, loaded and checked before its first stage: constitution and prompts; hashes and versions."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from engine.constitution.load import load, load_default
from engine.constitution.model import Constitution
from engine.cores import usable
from engine.errors import InputError, ModelError
from engine.files import expanded
from engine.judges.rules.matching import failed_examples
from engine.pipeline.checkpoint_model import run_of
from engine.pipeline.context import Prompts
from engine.prompts.duplicates import shared
from engine.prompts.hub_datasets import is_dataset
from engine.prompts.hub_datasets import parse as parse_dataset
from engine.prompts.load import Prompt, PromptSet, counted, load_builtin, overlap
from engine.prompts.load import load_prompts as load_prompt_file
from engine.prompts.pairs import load_pairs
from engine.prompts.preview import parse_columns
from engine.runs.journal_reader import JOURNAL, read
from engine.settings import FILES, RunConfig, for_pairs
from engine.text import sanitize

if TYPE_CHECKING:
    from engine.models.local import LocalModel

Progress = Callable[[float, str], None]
Load = Callable[[str], "LocalModel"]

_LOCAL_MODELS = ("folder", "gguf", "adapter", "checkpoint")
"""Kinds of models that are named by a path."""
_VERSIONS = ("redraft", "torch", "transformers", "accelerate", "safetensors", "tokenizers", "numpy", "textual")


def load_constitution(config: RunConfig) -> Constitution:
    """The constitution that the settings name.

    Raises:
        InputError: the file cannot be used; names line and field.
    """
    return load(expanded(config.constitution), failed_examples) if config.constitution else load_default()


def load_prompts(config: RunConfig) -> Prompts:
    """The prompts that the settings name, each once; none is both trained on and compared on.

    Exact and near duplicates within a set are used once (`config.deduplicate`). A training prompt that equals a
    compared one is refused, as the user has to decide which set it belongs to; one that is only a near duplicate is
    left out with a notice.

    Raises:
        InputError: a file cannot be used, or the sets share a prompt.
    """
    columns = parse_columns(config.column_map)
    given = load_pairs(expanded(config.pairs), columns=columns) if config.pairs else None
    n_train = 0 if config.against else config.n_train
    sets = {
        "train": given.prompts if given else _prompts(config, config.train_prompts, "train", n_train, columns),
        "heldout": _prompts(config, config.heldout_prompts, "heldout", config.n_heldout, columns),
        "benign": _prompts(config, config.benign_prompts, "benign", config.n_benign, columns),
    }
    notices = list(dict.fromkeys(notice for found in sets.values() if found for notice in found.notices))
    heldout = sets["heldout"].first(config.n_heldout).prompts if sets["heldout"] else ()
    benign = sets["benign"].first(config.n_benign).prompts if sets["benign"] else ()
    benign = _without_shared(benign, heldout, "benign", "held-out", notices)
    trained = _trained_prompts(config)
    for run, prompts in trained.items():
        heldout = _without_shared(heldout, prompts, "held-out", f"{run}'s training", notices)
        benign = _without_shared(benign, prompts, "benign", f"{run}'s training", notices)
    train = sets["train"].prompts if sets["train"] else ()
    _refuse_overlap(train[: config.n_train], heldout, benign, config)
    given_any = bool(train)
    train = _without_shared(train, (*heldout, *benign), "training", "compared", notices)[: config.n_train]
    _refuse_empty(config, train, heldout, given_any)
    pairs = {prompt.id: given.pairs[prompt.id] for prompt in train} if given else {}
    train, heldout, benign = (
        tuple(prompt.with_system(sanitize(config.system)) for prompt in one) for one in (train, heldout, benign)
    )
    return Prompts(train, heldout, benign, tuple(notices), pairs, tuple(trained))


def _refuse_empty(config: RunConfig, train: Sequence[Prompt], heldout: Sequence[Prompt], given_any: bool) -> None:
    if given_any and not train:
        raise InputError(
            "every training prompt is a near duplicate of a compared one.",
            where=config.pairs or config.train_prompts or "built-in prompts",
            next_step="Train on other prompts: a comparison on trained prompts proves nothing.",
        )
    if not train and not config.against:
        raise InputError("there is no prompt to train on.", where="--n-train", next_step="Use at least 1.")
    if not heldout:
        raise InputError("there is no held-out prompt to compare on.", where="--n-heldout", next_step="Use at least 1.")


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The settings with the paths of files and of models written out, so that the run resumes from any folder."""
    from engine.models.hub import catalog

    changed: dict[str, Any] = {name: _absolute(getattr(config, name)) for name in FILES if getattr(config, name)}
    for name in ("generator", "against", "critic"):
        with contextlib.suppress(ModelError):  # raised later, unless a model of this name is loaded already
            source = catalog.resolve(getattr(config, name)) if getattr(config, name) else None
            if source is not None and source.path is not None and source.kind in _LOCAL_MODELS:
                changed[name] = str(source.path.absolute())
    return dataclasses.replace(config, **changed)


def _absolute(path: str) -> str:
    """An absolute path; of a dataset only where it is a folder."""
    if not is_dataset(path):
        return str(expanded(path).absolute())
    spec = parse_dataset(path)
    return path.replace(spec.name, str(expanded(spec.name).absolute()), 1) if spec.is_folder else path


def with_teacher(config: RunConfig, prompts: Prompts) -> tuple[RunConfig, list[str]]:
    """The settings as they can be followed with these prompts, and sentences on what of them cannot: where no training
    prompt has a demonstration, and where the user brought pairs, preference pairs teach."""
    if config.against:
        return config, []
    written = sum(bool(prompt.demonstration) for prompt in prompts.train)
    if config.teacher == "demonstrations" and (prompts.pairs or not written):
        notice = "No training prompt has a demonstration, so pairs of samples are learned (--teacher samples)."
        return for_pairs(config), [] if prompts.pairs else [notice]
    if config.teacher == "demonstrations" and written < len(prompts.train):
        left = len(prompts.train) - written
        return config, [f"{counted(left, 'training prompt')} without a demonstration: their best sample is learned."]
    if config.train_prompts and written:
        return config, [f"{counted(written, 'demonstration')} not used (--teacher demonstrations learns them)."]
    return config, []


def _refuse_overlap(
    train: Sequence[Prompt], heldout: Sequence[Prompt], benign: Sequence[Prompt], config: RunConfig
) -> None:
    for name, others in (("held-out", heldout), ("benign", benign)):
        same = overlap(train, others)
        if same:
            ids = ", ".join(f"{a.id} = {b.id}" for a, b in same[:5])
            raise InputError(
                f"{len(same)} of the training prompts are {name} prompts too ({ids}).",
                where=config.pairs or config.train_prompts or "built-in prompts",
                next_step="Take them out of one of the two files: a comparison on trained prompts proves nothing.",
            )


def _without_shared(
    prompts: tuple[Prompt, ...], others: Sequence[Prompt], name: str, other_name: str, notices: list[str]
) -> tuple[Prompt, ...]:
    """The prompts without duplicates of the others; adds a notice for those left out."""
    same = shared([prompt.question for prompt in prompts], [prompt.question for prompt in others])
    if same:
        ids = ", ".join(f"{prompts[place].id} = {others[other].id}" for place, other in list(same.items())[:5])
        more = f" and {len(same) - 5:,} more" if len(same) > 5 else ""
        notices.append(
            f"{counted(len(same), f'{name} prompt')} left out: near duplicates of {other_name} prompts ({ids}{more})."
        )
    return tuple(prompt for place, prompt in enumerate(prompts) if place not in same)


def _prompts(
    config: RunConfig, path: str, builtin: Literal["train", "heldout", "benign"], count: int, columns: Mapping[str, str]
) -> PromptSet | None:
    """The prompts of a file or a built-in set, each once unless the settings keep duplicates; None where none is
    wanted."""
    if count < 0:
        raise InputError(
            f"expected 0 or more prompts, not {count}.", where=f"--n-{builtin}", next_step="Pass 0 or more."
        )
    if count == 0:
        return None
    # The built-in sets hold no duplicates: tests/engine/prompts/test_prompt_sets.py.
    if not path:
        return load_builtin(builtin)
    return load_prompt_file(expanded(path), columns=columns).distinct(keep=not config.deduplicate)


def _trained_prompts(config: RunConfig) -> dict[str, tuple[Prompt, ...]]:
    """Run -> the prompts that it trained on, of the runs that trained the models of a comparison, where their journals
    kept them."""
    from engine.models.hub import catalog

    found: dict[str, tuple[Prompt, ...]] = {}
    for source in map(catalog.resolve, (config.generator, config.against) if config.against else ()):
        run = run_of(source.path) if source.kind in ("adapter", "checkpoint") and source.path else None
        if run is not None and (run / JOURNAL).exists():
            records = (record for record in read(run) if record.stage.startswith("TRAINING-EXAMPLE"))
            asked = ((record.item, record.texts.get("prompt", "")) for record in records)
            found[run.name] = tuple(Prompt(item, text) for item, text in asked if text)
    return {run: prompts for run, prompts in found.items() if prompts}


def hashes(constitution: Constitution, prompts: Prompts, *, demonstrations: bool = False) -> dict[str, str]:
    """SHA-256 of the inputs, by which a resumed run notices that they changed; of demonstrations only where they are
    learned."""

    def of(sequence: Sequence[Prompt]) -> str:
        return hashlib.sha256("\n".join(f"{p.id} {p.sha256}" for p in sequence).encode()).hexdigest()

    found = {
        "constitution": constitution.sha256,
        **({"train_prompts": of(prompts.train)} if prompts.train else {}),
        "heldout_prompts": of(prompts.heldout),
        "benign_prompts": of(prompts.benign),
    }
    if demonstrations:
        found["demonstrations"] = _sha256(prompt.demonstration for prompt in prompts.train)
    if prompts.pairs:
        found["pairs"] = _sha256(text for pair in prompts.pairs.values() for text in (pair.chosen, pair.rejected))
    return found


def _sha256(texts: Iterable[str]) -> str:
    return hashlib.sha256("\x1f".join(texts).encode("utf-8", "replace")).hexdigest()


def versions() -> dict[str, str]:
    """Package -> version, of the packages that a run's results depend on."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine, as far as a run's speed depends on it; no names."""
    return {
        "cores": len(usable()),
        "system": f"{platform.system()} {platform.machine()}",
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
