"""The training loop: one optimizer step after another, everything told as it happens, resumable after each.

Gradients are sums over micro-batches and processes of losses that were divided by the step's own total beforehand, so
the result is the same however the rows are dealt out. Knows nothing of journals and screens: `Hooks` is how it talks.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.control import Control
from engine.errors import InputError, Stopped, TrainingError
from engine.models.hub.memory import Trimmer
from engine.models.nn.decoder import LanguageDecoder
from engine.models.nn.lora_weights import Adapter
from engine.training import data as training_rows
from engine.training.callbacks import Epoch, Hooks, Step, Trained
from engine.training.checkpoint import Checkpoints, State
from engine.training.config import TrainConfig, renamed
from engine.training.data import Row, Sampler
from engine.training.distributed import Processes
from engine.training.lora import Lora, select
from engine.training.objective import Objective, objective_for
from engine.training.optimizer import Optimizer, learning_rate
from engine.training.policy import Policy, fingerprint

__all__ = ["Epoch", "Hooks", "Step", "Trained", "train"]

_SHARE = 0.05
"""Of a training's time that checkpoints may take where they are not due by `save_steps`."""

_GROWN = 600_000_000
"""Bytes that steps may leave with the C library before they are returned: new pages after it cost a tenth of a step's
processor time, so not after each one."""

_FREE = frozenset({"sample_steps", "save_steps", "max_nonfinite_steps", "micro_batch_tokens"})
"""Settings that a resumed training may change: they leave its result as it is."""


def train(
    decoder: LanguageDecoder,
    rows: Sequence[Row],
    config: TrainConfig,
    *,
    control: Control | None = None,
    hooks: Hooks | None = None,
    objective: Objective | None = None,
    validation: Sequence[Row] = (),
    start: Adapter | None = None,
    checkpoints: Path | None = None,
    references: Path | None = None,
) -> Trained:
    """Train an adapter on `rows`.

    Under `accelerate launch` every process calls this with the same arguments; the result is the same in all of them.

    Args:
        decoder: the frozen model, on this process's device.
        rows: `SftRow` for SFT, `PairRow` for DPO, fitted to the context (`engine.training.data.fit`).
        config: what to do.
        control: how training is paused and stopped; obeyed at each micro-batch.
        hooks: called after steps and epochs, with samples and notices.
        objective: another than the one that `config` names.
        validation: rows of the same kind that are never trained on.
        start: values to begin with instead of peft's; for DPO the model with them is the reference.
        checkpoints: folder for checkpoints. If it holds one of the same training, training continues there.
        references: folder for the reference's log-probabilities (DPO).

    Raises:
        Stopped: a stop was asked for; a checkpoint was written first.
        InputError: rows of the wrong kind, none, or a checkpoint that belongs to another training.
        TrainingError: several steps in a row gave a loss or gradient that is not finite.
        StorageError: a checkpoint could not be written.
    """
    model = fingerprint(decoder, start)
    chosen = objective or objective_for(config, store=references, model=model)
    chosen.check([*rows, *validation])
    modules = select(decoder.adaptable(), config.target_modules)
    lora = Lora(modules, config.lora_r, config.lora_alpha, config.lora_dropout, decoder.device)
    lora.initialize(config.seed)
    if start is not None:
        lora.load(start)
    run = _Run(
        config=config,
        objective=chosen,
        lora=lora,
        decoder=decoder,
        optimizer=Optimizer(lora, config),
        sampler=Sampler([row.tokens for row in rows], config.train_batch_size, config.seed),
        rows=rows,
        validation=validation,
        control=control or Control(),
        hooks=hooks or Hooks(),
        processes=Processes(decoder.device),
        checkpoints=None if checkpoints is None else Checkpoints(checkpoints),
        identity=_identity(model, rows, config),
    )
    # The adapter has its first values still: with those the policy is the reference.
    reference = lora.trainable_view(decoder.dtype, dropout=False)
    chosen.prepare(Policy(decoder, reference, learn=False), [*rows, *validation], run.control)
    try:
        return run.run()
    finally:
        decoder.drop_training_memory()


def _identity(model: str, rows: Sequence[Row], config: TrainConfig) -> dict[str, Any]:
    """What a checkpoint must have in common with the training that continues from it."""
    settings = {name: value for name, value in config.as_dict().items() if name not in _FREE}
    return {"model": model, "rows": training_rows.fingerprint(rows), **settings}


@dataclass
class _Progress:
    """What a checkpoint keeps beside adapter, optimizer and sampler."""

    step: int = 0
    last_loss: float | None = None
    epoch_losses: list[float] = field(default_factory=list)
    epoch_seconds: float = 0.0
    num_tokens: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Measured:
    """Loss and metrics of some rows, over all processes; `tokens` that went through the model."""

    loss: float
    metrics: dict[str, float]
    tokens: int


