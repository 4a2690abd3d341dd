"""The training rows that are nearest to a compared answer; for a thread, since a journal is read for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.runs.journal_reader import JOURNAL

if TYPE_CHECKING:
    from engine.export.training_pairs import Lineage, NearPair


def near(folder: Path, prompt: str, answer: str) -> tuple[list[NearPair], int]:
    """The nearest rows, best first, and how many were trained on.

    Raises:
        StorageError: the run's journal cannot be read.
    """
    path = folder / JOURNAL
    found = _read(folder, path.stat().st_size if path.exists() else 0)
    return found.near(prompt, answer), len(found.pairs)


@lru_cache(maxsize=1)
def _read(folder: Path, size: int) -> Lineage:  # noqa: ARG001 - a journal that has grown is read again
    from engine.export.training_pairs import Lineage, read_history

    return Lineage(read_history(folder).pairs)
