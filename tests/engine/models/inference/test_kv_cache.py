"""The key and value cache of the rows that are being generated."""

from __future__ import annotations

import pytest
import torch

from engine.models.inference.kv_cache import KVCache
from engine.models.nn.config import ModelConfig

CONFIG = ModelConfig("llama", 16, 8, 1, 2, 2, 4, 8, 128, True)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("length", [1, 31, 32, 33, 64])
def test_a_row_is_copied_even_where_it_fills_all_of_its_room(length: int, copies: int) -> None:
    cache = KVCache(CONFIG, 4, 64, torch.float32, torch.device("cpu"))
    source, *targets = cache.add([length] * (1 + copies), None)
    for store in (*cache.keys, *cache.values):
        store[source, :, :length] = torch.rand(2, length, 4)
    cache.copy(source, targets)
    for store in (*cache.keys, *cache.values):
        for target in targets:
            assert torch.equal(store[target, :, :length], store[source, :, :length])
