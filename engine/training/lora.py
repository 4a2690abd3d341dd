"""LoRA adapters that learn (Hu et al., 2021): their float32 master values, how they start, and how they are written in
peft's file format (`engine.models.hub.adapter` reads it).

All values live in one flat tensor, so that one fused AdamW step, one norm and one reduction between processes serve
them all. `engine.models` adds an adapter's change to the products; nothing here knows how.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import InputError
from engine.models.hub.adapter import CONFIG, PREFIX, WEIGHTS
from engine.models.hub.tensor_files import write_json, write_tensors
from engine.models.nn.lora_weights import Adapter, Learning, LoraPair
from engine.training.config import ALL_LINEAR

TRANSPOSED = {"gpt2"}
"""Families whose modules are Conv1D in transformers: peft has to know that their weights are stored [in, out]."""


@dataclass(frozen=True)
class LoraMatrix:
    """Where one matrix of one module lies in the flat tensor."""

    name: str
    start: int
    shape: tuple[int, int]

    @property
    def stop(self) -> int:
        return self.start + self.shape[0] * self.shape[1]

    def of(self, flat: Tensor) -> Tensor:
        """The matrix in a tensor that is laid out as `Lora.flat`; shares its memory."""
        return flat[self.start : self.stop].view(self.shape)


class Lora:
    """An adapter under training.

    Args:
        shapes: the modules that get one: full name -> (out features, in features), as from `Decoder.adaptable()`.
        rank, alpha, dropout: as in `TrainConfig`.
        device: where the values live.

    Attributes:
        flat: float32 [parameters], what the optimizer changes; its `.grad` is one tensor of the same size, which the
            matrices' own gradients are views of.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if not shapes:
            raise InputError(
                "no matrix of the model is named by the training's targets.",
                where="--target-modules",
                next_step=f'Use "{ALL_LINEAR}", or the names of the model\'s own modules.',
            )
        self.rank, self.alpha = rank, alpha
        self._dropout = dropout
        self._chance = torch.Generator(device)
        self._parts: list[LoraMatrix] = []
        size = 0
        for name, (out, inner) in shapes.items():
            for matrix, shape in (("lora_A", (rank, inner)), ("lora_B", (out, rank))):
                self._parts.append(LoraMatrix(f"{name}.{matrix}", size, shape))
                size += shape[0] * shape[1]
        self.flat = torch.zeros(size, dtype=torch.float32, device=device)
        self.flat.grad = torch.zeros_like(self.flat)
        self._leaves = {part.name: self._leaf(part) for part in self._parts}
        self._places = {name: (self._parts[2 * n], self._parts[2 * n + 1]) for n, name in enumerate(shapes)}
        self._second = torch.zeros(size, dtype=torch.bool, device=device)
        for _, part in self._places.values():
            part.of(self._second).fill_(True)
        self._names = tuple(shapes)

    def _leaf(self, part: LoraMatrix) -> Tensor:
        leaf = part.of(self.flat.detach()).requires_grad_()
        assert self.flat.grad is not None
        leaf.grad = part.of(self.flat.grad)
        return leaf

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return self.flat.numel()

    def initialize(self, seed: int) -> None:
        """peft's start: `lora_A` uniform as `torch.nn.Linear` starts, `lora_B` zero, so that nothing changes yet."""
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for part in self._parts:
                leaf = self._leaves[part.name]
                if part.name.endswith("lora_B"):
                    leaf.zero_()
                    continue
                # Kaiming uniform with a = sqrt(5) is uniform within 1 / sqrt(in).
                bound = 1 / math.sqrt(part.shape[1])
                leaf.copy_(torch.empty(part.shape).uniform_(-bound, bound, generator=source))

    def adapter(self) -> Adapter:
        """The live adapter: its tensors share memory with `flat`, require gradients and write them into `flat.grad`."""
        return Adapter(
            {
                name: LoraPair(self._leaves[f"{name}.lora_A"], self._leaves[f"{name}.lora_B"], self.scale)
                for name in self._names
            }
        )

    def trainable_view(self, dtype: torch.dtype, *, dropout: bool = True) -> Adapter:
        """The live adapter as a step uses it: its present values cast to the decoder's dtype once. Gradients go into
        `flat.grad`, as with `adapter`; take it anew after each optimizer step."""
        with torch.no_grad():
            scaled = torch.where(self._second, self.flat * self.scale, self.flat).to(dtype)
        assert self.flat.grad is not None
        grad, drop = self.flat.grad, self._keep if dropout and self._dropout else None
        pairs: dict[str, LoraPair] = {}
        for name, (first, second) in self._places.items():
            learning = Learning(first.of(scaled), second.of(scaled), first.of(grad), second.of(grad), drop)
            a, b = self._leaves[f"{name}.lora_A"], self._leaves[f"{name}.lora_B"]
            pairs[name] = LoraPair(a, b, self.scale, learning)
        return Adapter(pairs)

    def start_step(self, seed: int, step: int, process: int) -> None:
        """Empty the gradients, and let this step's dropout depend on these numbers only: nothing of it has to be kept
        for a resume."""
        assert self.flat.grad is not None
        self.flat.grad.zero_()
        self._chance.manual_seed((seed * 1_000_003 + step) * 1_009 + process)

    def _keep(self, x: Tensor) -> Tensor:
        kept = torch.empty_like(x).bernoulli_(1 - self._dropout, generator=self._chance)
        return kept.mul_(1 / (1 - self._dropout))

    def export(self) -> Adapter:
        """A copy of the present values that no longer changes and requires no gradients."""
        pairs = self.adapter().pairs
        return Adapter(
            {name: LoraPair(p.a.detach().clone(), p.b.detach().clone(), p.scale) for name, p in pairs.items()}
        )

    def load(self, adapter: Adapter) -> None:
        """Take over values, such as those that an earlier training stage ended with.

        Raises:
            InputError: if it changes other modules or has another rank or scale.
        """
        if set(adapter.pairs) != set(self._names):
            raise InputError(
                "the adapter changes other modules than this training does.",
                next_step="Use the same targets, or merge the adapter into the model first.",
            )
        with torch.no_grad():
            for name, pair in adapter.pairs.items():
                for leaf, value in (("lora_A", pair.a), ("lora_B", pair.b)):
                    target = self._leaves[f"{name}.{leaf}"]
                    if target.shape != value.shape or not math.isclose(pair.scale, self.scale):
                        raise InputError(
                            f"the adapter of {name} has another rank or scale than this training.",
                            next_step="Use the same rank and alpha, or merge the adapter into the model first.",
                        )
                    target.copy_(value)