@dataclass
class _Run:
    """One training and where it is."""

    config: TrainConfig
    objective: Objective
    lora: Lora
    decoder: LanguageDecoder
    optimizer: Optimizer
    sampler: Sampler
    rows: Sequence[Row]
    validation: Sequence[Row]
    control: Control
    hooks: Hooks
    processes: Processes
    checkpoints: Checkpoints | None
    identity: Mapping[str, Any]
    state: _Progress = field(default_factory=_Progress)
    saved: int = 0
    saving: float = 0.0
    """Seconds that writing checkpoints took so far in this process."""
    began: float = field(default_factory=time.perf_counter)
    bad: int = 0
    trim: Callable[[], None] = field(default_factory=partial(Trimmer, _GROWN))

    @property
    def steps(self) -> int:
        return self.config.num_train_epochs * self.sampler.steps_per_epoch

    def run(self) -> Trained:
        resumed_from = self._resume()
        self.processes.enter()
        try:
            while self.sampler.epoch < self.config.num_train_epochs:
                self._epoch()
            if self.processes.count > 1:  # what a callback raised after the last step
                self.processes.check_step(self.control)
        except Stopped:
            if self.processes.main:
                self._save()
            raise
        self.processes.leave()
        return Trained(
            adapter=self.lora.export(),
            steps=self.state.step,
            epochs=tuple(Epoch(**epoch) for epoch in self.state.epochs),
            metrics=self.state.metrics,
            num_tokens=self.state.num_tokens,
            seconds=self.state.seconds,
            resumed_from=resumed_from,
        )

    def _epoch(self) -> None:
        while (batch := self.sampler.batch) is not None:
            self.processes.check_step(self.control)
            self._emit(self._step([self.rows[i] for i in batch]))
            self.trim()
            # After an epoch's last step comes its summary, and the checkpoint after that.
            if self.sampler.batch is not None and self._due():
                self.processes.on_main(self._save)
        losses = self.state.epoch_losses
        summary = Epoch(
            epoch=self.sampler.epoch + 1,
            epochs=self.config.num_train_epochs,
            loss=math.fsum(losses) / len(losses) if losses else math.nan,
            validation=self._validate(),
            seconds=self.state.epoch_seconds,
        )
        self.state.epochs.append(dataclasses.asdict(summary))
        self.state.epoch_losses, self.state.epoch_seconds = [], 0.0
        self.sampler.next_epoch()
        self.processes.on_main(self.hooks.on_epoch, summary)
        self.processes.on_main(self._save, True)

    def _step(self, rows: Sequence[Row]) -> Step:
        begun = time.perf_counter()
        self.lora.start_step(self.config.seed, self.state.step, self.processes.index)
        found = self._measure(rows, learn=True)
        grad = self.lora.flat.grad
        assert grad is not None
        self.processes.sum_(grad)
        norm = self.optimizer.norm()
        rate = learning_rate(self.config, self.state.step, self.steps)
        finite = math.isfinite(found.loss) and math.isfinite(norm)
        if finite:
            self.optimizer.step(rate, norm)
        seconds = time.perf_counter() - begun
        return self._record_step(found, rate, norm, seconds, finite)

    def _measure(self, rows: Sequence[Row], learn: bool) -> _Measured:
        """Loss and metrics of rows that all processes share; with `learn` their gradients, not yet summed."""
        totals = self.objective.totals(rows)
        mine = training_rows.share(rows, self.processes.index, self.processes.count)
        policy = Policy(self.decoder, self.lora.trainable_view(self.decoder.dtype, dropout=learn), learn)
        # One row: loss, tokens and every metric, so that one exchange between processes is enough. In float64 on the
        # CPU whatever the device: Apple's GPUs have no float64.
        held = torch.zeros(2 + len(self.objective.metrics), dtype=torch.float64)
        for part in training_rows.split(mine, self.config.micro_batch_tokens) if mine else ():
            self.processes.check_micro(self.control)
            micro = self.objective.loss(policy, part, totals)
            if learn:
                self.processes.backward(micro.loss)
            sums = [micro.loss.detach(), *(micro.sums[name] for name in self.objective.metrics)]
            values = torch.stack([value.cpu().to(torch.float64) for value in sums])
            held[0] += values[0]
            held[1] += sum(row.tokens for row in part)
            held[2:] += values[1:]
        self.processes.sum_wide(held)
        loss, tokens, *metrics = held.tolist()
        named = {name: value / totals.count for name, value in zip(self.objective.metrics, metrics, strict=True)}
        return _Measured(loss, named, int(tokens))

    def _record_step(self, found: _Measured, rate: float, norm: float, seconds: float, finite: bool) -> Step:
        state, batch = self.state, self.sampler.position + 1
        change = found.loss - state.last_loss if state.last_loss is not None else 0.0
        state.step += 1
        state.num_tokens += found.tokens
        state.seconds += seconds
        state.epoch_seconds += seconds
        state.metrics = {"loss": found.loss, **found.metrics}
        if finite:
            state.last_loss = found.loss
            state.epoch_losses.append(found.loss)
        self.bad = 0 if finite else self.bad + 1
        self.sampler.advance()
        return Step(
            step=state.step,
            steps=self.steps,
            epoch=self.sampler.epoch + 1,
            batch=batch,
            batches=self.sampler.steps_per_epoch,
            loss=found.loss,
            change=change,
            learning_rate=rate,
            grad_norm=norm,
            num_tokens=state.num_tokens,
            seconds=seconds,
            tokens_per_second=found.tokens / seconds if seconds > 0 else 0.0,
            skipped=not finite,
            metrics=found.metrics,
        )

    def _emit(self, step: Step) -> None:
        self.processes.on_main(self.hooks.on_step, step)
        if step.skipped:
            self.processes.on_main(
                self.hooks.on_notice,
                f"Step {step.step} was skipped: its loss is {step.loss}, its gradient's norm {step.grad_norm}.",
            )
        if self.bad >= self.config.max_nonfinite_steps:
            self.processes.leave()
            raise TrainingError(
                f"{self.bad} steps in a row gave a loss or gradient that is not finite.",
                where=f"training, step {step.step}",
                next_step=f"Lower the learning rate (it is {self.config.learning_rate:g}), or train in float32.",
            )
        every = self.config.sample_steps
        if every and (step.step == 1 or step.step % every == 0):
            # A sample merges the adapter into a copy of the layers, as large as what the backward pass keeps of them.
            self.decoder.drop_training_memory()
            self.processes.on_main(lambda: self.hooks.on_sample(step, self.lora.export()))

    def _validate(self) -> dict[str, float]:
        if not self.validation:
            return {}
        found = self._measure(self.validation, learn=False)
        return {"loss": found.loss, **found.metrics}

    def _due(self) -> bool:
        """Whether a checkpoint is wanted here: after every step while that takes little of the time, so that a process
        that is killed costs one step; with large adapters and fast steps less often, up to `save_steps`."""
        most = self.config.save_steps
        passed = time.perf_counter() - self.began
        return most > 0 and (self.state.step - self.saved >= most or self.saving <= _SHARE * passed)

    def _save(self, again: bool = False) -> None:
        """Write a checkpoint, unless there is one of this step; `again` writes it over (the epoch's end is new). Only
        in the first process."""
        if self.checkpoints is None or (self.saved == self.state.step and not again):
            return
        begun = time.perf_counter()
        values = {
            "identity": dict(self.identity),
            "sampler": self.sampler.state(),
            "progress": dataclasses.asdict(self.state),
            "torch": torch.__version__,
        }
        tensors = {"adapter": self.lora.flat.detach().cpu().clone(), **self.optimizer.state()}
        self.checkpoints.save(State(self.state.step, tensors, values))
        self.saved = self.state.step
        self.saving += time.perf_counter() - begun

    def _resume(self) -> int:
        """Go to the newest whole checkpoint; gives its step, 0 where there is none."""
        if self.checkpoints is None:
            return 0
        state = self.checkpoints.latest()
        if self.processes.main:
            for sentence in self.checkpoints.damaged:
                self.hooks.on_notice(sentence)
        if state is None:
            return 0
        # A checkpoint of an older version has older names, and lacks settings that came later.
        held = {**TrainConfig().as_dict(), **renamed(state.values["identity"])}
        held = {name: value for name, value in held.items() if name not in _FREE}
        other = sorted(name for name in {*held, *self.identity} if held.get(name) != self.identity.get(name))
        if other:
            raise InputError(
                f"the checkpoint belongs to another training: {', '.join(other)} changed.",
                where=str(self.checkpoints.folder),
                next_step="Train with what the checkpoint was made with, or delete it to start anew.",
            )
        if state.values["torch"] != torch.__version__ and self.processes.main:
            self.hooks.on_notice(
                f"The checkpoint was written with torch {state.values['torch']}, this is {torch.__version__}: the rest "
                "of the loss curve may differ in its last digits."
            )
        with torch.no_grad():
            self.lora.flat.copy_(state.tensors["adapter"])
        self.optimizer.load_state(state.tensors)
        self.sampler.load_state(state.values["sampler"])
        self.state = _Progress(**state.values["progress"])
        self.saved = state.step
        return state.step
