"""AdamW on the adapter's one flat tensor, the schedule of its learning rate, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from engine.training.config import TrainConfig
from engine.training.lora import Lora


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of a step, counted from 0: rises over the warm-up, then falls to (not quite) nothing at the last.

    The first step already learns: a run of twenty steps cannot afford to lose one.
    """
    warm = round(config.warmup_ratio * steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    match config.lr_scheduler_type:
        case "constant":
            share = 1.0
        case "linear":
            share = 1 - done
        case "cosine":
            share = (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * share


class Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), fused, with clipping of the gradient's norm."""

    def __init__(self, lora: Lora, config: TrainConfig) -> None:
        self._lora = lora
        self._clip = config.max_grad_norm
        self._adamw = torch.optim.AdamW(
            [lora.flat],
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def norm(self) -> float:
        """Euclidean norm of the gradient; not finite if any part of it is not."""
        assert self._lora.flat.grad is not None
        return float(torch.linalg.vector_norm(self._lora.flat.grad))

    def step(self, rate: float, norm: float) -> None:
        """Change the adapter, the gradient scaled down to the clip where `norm` is above it."""
        grad = self._lora.flat.grad
        assert grad is not None
        if self._clip and norm > self._clip:
            grad.mul_(self._clip / norm)
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step count by name; empty before the first step."""
        held = self._adamw.state.get(self._lora.flat, {})
        return {f"adamw.{name}": value.detach().cpu().clone() for name, value in held.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        held = {n.removeprefix("adamw."): v for n, v in tensors.items() if n.startswith("adamw.")}
        device = self._lora.flat.device
        self._adamw.state.clear()
        if held:
            self._adamw.state[self._lora.flat] = {
                # The fused kernel keeps its step count as float32.
                name: value.to(device, torch.float32).clone()
                for name, value in held.items()
            }