def select(adaptable: Mapping[str, tuple[int, int]], targets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The modules that `targets` name: by the last part of their name, or all.

    Raises:
        InputError: if a target names nothing.
    """
    if tuple(targets) == (ALL_LINEAR,):
        return dict(adaptable)
    known = sorted({name.rpartition(".")[2] for name in adaptable})
    for target in targets:
        if target not in known:
            raise InputError(
                f"the model has no matrix {target!r}.",
                where="--target-modules",
                next_step=f'Use "{ALL_LINEAR}" or some of: {", ".join(known)}.',
            )
    return {name: shape for name, shape in adaptable.items() if name.rpartition(".")[2] in targets}


def tensors(adapter: Adapter) -> dict[str, Tensor]:
    """An adapter's values under peft's names, contiguous float32 on the CPU."""
    named: dict[str, Tensor] = {}
    for name, pair in adapter.pairs.items():
        named[f"{PREFIX}{name}.lora_A.weight"] = pair.a.detach().float().cpu().contiguous()
        named[f"{PREFIX}{name}.lora_B.weight"] = pair.b.detach().float().cpu().contiguous()
    return named


def save(adapter: Adapter, folder: Path, *, base_model: str, family: str) -> None:
    """Write an adapter so that `peft.PeftModel.from_pretrained` loads it.

    Args:
        adapter: all pairs of one rank and scale.
        folder: made if missing.
        base_model: name or path of the model that it belongs to, written into the configuration.
        family: transformers' `model_type` of that model.

    Raises:
        StorageError: if it cannot be written.
    """
    pair = next(iter(adapter.pairs.values()))
    rank = pair.a.shape[0]
    config = {
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": family in TRANSPOSED,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": pair.scale * rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        # Full names: two modules of a model may end alike (gpt2's attn.c_proj and mlp.c_proj).
        "target_modules": sorted(adapter.pairs),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    write_json(folder / CONFIG, config)
    write_tensors(folder / WEIGHTS, tensors(adapter))


def untrained(adapter: Adapter) -> Adapter:
    """The adapter before its first step, which changes nothing: B is 0 in every pair."""
    return Adapter(
        {name: LoraPair(pair.a, torch.zeros_like(pair.b), pair.scale) for name, pair in adapter.pairs.items()}
    )
