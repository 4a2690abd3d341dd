"""Events of fine-tuning: its start, every optimizer step, samples and health on the way, every epoch, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.events.base import KEY
from engine.events.schema import Event, data, in_name, raw, text
from engine.events.verdicts import VerdictData


@dataclass(frozen=True, kw_only=True)
class TrainStart(Event):
    """Fine-tuning began."""

    STAGE = "TRAIN-START"
    objective: str = data("sft or dpo.", absent="")
    rows: int = data("Training rows.", absent=0)
    validation: int = data("Validation rows: kept out of training to measure the loss on.", absent=0)
    epochs: int = data("Epochs.", absent=0)
    batches: int = data("Optimizer steps per epoch.", absent=0)
    config: Mapping[str, Any] = data("The settings of the training.", absent={})
    training: int = data("Which training of the run, from 1; there is one per training seed.", absent=1)
    trainings: int = data("Trainings of the run.", absent=1)
    seed: int = data("Seed of this training.", absent=0)


@dataclass(frozen=True, kw_only=True)
class TrainStep(Event):
    """One optimizer step. The objective's metrics have TRL's names."""

    STAGE = "EPOCH-{epoch}-BATCH-{batch}"
    level: int = KEY
    loss: float | None = data("Loss of the step: mean over completion tokens (SFT) or pairs (DPO).")
    change: float | None = data("Loss minus that of the step before; 0 at the first.", absent=None)
    step: int = data("Number of the step, from 1.", absent=0)
    steps: int = data("Steps of the whole training.", absent=0)
    epoch: int = data("Number of the epoch, from 1.", absent=0)
    batch: int = data("Number of the step in its epoch, from 1.", absent=0)
    batches: int = data("Steps of the epoch.", absent=0)
    learning_rate: float | None = data("Learning rate of the step.", key="lr", absent=None)
    grad_norm: float | None = data("Norm of the gradient before clipping.", absent=None)
    num_tokens: int = data("Tokens trained on so far.", absent=0)
    seconds: float = data("Wall time of the step.", absent=0.0, digits=4)
    tokens_per_second: float | None = data("Speed of the step.", absent=None, digits=1)
    skipped: bool = data("Whether loss or gradient were not finite, so that nothing was changed.", absent=False)
    mean_token_accuracy: float | None = data("SFT: share of tokens that were the model's first choice.", optional=True)
    rewards_chosen: float | None = data("DPO: mean reward of the chosen answers.", key="rewards/chosen", optional=True)
    rewards_rejected: float | None = data(
        "DPO: mean reward of the rejected answers.", key="rewards/rejected", optional=True
    )
    rewards_margins: float | None = data("DPO: mean difference of the two.", key="rewards/margins", optional=True)
    rewards_accuracies: float | None = data(
        "DPO: share of pairs whose chosen answer has the larger reward.", key="rewards/accuracies", optional=True
    )
    logps_chosen: float | None = data(
        "DPO: mean log-probability of the chosen answers.", key="logps/chosen", optional=True
    )
    logps_rejected: float | None = data(
        "DPO: mean log-probability of the rejected answers.", key="logps/rejected", optional=True
    )
    nll_loss: float | None = data("DPO: mean negative log-likelihood of the chosen answers' tokens.", optional=True)
    logratios_chosen: float | None = data(
        "DPO: mean log-ratio of the chosen answers to the reference model.", key="logratios/chosen", optional=True
    )


@dataclass(frozen=True, kw_only=True)
class TrainSample(Event):
    """The model in training answered one of the training prompts."""

    STAGE = "EPOCH-{epoch}-BATCH-{batch}"
    level: int = KEY
    epoch: int = in_name("Number of the epoch, from 1.")
    batch: int = in_name("Number of the step in its epoch, from 1.")
    prompt: str = text("The prompt.", label="sample prompt")
    answer: str = text("The answer.", label="sample")
    request: str = raw("The prompt as sent, with the model's chat template.")
    raw_output: str = raw("The output before cleaning.", label="raw")
    step: int = data("The step after which it was written.")
    verdict: VerdictData = data("The verdict on the answer.", key="sample")
    tokens: int = data("Tokens generated.", absent=0)
    seconds: float = data("Wall time of answer and verdict.", absent=0.0, digits=3)


@dataclass(frozen=True, kw_only=True)
class TrainHealth(Event):
    """What the model in training looks like at a sample step, and whether every figure is within its limit."""

    STAGE = "TRAIN-HEALTH"
    level: int = KEY
    step: int = data("The step.")
    healthy: bool = data("Whether all figures are within their limits; such a step's adapter is kept.", absent=False)
    samples: int = data("Sample answers that were looked at.", absent=0)
    chosen: float | None = data(
        "Mean change of the chosen answers' log-probability against the base model over the last three steps, nats "
        "per token.",
        absent=None,
        digits=4,
    )
    margin: float | None = data("Mean reward margin over the last three steps; null for SFT.", absent=None, digits=4)
    repetition: float | None = data("Mean share of repeated 4-grams in the samples.", absent=None, digits=4)
    words: float | None = data("Mean words of the samples.", absent=None, digits=2)
    distinct_2: float | None = data("Distinct word pairs over all pairs of the samples.", absent=None, digits=4)
    empty: float | None = data("Share of empty samples.", absent=None, digits=4)
    unusable: float | None = data("Share of samples that are degenerate or off topic.", absent=None, digits=4)
    base: Mapping[str, float | None] = data("The same figures of the base model's answers, as far as known.", absent={})
    training: int = data("Which training of the run, from 1.", absent=1)


@dataclass(frozen=True, kw_only=True)
class HealthAlarm(Event):
    """A sign that training damages the model. Each kind is raised once per training."""

    STAGE = "HEALTH-ALARM"
    kind: str = data("likelihood, margin, repetition, length, distinct, empty or unusable.")
    step: int = data("The step at which it was measured.")
    measured: float | None = data("What was measured.", absent=None, digits=4)
    limit: float | None = data("The limit that it is past.", absent=None, digits=4)
    last_healthy: int = data(
        "The last step at which every figure was within its limit; 0 for the untrained model.", absent=0
    )
    action: str = data("What happens without an answer: ask, continue or restore.", absent="")
    training: int = data("Which training of the run, from 1.", absent=1)


@dataclass(frozen=True, kw_only=True)
class HealthDecision(Event):
    """What was decided after an alarm."""

    STAGE = "HEALTH-DECISION"
    choice: str = data("continue or restore.")
    by: str = data("user, the setting on_alarm, or the end of training (an unanswered question).", absent="")
    step: int = data("The step at which it was decided.", absent=0)
    restored: int | None = data("The step whose adapter is compared; null where training continues.", absent=None)
    training: int = data("Which training of the run, from 1.", absent=1)


@dataclass(frozen=True, kw_only=True)
class EpochEnd(Event):
    """An epoch ended."""

    STAGE = "EPOCH-{epoch}-COMPLETE"
    loss: float | None = data("Mean loss of its steps.", absent=None)
    validation_loss: float | None = data(
        "Loss on the validation rows; null where there are none.", key="valid", absent=None
    )
    epoch: int = data("Number of the epoch, from 1.", absent=0)
    epochs: int = data("Epochs of the whole training.", absent=0)
    seconds: float = data("Wall time of its steps.", absent=0.0, digits=3)
    validation: Mapping[str, float | None] = data("Loss and the objective's metrics on the validation rows.", absent={})


@dataclass(frozen=True, kw_only=True)
class TrainEnd(Event):
    """Fine-tuning ended; the adapter is in the run's folder."""

    STAGE = "TRAIN-COMPLETE"
    adapter: str = data("Folder of the adapter in the run's folder.", absent="")
    steps: int = data("Optimizer steps.", absent=0)
    loss: float | None = data("Loss of the last step.", absent=None)
    num_tokens: int = data("Tokens trained on.", absent=0)
    seconds: float = data("Wall time of all steps.", absent=0.0, digits=3)
    resumed_from: int = data("Step of the checkpoint that it was resumed from; 0 for none.", absent=0)
    restored: int | None = data(
        "The healthy step whose adapter is kept instead of the last one's; absent where nothing was restored.",
        optional=True,
    )
    training: int = data("Which training of the run, from 1.", absent=1)
