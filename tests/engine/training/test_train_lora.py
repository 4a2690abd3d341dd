"""Adapters: how they start, what they name, and that peft reads what is written here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from training_aid import Twin, learned

from engine.errors import InputError, StorageError
from engine.models.hub import adapter as adapter_files
from engine.models.nn.decoder import pack
from engine.training import lora
from engine.training.lora import Lora, select

FAMILIES = ["llama", "qwen2", "gemma", "phi", "gpt2"]
TOKENS = list(range(5, 45))


def _logits(twin: Twin, adapter: object = None) -> torch.Tensor:
    tokens, positions = pack([TOKENS])
    with torch.no_grad():
        hidden = twin.decoder.forward(tokens, positions, twin.decoder.causal([len(TOKENS)]), adapter=adapter).last  # type: ignore[arg-type]
        return twin.decoder.logits(hidden)


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_a_saved_adapter_and_gives_the_same_logits(
    family: str, twin: Callable[..., Twin], tmp_path: Path
) -> None:
    pair = twin(family)
    adapter = learned(pair.decoder)
    lora.save(adapter.adapter(), tmp_path, base_model=str(pair.folder), family=family)
    peer = peft.PeftModel.from_pretrained(pair.reference(), tmp_path)
    with torch.no_grad():
        wanted = peer(torch.tensor([TOKENS])).logits[0]
    torch.testing.assert_close(_logits(pair, adapter.adapter()), wanted, atol=2e-4, rtol=1e-4)
    assert (_logits(pair) - wanted).abs().max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_and_attached_adapters_answer_alike(family: str, twin: Callable[..., Twin]) -> None:
    pair = twin(family)
    adapter = learned(pair.decoder).export()
    merged = Twin(family, pair.folder, pair.decoder.merged(adapter))
    torch.testing.assert_close(_logits(merged), _logits(pair, adapter), atol=1e-3, rtol=1e-4)


def test_an_adapter_that_peft_wrote_can_be_loaded(twin: Callable[..., Twin], tmp_path: Path) -> None:
    pair = twin("llama")
    config = peft.LoraConfig(r=8, lora_alpha=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    peer = peft.get_peft_model(pair.reference(), config).eval()
    with torch.no_grad():
        for name, value in peer.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1)
        wanted = peer(torch.tensor([TOKENS])).logits[0]
    peer.save_pretrained(tmp_path)
    torch.testing.assert_close(_logits(pair, adapter_files.load(tmp_path)), wanted, atol=2e-4, rtol=1e-4)


def test_what_is_saved_comes_back(twin: Callable[..., Twin], tmp_path: Path) -> None:
    adapter = learned(twin("gpt2").decoder)
    lora.save(adapter.adapter(), tmp_path, base_model="gpt2", family="gpt2")
    back = adapter_files.load(tmp_path)
    assert set(back.pairs) == set(adapter.adapter().pairs)
    for name, pair in adapter.adapter().pairs.items():
        assert torch.equal(back.pairs[name].a, pair.a)
        assert torch.equal(back.pairs[name].b, pair.b)
        assert back.pairs[name].scale == pytest.approx(pair.scale)


def test_a_new_adapter_changes_nothing_and_starts_as_peft_does(twin: Callable[..., Twin]) -> None:
    pair = twin("llama")
    fresh = Lora(pair.decoder.adaptable(), 8, 16)
    fresh.initialize(seed=1)
    torch.testing.assert_close(_logits(pair, fresh.adapter()), _logits(pair), atol=1e-4, rtol=1e-4)
    peer = peft.get_peft_model(
        pair.reference(), peft.LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    theirs = dict(peer.named_parameters())
    for name, mine in fresh.adapter().pairs.items():
        a = theirs[f"base_model.model.{name}.lora_A.default.weight"]
        assert mine.a.shape == a.shape
        assert mine.a.std().item() == pytest.approx(a.std().item(), rel=0.15)
        assert not mine.b.any()


def test_the_seed_decides_the_start(twin: Callable[..., Twin]) -> None:
    adaptable = twin("llama").decoder.adaptable()
    one, again, other = (Lora(adaptable, 4, 8) for _ in range(3))
    for held, seed in ((one, 0), (again, 0), (other, 1)):
        held.initialize(seed)
    assert torch.equal(one.flat, again.flat)
    assert not torch.equal(one.flat, other.flat)


def test_a_frozen_copy_does_not_follow_the_training(twin: Callable[..., Twin]) -> None:
    live = learned(twin("llama").decoder)
    copy = live.export()
    with torch.no_grad():
        live.flat.add_(1.0)
    name = next(iter(copy.pairs))
    assert not torch.equal(copy.pairs[name].a, live.adapter().pairs[name].a)
    assert not copy.pairs[name].a.requires_grad


def test_training_can_begin_from_values(twin: Callable[..., Twin]) -> None:
    decoder = twin("llama").decoder
    given, taking = learned(decoder), Lora(decoder.adaptable(), 4, 8.0)
    taking.load(given.export())
    assert torch.equal(taking.flat, given.flat)
    with pytest.raises(InputError, match="another rank or scale"):
        Lora(decoder.adaptable(), 8, 8.0).load(given.export())
    with pytest.raises(InputError, match="other modules"):
        Lora(select(decoder.adaptable(), ["q_proj"]), 4, 8.0).load(given.export())


def test_targets_are_named_by_the_end_of_a_module(twin: Callable[..., Twin]) -> None:
    adaptable = twin("llama").decoder.adaptable()
    assert set(select(adaptable, ["q_proj", "o_proj"])) == {
        f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "o_proj")
    }
    assert select(adaptable, ["all-linear"]) == adaptable
    with pytest.raises(InputError, match=r"no matrix 'query'.*q_proj"):
        select(adaptable, ["query"])


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("use_dora", True, "only plain LoRA"),
        ("bias", "all", "only plain LoRA"),
        ("rank_pattern", {"q_proj": 2}, "one rank"),
        ("r", "many", "not a number"),
    ],
)
def test_other_kinds_of_adapters_are_refused(
    field: str, value: object, match: str, twin: Callable[..., Twin], tmp_path: Path
) -> None:
    lora.save(learned(twin("llama").decoder).adapter(), tmp_path, base_model="tiny", family="llama")
    path = tmp_path / lora.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(InputError, match=match):
        adapter_files.load(tmp_path)


def test_a_damaged_adapter_is_named(twin: Callable[..., Twin], tmp_path: Path) -> None:
    lora.save(learned(twin("llama").decoder).adapter(), tmp_path, base_model="tiny", family="llama")
    path = tmp_path / lora.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"adapter_model\.safetensors.*damaged"):
        adapter_files.load(tmp_path)
    path.unlink()
    with pytest.raises(StorageError, match=r"adapter_model\.safetensors"):
        adapter_files.load(tmp_path)
