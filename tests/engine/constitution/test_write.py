"""Writing a constitution: the file loads back equal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.constitution.load import load, load_default
from engine.constitution.model import Constitution, Principle, Rule
from engine.constitution.write import write
from engine.errors import StorageError

_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(lambda text: text.strip())


def same(one: Constitution, other: Constitution) -> bool:
    return dataclasses.replace(one, source="", sha256="") == dataclasses.replace(other, source="", sha256="")


def test_the_default_constitution_survives_writing_and_loading(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write(load_default(), path)
    assert same(load(path), load_default())
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_texts, text=_texts, other=_texts, weight=st.floats(1e-300, 1e300))
def test_any_text_and_weight_survives(tmp_path: Path, name: str, text: str, other: str, weight: float) -> None:
    rule = Rule("a.b", text[:64], r"it's '''a''' \"test\" \d+\n?", 0.25, (), (other,), "x'")
    principle = Principle("a", text, other[:24] or "x", text, weight, (text, other), (other,), (rule,))
    constitution = Constitution(name, (principle,), "", "")
    path = tmp_path / "c.toml"
    write(constitution, path)
    assert same(load(path), constitution)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write(load_default(), tmp_path / "missing" / "c.toml")
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError):
        write(load_default(), tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
