"""What a training reports while it runs, its result, and its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.models.nn.lora_weights import Adapter


@dataclass(frozen=True)
class Step:
    """One optimizer step.

    Args:
        step: from 1.
        steps: of the whole training.
        epoch: from 1.
        batch: of the epoch, from 1.
        batches: of the epoch.
        loss: over the whole step, all processes.
        change: of the loss against the step before; 0 for the first.
        learning_rate: that was used.
        grad_norm: before clipping.
        num_tokens: tokens that went through the model since training began, all processes.
        seconds: this step took, callbacks left out.
        tokens_per_second: of this step, all processes.
        skipped: loss or gradient was not finite, and nothing was changed.
        metrics: the objective's, by TRL's names.
    """

    step: int
    steps: int
    epoch: int
    batch: int
    batches: int
    loss: float
    change: float
    learning_rate: float
    grad_norm: float
    num_tokens: int
    seconds: float
    tokens_per_second: float
    skipped: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Epoch:
    """One pass over the rows.

    Args:
        epoch: from 1.
        epochs: of the whole training.
        loss: mean of its steps' losses, skipped ones left out.
        validation: `loss` and the objective's metrics on the validation rows; empty where there are none.
        seconds: its steps took, callbacks left out.
    """

    epoch: int
    epochs: int
    loss: float
    validation: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Args:
        adapter: the learned change, float32; it no longer changes.
        steps: optimizer steps done.
        epochs: one summary a pass.
        metrics: those of the last step, with its `loss`.
        num_tokens: tokens that went through the model, all processes.
        seconds: over all steps, callbacks left out.
        resumed_from: the step of the checkpoint that training went on from; 0 for none.
    """

    adapter: Adapter
    steps: int
    epochs: tuple[Epoch, ...]
    metrics: Mapping[str, float]
    num_tokens: int
    seconds: float
    resumed_from: int


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Hooks:
    """Callbacks, called on the training thread and in the main process only.

    Args:
        on_step: after each step.
        on_epoch: after each pass.
        on_sample: after the first step and every `sample_steps` steps, after `on_step`, with the step and a copy of
            the adapter. The caller generates with it, attached or merged.
        on_notice: a sentence about something unusual: a damaged checkpoint, a step that was skipped.
    """

    on_step: Callable[[Step], None] = _nothing
    on_epoch: Callable[[Epoch], None] = _nothing
    on_sample: Callable[[Step, Adapter], None] = _nothing
    on_notice: Callable[[str], None] = _nothing
