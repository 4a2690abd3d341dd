"""Memory told from a config alone, against what is really taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import memory as memory_benchmark
from engine.errors import ModelError
from engine.models.hub import catalog, load, memory, memory_estimate
from engine.models.nn.config import ModelConfig


@pytest.fixture
def embedded_config() -> ModelConfig:
    entry = catalog.find(catalog.EMBEDDED)
    assert entry is not None
    return entry.config


@pytest.mark.model
def test_predictions_are_close_to_measured_peaks(
    embedded: object, embedded_config: ModelConfig, redraft_home: Path
) -> None:
    """At the peak of a run, in float32, which no processor is slow at; `python -m benchmarks.memory` measures every
    stage, and larger models."""
    work = memory_benchmark.Work("float32", rows=8, tokens=128)
    values = memory_benchmark.config_values(embedded_config)
    wanted = ("train (SFT)",)
    found = list(memory_benchmark.measure("model", embedded_config, values, work, wanted))
    assert [one.stage for one in found] == list(wanted)
    assert all(abs(one.off) <= memory_benchmark.WITHIN for one in found), found


def test_a_catalog_entry_has_the_config_of_its_model(embedded_config: ModelConfig, redraft_home: Path) -> None:
    from engine.models.hub import embedded

    found = load.folder_config(embedded.prepare())
    # The GGUF file keeps it as a 32-bit float.
    assert found.norm_eps == pytest.approx(embedded_config.norm_eps, rel=1e-6)
    assert dataclasses.replace(found, norm_eps=embedded_config.norm_eps) == embedded_config


def test_needs_grow_with_what_makes_work_larger(embedded_config: ModelConfig) -> None:
    def total(rows: int, tokens: int, dtype: str = "float32") -> int:
        return memory_estimate.generate(embedded_config, dtype, rows, tokens).total

    assert total(8, 200) < total(16, 200) < total(16, 400)
    assert total(16, 200, "bfloat16") < total(16, 200)
    small = memory_estimate.train_lora(embedded_config, "float32", 512, rank=8)
    assert small.total < memory_estimate.train_lora(embedded_config, "float32", 512, rank=64).total
    assert small.total < memory_estimate.train_lora(embedded_config, "float32", 2_048, rank=8).total
    assert memory_estimate.score(embedded_config, "float32", 512).total < small.total
    assert small.additional_bytes == small.total - small.weights


def test_an_adapters_size_is_that_of_the_real_one(tiny: Callable[..., Path]) -> None:
    from engine.models.nn.families import from_transformers

    for family in ("llama", "qwen2", "gemma", "phi", "gpt2"):
        decoder = from_transformers(load.read_folder(tiny(family), "float32"))
        counted = sum(4 * (out + inner) for out, inner in decoder.adaptable().values())
        assert memory_estimate.lora_parameters(load.folder_config(tiny(family)), 4) == counted


def test_what_does_not_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 22_100_000_000)
    memory_estimate.check(8_900_000_000, "the dual profile")
    assert str(memory_estimate.fits(8_900_000_000)) == "needs 8.9 GB of 22.1 GB free"
    with pytest.raises(ModelError, match=r"the dual profile does not fit into memory: it needs 22\.0 GB of 22\.1 GB"):
        memory_estimate.check(22_000_000_000, "the dual profile")


def test_every_profile_can_be_told_before_anything_is_fetched() -> None:
    needs = []
    for profile in catalog.PROFILES:
        entries = [entry for name in profile.models if (entry := catalog.find(name))]
        needs.append(memory_estimate.together([entry.config for entry in entries], "bfloat16"))
    embedded, single, dual, conservative = needs
    assert embedded < single < conservative < dual
    assert 0.3e9 < needs[0] < 2e9
    assert 8e9 < needs[2] < 13e9


def test_there_is_always_a_cpu() -> None:
    names = [device.name for device in memory_estimate.devices()]
    assert names[-1] == "cpu"
    assert memory_estimate.device("cpu") == "cpu"
    assert memory_estimate.device() == names[0]
    assert memory_estimate.default_dtype("cpu") in memory_estimate.BYTES
    assert memory_estimate.cache_bytes() > 0
