"""Every tensor of a folder is used, reported or a reason to refuse; what a header tells is told before a run begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from engine.errors import ModelError, StorageError
from engine.models.hub import catalog, checkpoint, load, weights
from engine.models.local import check_model, load_model
from engine.models.nn import families
from engine.models.nn.decoder import pack
from engine.models.nn.tensor_names import tensor_shapes

Tiny = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(redraft_home: Path) -> Path:
    return redraft_home


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny("llama"), tmp_path / "model"))


def change(folder: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / weights.SINGLE
    weights.write(path, edit(weights.read(folder)))


def add(folder: Path, **tensors: Any) -> None:
    change(folder, lambda held: held | {name.replace("__", "."): torch.as_tensor(t) for name, t in tensors.items()})


def difference(folder: Path, reference: Path) -> float:
    decoder = families.from_transformers(load.read_folder(folder, "float32"))
    theirs: Any = AutoModelForCausalLM.from_pretrained(reference, dtype=torch.float32).eval()
    tokens = [(7 * i) % decoder.config.vocab_size for i in range(60)]
    with torch.inference_mode():
        ours = decoder.logits(decoder.forward(*pack([tokens]), decoder.causal([60])).last)
        return float((ours - theirs(torch.tensor([tokens])).logits[0]).abs().max())


def refusal(folder: Path) -> str:
    """What the folder is refused with before anything is written."""
    with pytest.raises(ModelError) as caught:
        check_model(str(folder))
    assert "again" not in str(caught.value), "a new copy would be the same"
    return str(caught.value)


CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("mistral", {"head_dim": 32}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("qwen3", {"attention_bias": True}),
    ("gemma", {}),
    ("phi", {"qk_layernorm": True}),
    ("gpt2", {}),
    ("gpt2", {"tie_word_embeddings": False}),
]


@pytest.mark.parametrize(("family", "changes"), CONFIGS)
def test_the_tensors_of_a_config_are_those_of_transformers_model(
    tiny: Tiny, family: str, changes: dict[str, Any]
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny(family, **changes))
    config = load.folder_config(tiny(family, **changes))
    held = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    assert tensor_shapes(config) == held
    assert config.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {
            "rope_type": "longrope",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 2.5, 3.0],
            "long_factor": [2.0] * 8,
        },
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ],
    ids=lambda rope: rope["rope_type"],
)
@pytest.mark.parametrize("old", [False, True])
def test_rope_scaling_of_a_config_is_computed(tiny: Tiny, tmp_path: Path, rope: dict[str, Any], old: bool) -> None:
    source = tiny("llama", rope_parameters={"rope_theta": 500.0, **rope})
    folder = Path(shutil.copytree(source, tmp_path / "model"))
    if old:
        values = json.loads((folder / "config.json").read_text())
        settings = values.pop("rope_parameters")
        values["rope_theta"] = settings.pop("rope_theta")
        settings["type"] = settings.pop("rope_type")
        (folder / "config.json").write_text(json.dumps(values | {"rope_scaling": settings}))
    assert difference(folder, source) < 1e-4


def test_a_rope_scaling_that_is_not_computed_is_refused(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    values["rope_parameters"] = {"rope_type": "spiral", "rope_theta": 1e4}
    (folder / "config.json").write_text(json.dumps(values))
    assert "'spiral', a rope scaling" in refusal(folder)


@pytest.mark.parametrize("prefix", ["model.", "_forward_module.", "base."])
def test_a_prefix_of_all_names_is_taken_off_and_reported(folder: Path, tiny: Tiny, prefix: str) -> None:
    change(folder, lambda held: {prefix + name: tensor for name, tensor in held.items()})
    check_model(str(folder))
    assert difference(folder, tiny("llama")) < 1e-4
    (notice,) = checkpoint.check_folder(folder).notices
    assert "taken off" in notice


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "module.", "DistributedDataParallel"),
        ("", "_orig_mod.", "torch.compile"),
        ("", "module._orig_mod.", "torch.compile"),
        ("layers.1.", "layers.1._orig_mod.", "torch.compile"),
        ("layers.0.", "layers.0._fsdp_wrapped_module.", "FullyShardedDataParallel"),
    ],
)
def test_a_wrapped_models_weights_are_refused_by_the_wrapper(folder: Path, old: str, new: str, words: str) -> None:
    change(folder, lambda held: {name.replace(old, new, 1) if old else new + name: t for name, t in held.items()})
    assert words in refusal(folder)
    assert "save_pretrained" in refusal(folder)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_saved_without_its_head_is_read(tiny: Tiny, tmp_path: Path, family: str) -> None:
    source = tiny(family, tie_word_embeddings=True)
    folder = Path(shutil.copytree(source, tmp_path / "model"))
    base = "model." if family == "llama" else "transformer."
    change(folder, lambda held: {n.removeprefix(base): t for n, t in held.items() if n != "lm_head.weight"})
    assert difference(folder, source) < 1e-4


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("model.layers.0.mlp.down_proj.bias", (64,), r"1 tensor \(model\.layers\.0\.mlp\.down_proj\.bias\)"),
        ("model.layers.1.self_attn.q_proj.bias", (64,), "attention_bias"),
        ("model.layers.0.self_attn.sinks", (4,), "sinks"),
        ("model.layers.0.post_feedforward_layernorm.weight", (64,), "post_feedforward_layernorm"),
        ("model.norm.bias", (64,), r"model\.norm\.bias"),
        ("lm_head.bias", (296,), r"lm_head\.bias"),
        ("model.layers.0.self_attn.q_proj.lora_A.default.weight", (4, 64), "Merge the adapter"),
        ("base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", (96, 4), "Merge the adapter"),
        ("model.layers.0.mlp.adapter_down.weight", (4, 64), "Merge the adapter"),
        ("model.layers.0.mlp.up_proj.qweight", (8, 96), "quantized"),
        ("model.layers.0.mlp.up_proj.weight_scale_inv", (1,), "quantized"),
    ],
)
def test_a_tensor_that_would_change_the_numbers_is_refused_by_name(
    folder: Path, name: str, shape: tuple[int, ...], words: str
) -> None:
    import re

    change(folder, lambda held: held | {name: torch.ones(shape)})
    assert re.search(words, refusal(folder))


def test_tensors_beside_the_model_are_reported_with_their_number(folder: Path) -> None:
    change(
        folder,
        lambda held: (
            held
            | {"v_head.summary.weight": torch.ones(1, 64), "v_head.summary.bias": torch.ones(1)}
            | {"model.layers.2.mlp.up_proj.weight": torch.ones(96, 64)}
        ),
    )
    (notice,) = checkpoint.check_folder(folder).notices
    assert "3 tensors" in notice
    assert "v_head.summary.bias" in notice
    load.read_folder(folder, "float32")


def test_one_file_goes_before_an_index_and_the_rest_is_reported(folder: Path) -> None:
    before = weights.read(folder)
    weights.write(folder / "model-00001-of-00001.safetensors", {name: one + 0.5 for name, one in before.items()})
    index = {"weight_map": dict.fromkeys(before, "model-00001-of-00001.safetensors")}
    (folder / weights.INDEX).write_text(json.dumps(index))
    assert difference(folder, folder) < 1e-4
    (notice,) = checkpoint.check_folder(folder).notices
    assert "not read: model-00001-of-00001.safetensors" in notice


def sharded(folder: Path, **second: torch.Tensor) -> None:
    """The model in two files, with further tensors in the second one."""
    held = weights.read(folder)
    (folder / weights.SINGLE).unlink()
    names = sorted(held)
    parts = {"a.safetensors": {name: held[name] for name in names[:9]},
             "b.safetensors": {name: held[name] for name in names[9:]} | second}  # fmt: skip
    for name, tensors in parts.items():
        weights.write(folder / name, tensors)
    index = {"weight_map": {name: file for file, tensors in parts.items() for name in tensors}}
    (folder / weights.INDEX).write_text(json.dumps(index))


def test_a_tensor_in_two_files_with_different_numbers_is_refused(folder: Path) -> None:
    first = sorted(weights.read(folder))[0]
    one = weights.read(folder)[first]
    sharded(folder, **{first: one})
    assert checkpoint.check_folder(folder).notices == ()
    held = {name: tensor for name, tensor in weights.read(folder).items() if name >= first}
    weights.write(folder / "b.safetensors", held | {first: one + 1.0})
    with pytest.raises(ModelError, match=rf"{first} is in a\.safetensors and, with other numbers, in b"):
        checkpoint.check_folder(folder)


def test_shards_without_their_index_are_named_as_such(folder: Path) -> None:
    (folder / weights.SINGLE).rename(folder / "model-00001-of-00002.safetensors")
    assert f"{weights.INDEX}) is missing" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_weights_of_whole_numbers_are_refused_as_quantized(folder: Path, dtype: torch.dtype) -> None:
    held = weights.read(folder) | {"model.layers.0.mlp.up_proj.weight": torch.ones(96, 64).to(dtype)}
    save_file(held, folder / weights.SINGLE)
    assert "quantized" in refusal(folder)


def test_an_output_matrix_of_its_own_is_used_and_reported_where_the_config_ties_it(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama", tie_word_embeddings=True), tmp_path / "model"))
    change(folder, lambda held: held | {"lm_head.weight": held["model.embed_tokens.weight"].clone()})
    assert load_model(str(folder), device="cpu", dtype="float32").notices == ()
    change(folder, lambda held: held | {"lm_head.weight": held["model.embed_tokens.weight"] + 0.5})
    (notice,) = load_model(str(folder), device="cpu", dtype="float32").notices
    assert "ties the output matrix" in notice
    assert difference(folder, folder) < 1e-4


def test_constants_are_not_worth_a_word(folder: Path) -> None:
    change(folder, lambda held: held | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)})
    assert checkpoint.check_folder(folder).notices == ()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_in_the_models_folder_is_refused(folder: Path, name: str) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / name).write_bytes(b"adapter")
    assert "adapter" in refusal(folder)
    assert "merge_and_unload" in refusal(folder)
    (folder / weights.SINGLE).unlink()
    assert "holds a LoRA adapter, not a whole model" in refusal(folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/llama"}')
    assert "holds a LoRA adapter of someone/llama, not a whole model" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "model.embed_tokens.weight"]
)
def test_weights_that_are_not_finite_are_refused(folder: Path, name: str, value: float) -> None:
    def spoil(held: dict[str, Any]) -> dict[str, Any]:
        held[name].view(-1)[5] = value
        return held

    change(folder, spoil)
    with pytest.raises(ModelError, match=f"not finite: {name} holds 1 value"):
        load.read_folder(folder, "float32")


def test_weights_that_overflow_in_a_dtype_are_refused_with_another(folder: Path) -> None:
    def enlarge(held: dict[str, Any]) -> dict[str, Any]:
        held["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
        return held

    change(folder, enlarge)
    load.read_folder(folder, "bfloat16")
    with pytest.raises(ModelError, match=r"do not fit into float16.*bfloat16"):
        load.read_folder(folder, "float16")


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "compressed-tensors", "format": "marlin-24"},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq", "bits": 4},
        {"bits": 4},
    ],
)
def test_a_quantized_folder_is_refused_before_its_weights_are_counted(folder: Path, settings: dict[str, Any]) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"quantization_config": settings}))
    change(folder, lambda held: {"model.embed_tokens.weight": held["model.embed_tokens.weight"]})
    words = refusal(folder)
    assert "quantized" in words
    assert "unquantized" in words
    assert str(settings.get("quant_method", "")) in words


def test_weights_in_8_bit_floats_are_refused_as_quantized(folder: Path) -> None:
    path = folder / weights.SINGLE
    head = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 4)
    assert "quantized (F8_E4M3)" in refusal(folder)


@pytest.mark.parametrize("name", ["quantize_config.json", "hf_quant_config.json"])
def test_a_quantization_told_in_a_file_of_its_own_is_noticed(folder: Path, name: str) -> None:
    (folder / name).write_text("{}")
    assert "quantized" in refusal(folder)


def test_a_tokenizer_that_needs_sentencepiece_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\x0a\x05\x0a\x01a")
    words = refusal(folder)
    assert "needs tokenizer.json" in words
    assert "tiktoken" not in words


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("noext", b"GGUF\3\0\0\0", "rename it so that its name ends in .gguf"),
        ("model.safetensors", b"\0" * 8, "Name the folder that holds it"),
        ("notes", b"hello", "config.json"),
    ],
)
def test_a_file_that_is_there_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"not one whose name ends in \.gguf") as caught:
        catalog.resolve(f"models/{name}")
    assert words in str(caught.value)


@pytest.mark.parametrize("inner", ["checkpoint-500", "snapshots/abc"])
def test_a_folder_around_the_models_own_is_advised_on(folder: Path, tmp_path: Path, inner: str) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(folder, outer / inner)
    with pytest.raises(StorageError, match=f"Did you mean .*{inner}"):
        check_model(str(outer))


def test_a_folder_that_holds_only_a_gguf_file_is_advised_on(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(StorageError, match=r"Did you mean .*m\.gguf"):
        check_model(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_git_lfs_pointers_are_named(folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n")
    with pytest.raises(StorageError, match=r"Git LFS pointer.*git lfs pull"):
        check_model(str(folder))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("onnx/model.onnx", "as ONNX"),
        ("tf_model.h5", "as TensorFlow"),
        ("flax_model.msgpack", "as Flax"),
        ("global_step10/mp_rank_00_model_states.pt", "zero_to_fp32"),
        ("pytorch_model_fsdp_0/__0_0.distcp", "merge-weights"),
    ],
)
def test_weights_in_another_form_are_named_by_it(folder: Path, name: str, words: str) -> None:
    (folder / weights.SINGLE).unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    assert words in refusal(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [("params.json", "its makers"), ("model_index.json", "diffusion"), ("modules.json", "embeddings")],
)
def test_a_folder_of_another_kind_is_named_by_it(folder: Path, name: str, words: str) -> None:
    (folder / "config.json").rename(folder / name)
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text("{}")
    with pytest.raises(StorageError, match=words):
        check_model(str(folder))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "t5"}, "no causal language model that transformers knows"),
        ({"model_type": "myllm", "auto_map": {"AutoModelForCausalLM": "modeling_my.My"}}, "code of its own"),
        ({"quantization": {"group_size": 64, "bits": 4}}, r"quantized \(MLX\)"),
    ],
)
def test_a_config_is_refused_by_its_own_cause(folder: Path, changes: dict[str, Any], words: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=words) as raised:
        check_model(str(folder))
    assert "again" not in raised.value.next_step


def test_packed_weights_of_mlx_are_quantized_not_damaged(folder: Path) -> None:
    held = weights.read(folder) | {"model.layers.0.mlp.up_proj.weight": torch.ones(96, 8).to(torch.uint32)}
    save_file(held, folder / weights.SINGLE)
    assert "quantized" in refusal(folder)
