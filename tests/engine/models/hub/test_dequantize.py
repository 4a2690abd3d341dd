"""Folders with a `quantization_config`: unpacked to the numbers that their method gives, or refused by its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import ModelError
from engine.models.hub import checkpoint, load

Tensors = dict[str, Tensor]
Packed = tuple[Tensors, Tensor]
"""What a file holds of a matrix, and the numbers that it stands for."""

SETTINGS: dict[str, dict[str, Any]] = {
    "int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "nf4": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "fp8": {"quant_method": "fp8", "weight_block_size": [32, 32]},
    "int-quantized": {"quant_method": "compressed-tensors", "format": "int-quantized"},
    "float-quantized": {"quant_method": "compressed-tensors", "format": "float-quantized"},
    "pack-quantized": {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
    },
}


def int8(name: str, weight: Tensor) -> Packed:
    largest = weight.abs().amax(1)
    whole = (weight / largest[:, None] * 127).round()
    state = torch.tensor(0, dtype=torch.uint8)
    held = {name: whole.to(torch.int8), name.replace("weight", "SCB"): largest, f"{name}_format": state}
    return held, whole * largest[:, None] / 127


def nf4(name: str, weight: Tensor) -> Packed:
    """Any table of 16 numbers; factors of blocks of 16, themselves quantized in blocks of 256."""
    table, indices = torch.linspace(-1, 1, 16), torch.arange(weight.numel()) * 7 % 16
    outer = torch.tensor([0.5] * -(-weight.numel() // 16 // 256))
    factors, inner = torch.arange(weight.numel() // 16) % 256, torch.linspace(0, 1, 256)
    values = table[indices] * (inner[factors] * 0.5 + 0.25).repeat_interleave(16)
    state = {"quant_type": "nf4", "blocksize": 16, "shape": list(weight.shape)}
    state |= {"nested_blocksize": 256, "nested_offset": 0.25, "dtype": "float32"}
    held = {
        name: (indices[0::2] * 16 + indices[1::2]).to(torch.uint8)[:, None],
        f"{name}.absmax": factors.to(torch.uint8),
        f"{name}.quant_map": table,
        f"{name}.nested_absmax": outer,
        f"{name}.nested_quant_map": inner,
        f"{name}.quant_state.bitsandbytes__nf4": torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8),
    }
    return held, values.reshape(weight.shape)


def fp8(name: str, weight: Tensor) -> Packed:
    """Blocks of 32 x 32, the last ones cut off by the matrix's edge."""
    rows, columns = (-(-size // 32) for size in weight.shape)
    factors = torch.linspace(0.5, 2, rows * columns).reshape(rows, columns)
    spread = torch.kron(factors, torch.ones(32, 32))[: weight.shape[0], : weight.shape[1]]
    small = (weight / spread).to(torch.float8_e4m3fn)
    return {name: small, f"{name}_scale_inv": factors}, small.float() * spread


def int_quantized(name: str, weight: Tensor) -> Packed:
    factors = weight.abs().amax(1, keepdim=True) / 127
    whole = (weight / factors).round()
    return {name: whole.to(torch.int8), f"{name}_scale": factors.bfloat16()}, whole * factors.bfloat16().float()


def float_quantized(name: str, weight: Tensor) -> Packed:
    small = (weight / 0.25).to(torch.float8_e4m3fn)
    return {name: small, f"{name}_scale": torch.tensor([0.25])}, small.float() * 0.25


def pack_quantized(name: str, weight: Tensor) -> Packed:
    groups = weight.reshape(weight.shape[0], -1, 8)
    factors = groups.abs().amax(2) / 7
    whole = (groups / factors[..., None]).round().clamp(-8, 7)
    eight = (whole.long() + 8).reshape(weight.shape[0], -1, 8)
    words = (eight << torch.arange(0, 32, 4)).sum(2)
    packed = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    held = {f"{name}_packed": packed, f"{name}_scale": factors, f"{name}_shape": torch.tensor(weight.shape)}
    return held, (whole * factors[..., None]).reshape(weight.shape)


PACK: dict[str, Callable[[str, Tensor], Packed]] = {
    "int8": int8,
    "nf4": nf4,
    "fp8": fp8,
    "int-quantized": int_quantized,
    "float-quantized": float_quantized,
    "pack-quantized": pack_quantized,
}


def quantized_folder(source: Path, folder: Path, kind: str) -> Mapping[str, Tensor]:
    """Write a model with the matrices of its layers quantized. Returns all weights, unpacked."""
    shutil.copytree(source, folder)
    held: Tensors = {}
    expected: Tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        packed, plain = PACK[kind](name, tensor) if "_proj.weight" in name else ({name: tensor}, tensor)
        held |= {key: value.contiguous() for key, value in packed.items()}
        expected[name] = plain
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"quantization_config": SETTINGS[kind]}))
    return expected


@pytest.mark.parametrize("kind", PACK)
def test_a_quantized_folder_is_unpacked_and_said(tiny: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    expected = quantized_folder(tiny("llama"), folder, kind)
    assert any(str(SETTINGS[kind]["quant_method"]) in text for text in checkpoint.check_folder(folder).notices)
    found = load.read_folder(folder, "float32").state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["nf4", "fp8", "pack-quantized"])
def test_parts_that_do_not_fit_each_other_are_refused(tiny: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    quantized_folder(tiny("llama"), folder, kind)
    held = load_file(folder / "model.safetensors")
    name = next(name for name in held if name.endswith(("quant_map", "_scale_inv", "_scale")))
    held[name] = held[name].flatten()[:1].repeat(3, 1).contiguous()
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="cannot be unpacked"):
        load.read_folder(folder, "float32")


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_what_bitsandbytes_writes_is_read_as_transformers_reads_it(
    tiny: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = {f"load_in_{'8bit' if kind == 'int8' else '4bit'}": True, "llm_int8_threshold": 0.0}
    settings |= {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True} if kind == "nf4" else {}
    source = tiny("llama", hidden_size=64, intermediate_size=128)
    theirs = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=BitsAndBytesConfig(**settings), dtype=torch.float32, device_map="cpu"
    )
    theirs.save_pretrained(tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32, device_map="cpu")
    expected = theirs.dequantize().float().state_dict()
    found = load.read_folder(tmp_path / "model", "float32").state_dict()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["gptq", "awq", "torchao", "mxfp4", "hqq", "quanto", "eetq", "aqlm"])
def test_other_methods_are_refused_by_name(tiny: Callable[..., Path], tmp_path: Path, method: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny("llama"), folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"quantization_config": {"quant_method": method}}))
    with pytest.raises(ModelError, match=rf"quantized \({method}\)") as caught:
        checkpoint.check_folder(folder)
    assert "GGUF" in caught.value.next_step
