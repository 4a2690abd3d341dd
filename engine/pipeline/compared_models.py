"""What a user may name to be compared: a model, or a run and one of its adapters or checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from engine.errors import InputError, ModelError, RedraftError
from engine.files import expanded
from engine.models.hub import catalog
from engine.runs.folder import RUN, read_config
from engine.runs.store import find_run
from engine.runs.trainings import choose, trainings
from engine.settings import RunConfig
from engine.text import sanitize, truncate

PRESET = "compare"
"""What the settings of a comparison call their preset, and its folder's name begins with."""


def comparison(config: RunConfig, first: str, second: str) -> RunConfig:
    """The settings of a comparison of two models; prompts, judge and sampling are those of `config`.

    Args:
        first, second: as `compared_model` takes them.

    Raises:
        RedraftError: there is no such model or run.
    """
    a, b = compared_model(first), compared_model(second)
    return dataclasses.replace(config, preset=PRESET, profile="", pairs="", seeds=1, generator=a, against=b)


def compared_model(word: str) -> str:
    """The name of a model as settings have it.

    Args:
        word: a catalog name, hub id, folder or GGUF file; or a run (as every command takes it), which stands for its
            first adapter, with "@base", "@adapter-2" or "@step-40" for another model of it.

    Raises:
        InputError: the run has no such adapter or checkpoint; says which it has.
        ModelError: there is no such model and no such run.
    """
    found = word
    # Looked at first: a run's folder is a folder, and "runs/small@step-40" has the form of a model on the hub.
    if _is_run(word.rpartition("@")[0]) or _is_run(word):
        found = _of_run(word, None)
    else:
        try:
            catalog.resolve(word)
        except ModelError as error:
            found = _of_run(word, error)
    # Whole paths: a run may be resumed from another folder.
    return str(expanded(found).resolve()) if expanded(found).is_dir() else found


def _is_run(path: str) -> bool:
    try:
        return bool(path) and (expanded(path) / RUN).exists()
    except OSError:  # a name that no file can have
        return False


def _of_run(word: str, error: ModelError | None) -> str:
    name, at, part = word.rpartition("@")
    if not at:
        name, part = part, ""
    try:
        folder = find_run(name)
    except RedraftError as problem:
        if error is None or "begin with" in problem.what:
            raise
        if error.where:  # what is wrong with a path
            raise error from None
        raise ModelError(
            f"There is no model and no run {catalog.shown(word)}.",
            next_step="`redraft models` lists names of models, `redraft runs` those of runs; a folder, a .gguf file, a "
            "hub id, or RUN@step-40 works too.",
        ) from None
    if part == "base":
        return read_config(folder).generator
    if not part:
        return str(folder / choose(folder).adapter)
    return str(_part(folder, part))


def _part(folder: Path, part: str) -> Path:
    """An adapter or a checkpoint of a run: "adapter-2", "step-40"."""
    known = trainings(read_config(folder))
    places = {one.adapter: folder / one.adapter for one in known}
    for one in reversed(known):
        for place in sorted((folder / one.checkpoints).glob("step-*")):
            places[f"step-{int(place.name.removeprefix('step-'))}"] = place
    held = {name: place for name, place in places.items() if place.is_dir()}
    if part in held:
        return held[part]
    shown = truncate(sanitize(part), 40)
    raise InputError(
        f"the run has no {shown!r}.",
        where=folder.name,
        next_step=f"It has {', '.join(['base', *held])}.",
    )
