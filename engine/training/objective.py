"""Training objectives: rows in, a loss and the sums of its metrics out. Metrics have TRL's names.

To add one: write a class that follows `Objective`, return it from `objective_for`, and name it in
`ObjectiveName` (engine/training/config.py).
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
from engine.models.hub.tensor_files import read_tensors, write_tensors
from engine.training.config import LossType, TrainConfig
from engine.training.data import PairRow, Row, SftRow, fingerprint, split
from engine.training.losses import PairLogps, preference_losses, segment_sums, sft_loss
from engine.training.policy import Completions, Policy


@dataclass(frozen=True)
class MicroBatchLoss:
    """Loss and metric sums of one micro-batch.

    Args:
        loss: [] its share of the step's loss; the shares of all micro-batches and processes add up to the loss.
        sums: name -> [] a sum over the micro-batch that becomes a metric when divided by the step's total.
    """

    loss: Tensor
    sums: Mapping[str, Tensor]


@dataclass(frozen=True)
class Totals:
    """Denominators of a step, over all micro-batches and processes.

    Args:
        count: what the loss and every metric is divided by: completion tokens (SFT) or pairs (DPO).
        chosen_tokens: tokens of the completions whose likelihood is raised; the denominator of an NLL term.
    """

    count: int
    chosen_tokens: int


class Objective(Protocol):
    """An objective that the loop can follow."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names in `MicroBatchLoss.sums`, in the order in which processes exchange them."""
        ...

    def check(self, rows: Sequence[Row]) -> None:
        """Raise `InputError` if these rows are not of the objective's kind."""
        ...

    def prepare(self, policy: Policy, rows: Sequence[Row], control: Control) -> None:
        """What must be known of the rows before the first step, under the policy as training finds it."""
        ...

    def totals(self, rows: Sequence[Row]) -> Totals:
        """What losses and metrics of these rows are divided by."""
        ...

    def loss(self, policy: Policy, rows: Sequence[Row], totals: Totals) -> MicroBatchLoss:
        """The loss of some of a step's rows; `totals` are those of the whole step."""
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

    def totals(self, rows: Sequence[Row]) -> Totals:
        tokens = sum(row.targets for row in rows)
        return Totals(tokens, tokens)

    def loss(self, policy: Policy, rows: Sequence[Row], totals: Totals) -> MicroBatchLoss:
        scored = policy.score([Completions(row.prompt, (row.completion,)) for row in rows if isinstance(row, SftRow)])
        return MicroBatchLoss(sft_loss(scored.logps, totals.count), {"mean_token_accuracy": scored.correct.sum()})


@dataclass
class Dpo:
    """Direct preference optimization (Rafailov et al., 2023), with an optional NLL term on the chosen completions
    (Pang et al., 2024, iterative RPO).

    Args:
        beta: strength of the pull towards the reference.
        loss_type: the preference loss, see `losses.preference_losses`.
        rpo_alpha: weight of the negative log-likelihood per chosen token; 0 leaves it out.
        store: folder for the reference's log-probabilities, named by a hash of model and rows; None keeps them in
            memory only.
        micro_batch_tokens: most tokens of one pass of the reference.
        model: names the reference model in that hash.
    """

    beta: float
    loss_type: LossType = "sigmoid"
    rpo_alpha: float = 0.0
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
        "nll_loss",
        "logratios/chosen",
    )
    _reference: dict[PairRow, tuple[float, float]] = field(default_factory=dict)

    def check(self, rows: Sequence[Row]) -> None:
        if not all(isinstance(row, PairRow) for row in rows):
            raise InputError("DPO trains on pairs, and was given completions.", where="training, objective")

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

    def totals(self, rows: Sequence[Row]) -> Totals:
        return Totals(len(rows), sum(len(row.chosen) for row in rows if isinstance(row, PairRow)))

    def loss(self, policy: Policy, rows: Sequence[Row], totals: Totals) -> MicroBatchLoss:
        pairs = [row for row in rows if isinstance(row, PairRow)]
        logps = pair_logps(policy, pairs)
        reference = torch.tensor(
            [self._reference[row] for row in pairs], dtype=torch.float32, device=logps.chosen.device
        )
        losses, rewards = preference_losses(self.loss_type, logps, reference[:, 0], reference[:, 1], self.beta)
        # Over all micro-batches of the step these sum to the mean over its chosen tokens.
        nll = -logps.chosen.sum() / totals.chosen_tokens
        loss = losses.sum() / totals.count
        if self.rpo_alpha:
            loss = loss + self.rpo_alpha * nll
        margins = rewards.chosen - rewards.rejected
        sums = {
            "rewards/chosen": rewards.chosen.sum(),
            "rewards/rejected": rewards.rejected.sum(),
            "rewards/accuracies": (margins > 0).sum(),
            "rewards/margins": margins.sum(),
            "logps/chosen": logps.chosen.detach().sum(),
            "logps/rejected": logps.rejected.detach().sum(),
            "nll_loss": nll.detach() * totals.count,
            "logratios/chosen": ((logps.chosen.detach() - reference[:, 0]) / logps.chosen_tokens).sum(),
        }
        return MicroBatchLoss(loss, sums)


def pair_logps(policy: Policy, pairs: Sequence[PairRow]) -> PairLogps:
    """Summed log-probabilities of the chosen and of the rejected completions."""
    scored = policy.score([Completions(row.prompt, (row.chosen, row.rejected)) for row in pairs])
    sums = segment_sums(scored.logps, scored.lengths)
    return PairLogps(sums[0::2], sums[1::2], scored.lengths[0::2], scored.lengths[1::2])


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
        logps = pair_logps(still, part)
        values[:, where] = torch.stack([logps.chosen.float().cpu(), logps.rejected.float().cpu()])
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


def objective_for(config: TrainConfig, *, store: Path | None = None, model: str = "") -> Objective:
    """The objective that a configuration names."""
    if config.objective == "sft":
        return Sft()
    return Dpo(
        config.beta,
        config.loss_type,
        config.rpo_alpha,
        store=store,
        micro_batch_tokens=config.micro_batch_tokens,
        model=model,
    )
