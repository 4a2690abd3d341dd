"""Model folders and GGUF files with damage anywhere: a sentence that names the file, and nothing is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import LONG, cases, holds_no_control, picture, refusal
from hypothesis import given
from hypothesis import strategies as st
from mutilation import as_json, damaged, replaced

from engine.errors import ModelError, RedraftError, StorageError
from engine.models.hub import embedded as embedded_model
from engine.models.local import check_model, load_model

FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors")


@pytest.fixture
def model(tmp_path: Path, tiny: Callable[..., Path], bare_home: Path) -> Path:
    """A folder of its own with a good model."""
    folder = tmp_path / "model"
    shutil.copytree(tiny("llama"), folder)
    return folder


def check(folder: Path, load: Callable[..., object]) -> RedraftError | None:
    """The sentence that the folder is refused with; anything but one comes through."""
    error = refusal(lambda: load(str(folder), device="cpu", dtype="float32"))
    if error is not None:
        assert isinstance(error, ModelError | StorageError)
        assert str(folder) in error.where, error
        assert holds_no_control(str(error)), repr(str(error))
        assert len(str(error)) < 1_500
    return error


@pytest.mark.parametrize("name", FILES)
def test_a_folder_with_a_damaged_file_is_loaded_or_refused_by_name(model: Path, bare_home: Path, name: str) -> None:
    good = (model / name).read_bytes()
    head = good[: 8 + int.from_bytes(good[:8], "little")] if name == "model.safetensors" else good
    values = None if name == "model.safetensors" else json.loads(good)

    @cases(12, 150)
    @given(st.data())
    def harm(data: st.DataObject) -> None:
        if values is not None and data.draw(st.booleans()):
            made = as_json(data.draw(replaced(values))[0])
        else:
            made = data.draw(damaged(head)) + good[len(head) :]
        (model / name).write_bytes(made)
        before = picture(model)
        check(model, check_model)
        assert picture(model) == before
        assert picture(bare_home) == {}

    harm()
    (model / name).write_bytes(good)
    assert check(model, check_model) is None


@cases(5, 150)
@given(data=st.data())
def test_what_passes_the_check_is_loaded_and_computed_with_or_refused_in_a_sentence(
    model: Path, bare_home: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(FILES[:3]))
    good = (model / name).read_bytes()
    (model / name).write_bytes(as_json(data.draw(replaced(json.loads(good)))[0]))
    try:
        if check(model, load_model) is None:
            from engine.control import Control
            from engine.models.inference.requests import Message, Request, Sampling

            loaded = load_model(str(model), device="cpu", dtype="float32")
            prompt = loaded.render([Message("user", "What?")])
            answers = [*loaded.generate([Request("a", prompt, Sampling(max_tokens=3))], Control())]
            assert len(answers) == 1
    finally:
        (model / name).write_bytes(good)
    assert picture(bare_home) == {}


@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "a folder", "a pipe", "too long", "of another model"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_that_is_not_what_it_should_be_is_named(model: Path, name: str, harm: str) -> None:
    path = model / name
    good = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(good[: len(good) // 2])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "a folder":
        path.mkdir()
    elif harm == "a pipe":
        os.mkfifo(path)
    elif harm == "too long":
        path.write_bytes(good + b"{}")
    elif harm == "of another model":
        path.write_bytes(b'{"model_type": "bert"}')
    for load in (check_model, load_model):
        error = check(model, load)
        assert error is not None
        assert name in str(error) or "tokenizer" in str(error) or "safetensors" in str(error), error


def _gguf() -> Path:
    try:
        return embedded_model.gguf_file()
    except ModelError:
        pytest.skip("the embedded model's package is not installed")


def test_a_damaged_gguf_file_is_refused_by_name(tmp_path: Path, bare_home: Path) -> None:
    whole = _gguf()
    size = whole.stat().st_size
    with whole.open("rb") as file:
        head = file.read(4_096)
    path = tmp_path / "model.gguf"

    @cases(4, 60)
    @given(damaged(head), st.booleans())
    def harm(data: bytes, cut: bool) -> None:
        path.write_bytes(data)
        if LONG and not cut:
            os.truncate(path, size)  # as long as the whole, the rest of it a hole: seconds for the reader of GGUF files
        assert check_gguf(path) is not None
        assert picture(bare_home) == {}

    def check_gguf(path: Path) -> Any:
        from engine.models.hub import load

        error = refusal(lambda: load.gguf_config(path))
        if error is not None:
            assert isinstance(error, ModelError | StorageError)
            assert str(path) in error.where
            assert holds_no_control(str(error))
        return error

    harm()
