"""Rows of random tokens and adapters that change something, for the tests of training."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.models.nn.decoder import Decoder
from engine.training.data import PairRow, SftRow
from engine.training.lora import Lora

VOCABULARY = 250


@dataclass(frozen=True)
class Twin:
    """The same weights twice: as a decoder, and as transformers computes with them."""

    family: str
    folder: Path
    decoder: Decoder

    def reference(self) -> Any:
        """transformers' own model, read anew."""
        return reference(self.folder)


def reference(folder: Path) -> Any:
    """transformers' own model in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def sft_rows(count: int, seed: int = 0, longest: int = 16) -> list[SftRow]:
    source = random.Random(seed)
    return [SftRow(_ids(source, longest), _ids(source, longest), str(number)) for number in range(count)]


def pair_rows(count: int, seed: int = 0, longest: int = 16) -> list[PairRow]:
    source = random.Random(seed)
    return [
        PairRow(_ids(source, longest), _ids(source, longest), _ids(source, longest), str(number))
        for number in range(count)
    ]


def _ids(source: random.Random, longest: int) -> tuple[int, ...]:
    return tuple(source.randrange(3, VOCABULARY) for _ in range(source.randint(2, longest)))


def learned(decoder: Decoder, rank: int = 4, alpha: float = 8.0, seed: int = 0) -> Lora:
    """An adapter on all matrices with values that change the output, as after some training."""
    lora = Lora(decoder.adaptable(), rank, alpha)
    lora.initialize(seed)
    source = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for pair in lora.adapter().pairs.values():
            pair.b.copy_(0.05 * torch.randn(pair.b.shape, generator=source))
    return lora
