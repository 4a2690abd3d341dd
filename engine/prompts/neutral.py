"""Neutral texts on which a training should change nothing: facts, recipes, instructions, letters.

Written for this project, so that no model has learned them by heart; none asks for anything. They measure how far the
trained model moved from the base where there was nothing to correct.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class NeutralText:
    """A short text of its own, no prompt."""

    id: str
    text: str


def load_neutral() -> tuple[NeutralText, ...]:
    """The 100 texts, in order."""
    lines = resources.files("engine.prompts").joinpath("neutral.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(NeutralText(row["id"], row["text"]) for row in map(json.loads, lines))
