"""FLOP counts agree with the architecture's own formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import arithmetic
from benchmarks.work import Product, TrainingRow
from engine.models.local import load_model
from engine.models.nn.config import ModelConfig
from engine.models.nn.decoder import Decoder
from engine.training.data import SftRow


@pytest.fixture
def decoder(tiny: Callable[..., Path], redraft_home: Path) -> Decoder:
    return load_model(str(tiny("llama")), device="cpu", dtype="float32").decoder


def layers_flop(a: ModelConfig) -> int:
    """Floating-point operations of the layers' matrix products for one token, attention left out."""
    attention = a.hidden_size * a.head_dim * (2 * a.num_heads + 2 * a.num_kv_heads)
    return 2 * a.num_layers * (attention + a.hidden_size * a.intermediate_size * (3 if a.gated else 2))


def head_flop(a: ModelConfig) -> int:
    return 2 * a.hidden_size * a.vocab_size


def flop(products: list[Product]) -> float:
    return sum(product.flop for product in products)


def test_scoring_needs_each_layer_once_and_the_head_where_a_token_is_scored(decoder: Decoder) -> None:
    rows = [TrainingRow(prompt=[start, 5, 6], chosen=[7, 8], rejected=[]) for start in (1, 2)]
    a = decoder.config
    # The last token of a row predicts nothing.
    assert flop(arithmetic.of_scoring(decoder, rows)) == pytest.approx(8 * layers_flop(a) + 4 * head_flop(a))


def test_a_shared_beginning_is_counted_once(decoder: Decoder) -> None:
    rows = [TrainingRow(prompt=[9] * 20 + [start], chosen=[7, 8], rejected=[]) for start in (1, 2, 3, 4)]
    a = decoder.config
    assert flop(arithmetic.of_scoring(decoder, rows)) == pytest.approx((20 + 4 * 2) * layers_flop(a) + 8 * head_flop(a))


def test_training_needs_them_twice_but_for_the_input_of_the_first_layer(decoder: Decoder) -> None:
    rows = [SftRow((1,) * n, (2,) * 3, str(n)) for n in (4, 5, 6)]
    a, qkv = decoder.config, decoder.blocks[0].qkv
    through = 4 + 5 + 6 + 3 * 2
    spared = through * 2 * qkv.in_features * qkv.out_features
    expected = 2 * through * layers_flop(a) - spared + 2 * 9 * head_flop(a)
    # Rows are rounded to whole ones a micro-batch, their number of times is not.
    assert flop(arithmetic.of_training(decoder, rows, 2, 1024)) == pytest.approx(expected)


def test_the_machine_s_rate_is_that_of_the_products_alone() -> None:
    products = [Product(64, 48, 32, times=3.0), Product(16, 64, 64, times=0.5)]
    found = arithmetic.machine_rate(products, torch.float32, 0.01)
    assert found["units"] == pytest.approx(2 * 64 * 48 * 32 * 3 + 16 * 64 * 64)
    assert found["seconds"] > 0
