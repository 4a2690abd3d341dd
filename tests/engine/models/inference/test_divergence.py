"""KL divergence and cross-entropy of two models, against a plain computation with transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.control import Control
from engine.models.inference.divergence import divergences
from engine.models.local import load_model

TEXTS = [[5, 9, 40, 41, 7, 80], [100, 3, 44], list(range(20, 220)), list(range(240, 40, -1))]


def test_divergence_equals_a_plain_computation(tiny: Callable[..., Path], redraft_home: Path) -> None:
    folders = tiny("llama"), tiny("llama", tie_word_embeddings=True)
    decoders = [load_model(str(folder), device="cpu", dtype="float32").decoder for folder in folders]
    texts = TEXTS
    found = divergences(decoders[0], decoders[1], texts, Control())
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in folders]
    for text, one in zip(texts, found, strict=True):
        with torch.no_grad():
            logps = [torch.log_softmax(model(torch.tensor([text])).logits[0, :-1].double(), -1) for model in models]
        kl = (logps[0].exp() * (logps[0] - logps[1])).sum(-1).mean()
        targets = torch.tensor(text[1:])[:, None]
        assert one.tokens == len(text) - 1
        assert one.kl == pytest.approx(float(kl), rel=1e-4)
        assert one.cross_entropy == pytest.approx(float(-logps[0].gather(1, targets).mean()), rel=1e-4)
        assert one.other_cross_entropy == pytest.approx(float(-logps[1].gather(1, targets).mean()), rel=1e-4)


def test_a_model_does_not_differ_from_itself(tiny: Callable[..., Path], redraft_home: Path) -> None:
    decoder = load_model(str(tiny("llama")), device="cpu", dtype="float32").decoder
    for one in divergences(decoder, decoder, TEXTS[:2], Control()):
        assert one.kl == pytest.approx(0, abs=1e-6)
        assert one.cross_entropy == one.other_cross_entropy


def test_a_text_of_one_token_is_refused(tiny: Callable[..., Path], redraft_home: Path) -> None:
    decoder = load_model(str(tiny("llama")), device="cpu", dtype="float32").decoder
    with pytest.raises(ValueError, match="fewer than two tokens"):
        divergences(decoder, decoder, [[1]], Control())
