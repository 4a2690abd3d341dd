"""What training computes on the device has dtypes that every device has: Apple's GPUs have no float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_aid import Twin

from engine.control import Control
from engine.training.config import TrainConfig
from engine.training.data import PairRow, SftRow
from engine.training.lora import Lora
from engine.training.objective import objective_for
from engine.training.optimizer import Optimizer
from engine.training.policy import Policy


class NoFloat64(TorchDispatchMode):
    """Fails where an operation returns a float64 tensor."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(isinstance(found, Tensor) and found.dtype == torch.float64 for found in tree_leaves(out)):
            raise TypeError(f"{func} returns float64")
        return out


@pytest.mark.parametrize("objective", ["sft", "dpo"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_step_needs_no_float64(twin: Callable[[str], Twin], family: str, objective: str) -> None:
    decoder = twin(family).decoder
    prompt = tuple(range(3, 12))
    rows: Any = [SftRow(prompt, (5, 6, 7))] if objective == "sft" else [PairRow(prompt, (5, 6, 7), (8, 9))]
    config = TrainConfig.sft() if objective == "sft" else TrainConfig.dpo(rpo_alpha=0.1)
    lora = Lora(decoder.adaptable(), 4, 8.0, 0.1)
    lora.initialize(0)
    optimizer, chosen = Optimizer(lora, config), objective_for(config)
    with NoFloat64():
        chosen.prepare(Policy(decoder, lora.trainable_view(decoder.dtype, dropout=False), learn=False), rows, Control())
        lora.start_step(0, 0, 0)
        found = chosen.loss(Policy(decoder, lora.trainable_view(decoder.dtype)), rows, chosen.totals(rows))
        found.loss.backward()
        optimizer.step(1e-3, optimizer.norm())
    assert torch.isfinite(lora.flat).all()


def test_the_check_notices_float64() -> None:
    with pytest.raises(TypeError, match="float64"), NoFloat64():
        torch.ones(2).double()
