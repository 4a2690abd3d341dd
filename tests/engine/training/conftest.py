"""Tiny models as decoders beside transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_aid import Twin, reference

from engine.models.nn import families


@pytest.fixture
def twin(tiny: Callable[..., Path]) -> Callable[..., Twin]:
    """A function family -> `Twin` of a tiny random model in float32; keyword arguments change its config."""

    def make(family: str = "llama", **changes: Any) -> Twin:
        folder = tiny(family, **changes)
        return Twin(family, folder, families.from_transformers(reference(folder)))

    return make
