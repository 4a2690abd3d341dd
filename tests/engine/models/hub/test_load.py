"""Reading model folders and GGUF files, sound and hostile ones."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ModelError, RedraftError, StorageError
from engine.models.hub import load, weights
from engine.models.nn.config import ConfigError, from_config

FAMILIES = ("llama", "qwen2", "gemma", "phi", "gpt2")
Tiny = Callable[..., Path]


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of a tiny model that a test may damage."""
    return Path(shutil.copytree(tiny("llama"), tmp_path / "model"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "REMOVED"}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_the_weights_that_transformers_would_read(tiny: Tiny, family: str) -> None:
    from transformers import AutoModelForCausalLM

    ours = load.read_folder(tiny(family), "float32")
    theirs = AutoModelForCausalLM.from_pretrained(tiny(family), dtype=torch.float32)
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sizes_are_known_before_loading(tiny: Tiny, family: str) -> None:
    found = load.folder_config(tiny(family))
    model = load.read_folder(tiny(family), "float32")
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.context == 256


@pytest.mark.parametrize("dtype", load.DTYPES)
def test_weights_come_in_the_number_format_asked_for(tiny: Tiny, dtype: str) -> None:
    model = load.read_folder(tiny("llama"), dtype)
    assert {p.dtype for p in model.parameters()} == {load.torch_dtype(dtype)}


def test_an_unknown_number_format_is_refused() -> None:
    with pytest.raises(ModelError, match="float32, bfloat16, float16"):
        load.torch_dtype("int8")


def test_shards_are_read_together(tiny: Tiny, tmp_path: Path) -> None:
    whole = load.read_folder(tiny("llama"), "float32")
    whole.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = load.read_folder(tmp_path, "float32")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_the_tokens_that_end_an_answer_come_from_model_and_tokenizer(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 2, -5, 99999999, "x"]}')
    model, tokenizer = load.read_folder(folder, "float32"), load.folder_tokenizer(folder)
    assert load.end_tokens(model, tokenizer) == {0, 2}
    (folder / "generation_config.json").write_text('{"eos_token_id": [-1]}')
    assert load.end_tokens(load.read_folder(folder, "float32"), tokenizer) == {tokenizer.eos_token_id}


def test_nothing_is_written_to_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load.read_folder(folder, "bfloat16")
    load.folder_tokenizer(folder)
    assert capfd.readouterr() == ("", "")


def outcome(folder: Path) -> RedraftError | None:
    """The error that reading a folder gives; a test fails on any that is not ours."""
    try:
        load.read_folder(folder, "float32")
        load.folder_tokenizer(folder)
    except RedraftError as error:
        return error
    return None


def refused(folder: Path) -> RedraftError:
    error = outcome(folder)
    assert isinstance(error, ModelError | StorageError)
    assert str(folder) in str(error)
    return error


def test_pickles_are_refused_unread(folder: Path) -> None:
    (folder / weights.SINGLE).rename(folder / "pytorch_model.bin")
    assert "pickles" in str(refused(folder))


def test_an_adapter_is_no_model(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")
    assert "LoRA adapter" in str(refused(folder))


def test_an_adapter_beside_a_model_is_not_loaded(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}')
    load.read_folder(folder, "float32")


@pytest.mark.parametrize("name", ["config.json", weights.SINGLE, "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in str(refused(folder))


@pytest.mark.parametrize("name", ["config.json", weights.SINGLE, "tokenizer.json", "generation_config.json"])
def test_a_pipe_in_place_of_a_file_does_not_hang(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "plain file" in str(refused(folder))


def test_a_link_to_a_device_or_to_itself_is_refused(folder: Path) -> None:
    (folder / weights.SINGLE).unlink()
    (folder / weights.SINGLE).symlink_to("/dev/zero")
    assert "plain file" in str(refused(folder))
    (folder / weights.SINGLE).unlink()
    (folder / weights.SINGLE).symlink_to(weights.SINGLE)
    refused(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 60, 5_000, -1])
def test_cut_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / weights.SINGLE
    os.truncate(path, keep if keep >= 0 else path.stat().st_size - 1)
    assert weights.SINGLE in str(refused(folder))


HEADERS = {
    "enormous header": struct.pack("<Q", 1 << 62),
    "no JSON": struct.pack("<Q", 4) + b"{{{{",
    "a list": struct.pack("<Q", 2) + b"[]",
    "deep nesting": struct.pack("<Q", 200_000) + b"[" * 200_000,
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS.keys())
def test_a_damaged_header_is_refused(folder: Path, content: bytes) -> None:
    (folder / weights.SINGLE).write_bytes(content + b" " * 64)
    refused(folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]},
        {"dtype": "F32", "shape": [1 << 60, 1 << 60], "data_offsets": [0, 16]},
        {"dtype": "X9", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0]},
        {"dtype": "F32", "shape": [4], "data_offsets": [1_000, 1_016]},
        {"dtype": "F32", "shape": [1] * 1_000, "data_offsets": [0, 4]},
        None,
        7,
    ],
)
def test_a_damaged_entry_of_a_tensor_is_refused(tmp_path: Path, entry: Any) -> None:
    head = json.dumps({"a": entry}).encode()
    path = tmp_path / weights.SINGLE
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 16)
    with pytest.raises((ModelError, StorageError)) as caught:
        weights.header(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "x.bin", "a/b.safetensors", 5, ""])
