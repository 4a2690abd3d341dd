"""The memory of read texts: each is read once, and what is read beside what does not depend on what was read before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.control import Control, Stopped
from engine.judges.base import JudgeInput
from engine.judges.probe import features, vector_cache
from engine.judges.probe.features import Vectors
from engine.models.local import LocalModel

TEXTS = [JudgeInput(str(n), "word " * (n + 1)) for n in range(12)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the model was given, a list a step of four texts."""
    given: list[list[str]] = []
    real = features.states

    def states(model: LocalModel, texts: Sequence[JudgeInput], layers: Sequence[int], control: Control) -> Vectors:
        given.append([text.text for text in texts])
        return real(model, texts, layers, control)

    monkeypatch.setattr(features, "states", states)
    monkeypatch.setattr(vector_cache, "_CHUNK", 4)
    return given


def test_a_text_is_read_once_and_its_vector_kept(embedded: LocalModel, tmp_path: Path, asked: list[list[str]]) -> None:
    first = vector_cache.VectorCache(embedded, (3,), tmp_path).read(TEXTS, Control())
    again = vector_cache.VectorCache(embedded, (3,), tmp_path).read(TEXTS[::-1], Control())
    assert len(asked) == 3
    assert np.array_equal(first.values, again.values[::-1])


def test_a_reading_that_was_stopped_goes_on_with_the_same_steps(
    embedded: LocalModel, tmp_path: Path, asked: list[list[str]]
) -> None:
    whole = vector_cache.VectorCache(embedded, (3,), tmp_path / "whole").read(TEXTS, Control())
    steps = list(asked)
    control = Control()

    def stop_early(done: int, total: int) -> None:
        if done >= 4:
            control.stop()

    with pytest.raises(Stopped):
        vector_cache.VectorCache(embedded, (3,), tmp_path / "parts").read(TEXTS, control, stop_early)
    resumed = vector_cache.VectorCache(embedded, (3,), tmp_path / "parts").read(TEXTS, Control())
    assert np.array_equal(resumed.values, whole.values)
    assert asked[len(steps) :] == [steps[0], steps[1], steps[1], steps[2]]


def test_a_single_new_text_is_read_with_its_step_and_not_with_all(
    embedded: LocalModel, tmp_path: Path, asked: list[list[str]]
) -> None:
    memory = vector_cache.VectorCache(embedded, (3,), tmp_path)
    memory.read(TEXTS[1:], Control())
    asked.clear()
    memory.read(TEXTS, Control())
    assert TEXTS[0].text in asked[0]
    assert len(asked) == 1
