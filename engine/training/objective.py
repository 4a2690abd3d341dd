"""What is learned: an objective turns rows into a loss and into the sums that its metrics are made of.

Metrics carry TRL's names, so that curves can be compared with those of its trainers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.control import Control
from engine.errors import InputError, StorageError
from engine.training.config import TrainConfig
from engine.training.data import PairRow, Row, SftRow, fingerprint, split
from engine.training.losses import dpo_loss, segment_sums, sft_loss
from engine.training.policy import Completions, Policy
from engine.training.tensor_files import read_tensors, write_tensors


@dataclass(frozen=True)
class Micro:
    """What one micro-batch gives.

    Args:
        loss: [] its share of the step's loss; the shares of all micro-batches and processes add up to the loss.
        sums: name -> [] a sum over the micro-batch that becomes a metric when divided by the step's total.
    """

    loss: Tensor
    sums: Mapping[str, Tensor]


class Objective(Protocol):
    """An objective that the loop can follow."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names in `Micro.sums`, in the order in which processes exchange them."""
        ...

    def check(self, rows: Sequence[Row]) -> None:
        """Raise `InputError` if these rows are not of the objective's kind."""
        ...

    def prepare(self, policy: Policy, rows: Sequence[Row], control: Control) -> None:
        """What must be known of the rows before the first step, under the policy as training finds it."""
        ...

    def total(self, rows: Sequence[Row]) -> int:
        """What the loss of these rows is divided by: tokens or pairs."""
        ...

    def micro(self, policy: Policy, rows: Sequence[Row], total: int) -> Micro:
        """The loss of some of a step's rows; `total` is that of the whole step."""
        ...


class Sft:
    """Learn the completions: the mean negative log-likelihood of their tokens."""

    name = "sft"
    metrics: tuple[str, ...] = ("mean_token_accuracy",)

    def check(self, rows: Sequence[Row]) -> None:
        if not all(isinstance(row, SftRow) for row in rows):
            raise InputError("SFT learns completions, and was given preference pairs.", where="training, objective")

    def prepare(self, policy: Policy, rows: Sequence[Row], control: Control) -> None:
        """Nothing is needed."""

    def total(self, rows: Sequence[Row]) -> int:
        return sum(row.targets for row in rows)

    def micro(self, policy: Policy, rows: Sequence[Row], total: int) -> Micro:
        found = policy.score([Completions(row.prompt, (row.completion,)) for row in rows if isinstance(row, SftRow)])
        return Micro(sft_loss(found.logps, total), {"mean_token_accuracy": found.hits.sum()})


@dataclass
class Dpo:
    """Learn to prefer: direct preference optimisation (Rafailov et al., 2023) with the sigmoid loss.

    Args:
        beta: how strongly the policy is held to the reference.
        store: folder for the reference's log-probabilities, named by a hash of model and rows; None keeps them in
            memory only.
        micro_batch_tokens: most tokens of one pass of the reference.
        model: names the reference model in that hash.
    """

    beta: float
    store: Path | None = None
    micro_batch_tokens: int = 1024
    model: str = ""
    name: str = "dpo"
    metrics: tuple[str, ...] = (
        "rewards/chosen",
        "rewards/rejected",
        "rewards/accuracies",
        "rewards/margins",
        "logps/chosen",
        "logps/rejected",
    )
    _reference: dict[PairRow, tuple[float, float]] = field(default_factory=dict)

    def check(self, rows: Sequence[Row]) -> None:
        if not all(isinstance(row, PairRow) for row in rows):
            raise InputError("DPO learns from pairs, and was given completions.", where="training, objective")

    def prepare(self, policy: Policy, rows: Sequence[Row], control: Control) -> None:
        """The reference's log-probabilities of all pairs: read where they are stored, else computed once."""
        new = [row for row in dict.fromkeys(rows) if isinstance(row, PairRow) and row not in self._reference]
        if not new:
            return
        path = None if self.store is None else self.store / f"{self._key(new)}.safetensors"
        values = None if path is None else _stored(path, len(new))
        if values is None or bool(torch.isnan(values).any()):
            values = reference_logps(policy, new, self.micro_batch_tokens, control, path, values)
        self._reference.update(zip(new, map(tuple, values.T.tolist()), strict=True))

    def _key(self, rows: Sequence[PairRow]) -> str:
        return hashlib.sha256(f"{self.model} {fingerprint(rows)}".encode()).hexdigest()

    def total(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def micro(self, policy: Policy, rows: Sequence[Row], total: int) -> Micro:
        pairs = [row for row in rows if isinstance(row, PairRow)]
        chosen, rejected = pair_logps(policy, pairs)
        reference = torch.tensor([self._reference[row] for row in pairs], dtype=torch.float32, device=chosen.device)
        loss, rewards = dpo_loss(chosen, rejected, reference[:, 0], reference[:, 1], self.beta, total)
        margins = rewards.chosen - rewards.rejected
        sums = {
            "rewards/chosen": rewards.chosen.sum(),
            "rewards/rejected": rewards.rejected.sum(),
            "rewards/accuracies": (margins > 0).sum(),
            "rewards/margins": margins.sum(),
            "logps/chosen": chosen.detach().sum(),
            "logps/rejected": rejected.detach().sum(),
        }
        return Micro(loss, sums)


def pair_logps(policy: Policy, pairs: Sequence[PairRow]) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of the chosen and of the rejected completions, [P] each."""
    found = policy.score([Completions(row.prompt, (row.chosen, row.rejected)) for row in pairs])
    sums = segment_sums(found.logps, found.lengths)
    return sums[0::2], sums[1::2]


def reference_logps(
    policy: Policy,
    pairs: Sequence[PairRow],
    micro_batch_tokens: int,
    control: Control,
    path: Path | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Log-probabilities of all pairs under a policy that does not learn, on the CPU.

    Args:
        path: where what is known so far is kept, written after each pass through the model.
        known: what was kept there before; passes that it holds are not made again. A pass is always of the same pairs,
            so that no sum is rounded in another way after an interruption.

    Returns:
        [2, P]: of the chosen, of the rejected completions.

    Raises:
        Stopped: if a stop was asked for.
        StorageError: if they cannot be stored.
    """
    values = torch.full((2, len(pairs)), torch.nan) if known is None else known.clone()
    still = replace(policy, learn=False)
    places = {row: place for place, row in enumerate(pairs)}
    for rows in split(pairs, micro_batch_tokens):
        part = [row for row in rows if isinstance(row, PairRow)]
        where = [places[row] for row in part]
        if not bool(torch.isnan(values[:, where]).any()):
            continue
        control.check()
        values[:, where] = torch.stack([sums.float().cpu() for sums in pair_logps(still, part)])
        if path is not None:
            write_tensors(path, {"chosen": values[0].contiguous(), "rejected": values[1].contiguous()})
    return values


def _stored(path: Path, count: int) -> Tensor | None:
    """[2, P], with NaN for what is not known yet; None where nothing useful is stored."""
    if not path.exists():
        return None
    try:
        values = read_tensors(path)
    except StorageError:
        # It can be computed again, and will be written over.
        return None
    chosen, rejected = values.get("chosen"), values.get("rejected")
    if chosen is None or rejected is None or chosen.shape != (count,) or rejected.shape != (count,):
        return None
    return torch.stack([chosen.float(), rejected.float()])


def objective_for(config: TrainConfig, *, store: Path | None = None, model: str = "") -> Sft | Dpo:
    """The objective that a configuration names."""
    if config.objective == "sft":
        return Sft()
    return Dpo(config.beta, store=store, micro_batch_tokens=config.micro_batch_tokens, model=model)