def test_an_index_cannot_name_files_elsewhere(folder: Path, name: Any) -> None:
    (folder / weights.SINGLE).unlink()
    (folder / weights.INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    assert weights.INDEX in str(refused(folder))


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / weights.SINGLE).unlink()
    (folder / weights.INDEX).write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    assert "model-2.safetensors" in str(refused(folder))


BAD_CONFIGS: dict[str, dict[str, Any]] = {
    "model_type": {"model_type": "nosuchfamily"},
    "hidden_size": {"hidden_size": 1 << 40},
    "num_hidden_layers": {"num_hidden_layers": -3},
    "vocab_size": {"vocab_size": "many"},
    "num_attention_heads": {"num_attention_heads": True},
    "max_position_embeddings": {"max_position_embeddings": 0},
    "intermediate_size": {"intermediate_size": "REMOVED"},
    "num_key_value_heads": {"num_key_value_heads": 3},
    "tie_word_embeddings": {"tie_word_embeddings": "perhaps"},
    "quantization_config": {"quantization_config": {"quant_method": "gptq"}},
}


@pytest.mark.parametrize("field", BAD_CONFIGS)
def test_a_bad_value_of_the_config_is_named(folder: Path, field: str) -> None:
    change_config(folder, **BAD_CONFIGS[field])
    assert f"`{field}`" in str(refused(folder))


def test_a_config_larger_than_the_weights_takes_no_memory(folder: Path) -> None:
    change_config(folder, vocab_size=3_000_000, hidden_size=4_096)
    assert "parameters" in str(refused(folder))


def test_weights_of_another_shape_or_name_are_refused(folder: Path) -> None:
    change_config(folder, intermediate_size=95)
    refused(folder)
    change_config(folder, intermediate_size=96, num_hidden_layers=1)
    load.read_folder(folder, "float32")  # more weights than needed are no harm
    change_config(folder, num_hidden_layers=2)
    tensors = weights.read(folder)
    tensors["model.layers.1.mlp.up_proj.other"] = tensors.pop("model.layers.1.mlp.up_proj.weight")
    weights.write(folder / weights.SINGLE, tensors)
    assert "model.layers.1.mlp.up_proj.weight" in str(refused(folder))


def test_code_that_a_config_names_is_never_run(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for name in ("modeling_x.py", "configuration_x.py", "tokenization_x.py"):
        (folder / name).write_text(f"open({str(proof)!r}, 'w')\nclass X: pass\n")
    change_config(
        folder,
        auto_map={"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"},
        attn_implementation="nobody/kernel",
        _attn_implementation="nobody/kernel",
        transformers_weights="elsewhere.bin",
    )
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["tokenization_x.X", "tokenization_x.X"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    load.read_folder(folder, "float32")
    with contextlib.suppress(ModelError):
        load.folder_tokenizer(folder)
    assert not proof.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": "\\ud800"}', "[" * 100_000, "\xff\xfe"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_broken_json_is_an_error_that_names_the_file(folder: Path, name: str, content: str) -> None:
    (folder / name).write_bytes(content.encode("latin-1", "replace"))
    error = outcome(folder)
    assert error is None or str(folder) in str(error)


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    tokenizer = load.folder_tokenizer(folder)
    with pytest.raises(ModelError, match="tokenizer"):
        load.check_tokenizer(tokenizer, 100, folder)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_config_whatever_gives_anything_but_a_clear_error(tiny: Tiny, tmp_path: Path, data: st.DataObject) -> None:
    config = json.loads((tiny("llama") / "config.json").read_text())
    key = data.draw(st.sampled_from(sorted(config)))
    junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
    config[key] = data.draw(junk | st.dictionaries(st.sampled_from(["rope_type", "rope_theta", "factor"]), junk))
    place = tmp_path / "junk"
    if not place.exists():
        shutil.copytree(tiny("llama"), place)
    (place / "config.json").write_text(json.dumps(config))
    error = outcome(place)
    assert error is None or str(place) in str(error)


def test_sizes_beyond_all_proportion_are_refused() -> None:
    config = {"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 10**12, "vocab_size": 10}
    with pytest.raises(ConfigError):
        from_config(config)


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"GG", b"PK\3\4", b"GGUF", b"GGUF" + b"\xff" * 64):
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        with pytest.raises((ModelError, StorageError)) as caught:
            load.read_gguf(path, "float32")
        assert str(path) in str(caught.value)
    with pytest.raises(StorageError, match="missing"):
        load.read_gguf(tmp_path / "none.gguf", "float32")


def test_written_weights_are_read_back_by_the_safetensors_library(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = {"a": torch.randn(3, 5), "b.c": torch.arange(7).to(torch.bfloat16), "empty": torch.zeros(0, 4)}
    told: list[float] = []
    digest = weights.write(tmp_path / weights.SINGLE, tensors, told.append)
    again = load_file(tmp_path / weights.SINGLE)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert all(torch.equal(found, tensors[name]) for name, found in weights.read(tmp_path).items())
    assert digest == weights.digest(tmp_path / weights.SINGLE)
    assert told[-1] == 1.0
