"""How the two models are called whose answers a run compares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

ARMS = BASE, TRAINED = ("base", "trained")
"""As the journal and the report name them: the generator as it was, and with the adapter of the first training. In a
comparison of two models they stand for the first and the second."""


def arm_names(against: object) -> tuple[str, str]:
    """As a user is shown them: "base" and "trained", or "A" and "B" where two models are compared.

    Args:
        against: the setting of this name; empty in a run that trains.
    """
    return ("A", "B") if against else ARMS


def model_names(config: Mapping[str, Any]) -> str:
    """The models of a run's settings in a few words: the one that is trained, or "A gpt2 · B demo-1128/adapter"."""
    generator, against = str(config.get("generator", "")), str(config.get("against") or "")
    return f"A {_short(generator)} · B {_short(against)}" if against else generator


def _short(name: str) -> str:
    """The last two parts of a path; other names as they are."""
    path = PurePath(name)
    return "/".join(path.parts[-2:]) if path.is_absolute() else name
