"""LoRA adapters as plain tensors under peft's names; knows nothing of how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Learning:
    """What a pair under training keeps at hand, so that no pass has to cast its values or its gradients.

    Args:
        a: the pair's `a` in the decoder's dtype.
        b: the pair's `b` times its scale, in the decoder's dtype.
        grad_a, grad_b: fp32, where the backward pass adds the gradients of the pair's `a` and `b`; autograd gets none.
        drop: returns factors (0, or 1 / the share that is kept) that the input is multiplied by before `a`; one call
            serves all projections that share their input. None without dropout.
    """

    a: torch.Tensor
    b: torch.Tensor
    grad_a: torch.Tensor
    grad_b: torch.Tensor
    drop: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class LoraPair:
    """The low-rank change of one matrix: `scale * b @ a` is added to its weight (Hu et al., 2021).

    Args:
        a: [rank, in], peft's `lora_A.weight`.
        b: [out, rank], peft's `lora_B.weight`.
        scale: peft's `lora_alpha / r` (or `lora_alpha / sqrt(r)` with rslora).
        learning: while it is trained, what makes that fast; None otherwise.

    `a` and `b` may have another dtype than the decoder (fp32 masters over bf16 weights): they are cast where they are
    used, and their gradients come back in their own dtype (see `Learning` for how training avoids both).
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    learning: Learning | None = None

    def delta(self) -> torch.Tensor:
        """The change itself, fp32 [out, in]."""
        return self.scale * (self.b.float() @ self.a.float())

    def fixed(self) -> LoraPair:
        """The pair as it is now, whatever is trained afterwards."""
        return LoraPair(self.a.detach().clone(), self.b.detach().clone(), self.scale)


@dataclass(frozen=True)
class Adapter:
    """The pairs of one adapter by the original module's full name, such as `model.layers.3.self_attn.q_proj`
    (what `Decoder.adaptable()` lists, and what peft writes between `base_model.model.` and `.lora_A.weight`)."""

    pairs: Mapping[str, LoraPair]
