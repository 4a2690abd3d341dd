"""What `redraft judge bench` measured of judges whose accuracy no file of theirs can hold: models and servers.

One JSON file in the data folder, by judge. Readers of a damaged file find nothing measured; nothing fails for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import paths
from engine.files import write_atomically
from engine.judges.eval.metric import Measures

ALL = "all"
"""Name of the set that holds the rows of all files that were measured on."""

LEAST_TEXTS = 100
LEAST_ACCURACY = 0.7
"""A model's own verdict counts where the lower end of its balanced accuracy's interval reaches this on `LEAST_TEXTS`
texts or more: guessing has .5, and so had every model below 1B that was tried."""


def remember(judge: str, measures: Mapping[str, Measures]) -> None:
    """Keep what was measured of a judge, by its `measured_as`; in the place of what was kept before.

    Args:
        judge: which one.
        measures: name of a set of texts -> what the judge does there; `ALL` for the rows of all sets.

    Raises:
        StorageError: the file cannot be written.
    """
    known = _read()
    known[judge] = {name: one.to_data() for name, one in measures.items()}
    write_atomically(_path(), (json.dumps(known, indent=1) + "\n").encode())


def recall(judge: str) -> dict[str, Measures]:
    """What is known of a judge, by set; empty where it was never measured."""
    found = _read().get(judge)
    if not isinstance(found, dict):
        return {}
    measures: dict[str, Measures] = {}
    for name, data in found.items():
        try:
            measures[str(name)] = Measures.from_data(data)
        except (KeyError, TypeError, ValueError):
            continue
    return measures


def deserves(measures: Mapping[str, Measures]) -> bool:
    """Whether a judge with these measures may decide by itself."""
    whole = measures.get(ALL)
    if whole is None or whole.texts < LEAST_TEXTS:
        return False
    return whole["balanced_accuracy"].known and whole["balanced_accuracy"].low >= LEAST_ACCURACY


def sentence(measures: Mapping[str, Measures]) -> str:
    """The measures in one line, such as "AUROC .91 [.88, .93] on 1,200 labelled texts"; "" where there are none."""
    whole = measures.get(ALL)
    if whole is None:
        return ""
    shown = [f"{word} {whole[name]}" for name, word in _SHOWN.items() if whole[name].known]
    return f"{', '.join(shown)} on {whole.texts:,} labelled texts" if shown else ""


_SHOWN = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}


def _path() -> Path:
    return paths.data_dir() / "measured-judges.json"


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_path().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
