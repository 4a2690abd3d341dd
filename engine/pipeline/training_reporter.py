"""Turns the callbacks of the training loop into events, and watches the model's health while it is trained.

An alarm offers to stop and to compare the adapter of the last healthy step. For that the adapter of each healthy sample
step is kept in the run's folder until training ends. Samples are answers to training prompts, judged by the judge that
chose the pairs: neither held-out prompts nor the judge of the comparison have a say in which step is kept.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.events.base import ALL, KEY
from engine.events.training import (
    EpochEnd,
    HealthAlarm,
    HealthDecision,
    TrainHealth,
    TrainSample,
    TrainStep,
)
from engine.events.verdicts import VerdictData, summary
from engine.judges.base import JudgeInput, Verdict
from engine.models.inference.requests import Completion, Request
from engine.pipeline import chats
from engine.pipeline.context import Context
from engine.pipeline.stage import judge_texts
from engine.prompts.load import Prompt
from engine.runs.trainings import Training
from engine.text import percent

if TYPE_CHECKING:
    from engine.models.nn.lora_weights import Adapter
    from engine.training.callbacks import Epoch, Hooks, Step
    from engine.training.config import TrainConfig
    from engine.training.health import Alarm, Checked, Figures

HEALTHY = "healthy"
"""Name of the folder with the adapters of the last healthy steps; it is gone when training has ended."""

SAMPLES = 4
"""Sample answers at each sample step. A batch of four costs little more than one on any machine."""

_MAX_TOKENS = 64

_UNANSWERED, _SETTING, _USER = "the end of training", "the setting on_alarm", "user"


def _figures(event: TrainHealth) -> Figures:
    """What was measured at a sample step, from its event."""
    from engine.training.health import Figures

    return Figures(
        step=event.step,
        samples=event.samples,
        chosen=event.chosen,
        margin=event.margin,
        repetition=event.repetition or 0.0,
        words=event.words or 0.0,
        distinct_2=event.distinct_2,
        base_distinct_2=event.base.get("distinct_2"),
        empty=event.empty or 0.0,
        unusable=event.unusable or 0.0,
    )


class RestoreHealthy(Exception):
    """Training ends; `adapter`, of the healthy step `step`, is what it resulted in."""

    def __init__(self, step: int, adapter: Adapter) -> None:
        super().__init__(step)
        self.step = step
        self.adapter = adapter


class TrainingReporter:
    """Writes the events of one training, raises alarms and decides on them.

    Args:
        context: the run's.
        training: which training.
        config: its settings.

    Attributes:
        last_step: the newest step since the run was started or resumed; None before it.
        seconds: that the steps took since then.
    """

    def __init__(self, context: Context, training: Training, config: TrainConfig) -> None:
        from engine.training.health import HealthMonitor

        self._context = context
        self._training = training
        self._prompts = context.prompts.train
        self._snapshots = context.folder / HEALTHY / training.arm
        # Without samples no step is known to be healthy, so there is nothing to return to.
        self._action = context.config.on_alarm if config.sample_steps else "continue"
        self._seen = context.finished.health_of(training.number)
        drafts = context.finished.drafts
        base = [drafts[p.id] for p in self._prompts if drafts.get(p.id)]
        verdicts = [found for p in self._prompts if (found := context.finished.draft_verdicts.get(p.id)) is not None]
        self._monitor = HealthMonitor(
            base,
            sum(verdict.quality != "responsive" for verdict in verdicts) / len(verdicts) if verdicts else 0.0,
            raised={alarm.kind for alarm in self._seen.alarms},
            last_healthy=self._seen.last_healthy,
        )
        # After a resume the windows of the alarms are as they were.
        for number, figures in sorted(self._seen.steps.items()):
            self._monitor.recall_step(number, *figures)
        for event in self._seen.checks.values():
            self._monitor.recall_samples(_figures(event))
        self.last_step: Step | None = None
        self.seconds = 0.0

    def hooks(self) -> Hooks:
        """The callbacks for the loop."""
        from engine.training.callbacks import Hooks

        return Hooks(
            on_step=self._on_step,
            on_epoch=self._on_epoch,
            on_sample=self._on_sample,
            on_notice=self._context.record.notice,
        )

    def check_before(self) -> None:
        """After a resume, end what was to be ended.

        Raises:
            RestoreHealthy: a restore was decided, or an alarm raised that the settings answer with one.
        """
        if self._seen.choice == "restore":
            self._restore()
        if self._seen.alarms and not self._seen.choice and self._action == "restore":
            self._decide("restore", _SETTING, self._seen.alarms[-1].step)
        # An answer to a question of an earlier training.
        self._context.control.take_decision()

    def check_after(self) -> None:
        """Training reached its last step: a question that nothing answered is answered with a restore.

        Raises:
            RestoreHealthy: there was such a question.
        """
        step = self.last_step.step if self.last_step is not None else 0
        self._take_decision(step)
        if self._seen.alarms and not self._seen.choice and self._action == "ask":
            self._decide("restore", _UNANSWERED, step)

    def discard_snapshots(self) -> None:
        """Delete the adapters of healthy steps: training is over."""
        shutil.rmtree(self._snapshots, ignore_errors=True)
        if self._snapshots.parent.is_dir() and not any(self._snapshots.parent.iterdir()):
            self._snapshots.parent.rmdir()

    def _on_step(self, step: Step) -> None:
        self.last_step = step
        self.seconds += step.seconds
        skipped = " · skipped: not finite" if step.skipped else ""
        metrics: dict[str, Any] = {name.replace("/", "_"): value for name, value in step.metrics.items()}
        self._context.record.write(
            TrainStep(
                summary=f"step {step.step}/{step.steps} · loss {step.loss:.4f} ({step.change:+.4f}) · "
                f"{step.tokens_per_second:.0f} tokens/s{skipped}",
                loss=step.loss,
                change=step.change,
                step=step.step,
                steps=step.steps,
                epoch=step.epoch,
                batch=step.batch,
                batches=step.batches,
                learning_rate=step.learning_rate,
                grad_norm=step.grad_norm,
                num_tokens=step.num_tokens,
                seconds=step.seconds,
                tokens_per_second=step.tokens_per_second,
                skipped=step.skipped,
                **metrics,
            )
        )
        self._context.record.progress("train", step.step, step.steps, step.tokens_per_second)
        self._report(self._monitor.on_step(step))
        self._take_decision(step.step)

    def _on_epoch(self, epoch: Epoch) -> None:
        loss = epoch.validation.get("loss")
        self._context.record.write(
            EpochEnd(
                summary=f"epoch {epoch.epoch} of {epoch.epochs} · loss {epoch.loss:.4f}"
                + ("" if loss is None else f" · validation loss {loss:.4f}"),
                loss=epoch.loss,
                validation_loss=loss,
                epoch=epoch.epoch,
                epochs=epoch.epochs,
                seconds=epoch.seconds,
                validation=epoch.validation,
            ),
            sync=True,
        )

    def _on_sample(self, step: Step, adapter: Adapter) -> None:
        """Answers of the model in training to some of the training prompts, with their verdicts."""
        first = step.step - 1
        prompts = [self._prompts[(first + i) % len(self._prompts)] for i in range(min(SAMPLES, len(self._prompts)))]
        texts, unusable = self._write_samples(step, adapter, prompts)
        checked = self._monitor.on_samples(step.step, texts, unusable)
        self._snapshot(checked, adapter)
        self._write_health(checked)
        self._prune()
        self._report(checked.alarms)
        self._take_decision(step.step)

    def _write_samples(self, step: Step, adapter: Adapter, prompts: Sequence[Prompt]) -> tuple[list[str], float]:
        """Sample answers, in the order of the prompts, and the share of them that are no answer."""
        context, number = self._context, step.step
        began = time.monotonic()
        model = context.generator.with_adapter(adapter, f"{context.generator.name}, step {number}")
        # As the drafts were sampled: that is what the samples are held against.
        sampling = context.config.draft
        sampling = dataclasses.replace(sampling, max_tokens=min(_MAX_TOKENS, sampling.max_tokens))
        chats_of = {p.id: model.render(chats.draft(p.text, p.messages)) for p in prompts}
        requests = [
            Request(p.id, chats_of[p.id], sampling, context.seed_for("sample", number, place))
            for place, p in enumerate(prompts)
        ]
        written: dict[str, Completion] = {c.key: c for c in model.generate(requests, context.control)}
        judged = [JudgeInput(p.id, written[p.id].text, p.text) for p in prompts]
        verdicts = {verdict.key: verdict for verdict in judge_texts(context, context.judges.quick, judged)}
        seconds = (time.monotonic() - began) / len(prompts)
        # The one that the app shows comes last.
        for place, prompt in reversed(list(enumerate(prompts))):
            completion, verdict = written[prompt.id], verdicts.get(prompt.id, Verdict(prompt.id, None))
            context.record.write(
                TrainSample(
                    level=ALL if place else KEY,
                    item=prompt.id,
                    summary=f"sample after step {number} · {summary(verdict, context.constitution.max_score)}",
                    epoch=step.epoch,
                    batch=step.batch,
                    prompt=prompt.text,
                    answer=completion.text,
                    request=chats_of[prompt.id],
                    raw_output=completion.raw,
                    step=number,
                    verdict=VerdictData.of(verdict),
                    tokens=completion.tokens,
                    seconds=seconds,
                )
            )
        poor = sum(verdict.quality != "responsive" for verdict in verdicts.values())
        return [written[p.id].text for p in prompts], poor / len(prompts)

    def _write_health(self, checked: Checked) -> None:
        figures, base = checked.figures, self._monitor.base_health
        words = "" if figures.chosen is None else f" · chosen {figures.chosen:+.2f} nats per token"
        words += "" if figures.margin is None else f" · margin {figures.margin:.2f}"
        values = dataclasses.asdict(figures)
        self._context.record.write(
            TrainHealth(
                summary=f"{'healthy' if checked.healthy else 'past a limit'} at step {figures.step}{words} · "
                f"repetition {percent(figures.repetition)} · {figures.words:.0f} words · "
                f"no answer {percent(figures.unusable)}",
                healthy=checked.healthy,
                base={
                    "repetition": base.repetition,
                    "words": base.words,
                    "distinct_2": values.pop("base_distinct_2"),
                    "empty": base.empty,
                    "unusable": self._monitor.base_unusable,
                },
                training=self._training.number,
                **values,
            )
        )

    def _report(self, alarms: Sequence[Alarm]) -> None:
        """Write new alarms; the settings may answer them.

        Raises:
            RestoreHealthy: they say to restore.
        """
        for alarm in alarms:
            last = self._monitor.last_healthy
            self._context.record.write(
                HealthAlarm(
                    summary=f"step {alarm.step}: {alarm.sentence}",
                    kind=alarm.kind,
                    step=alarm.step,
                    measured=alarm.measured,
                    limit=alarm.limit,
                    last_healthy=last,
                    action=self._action,
                    training=self._training.number,
                ),
                sync=True,
            )
        if not alarms or self._seen.choice:
            return
        if self._action == "ask":
            self._context.record.notice(
                f"The run can stop training and return to step {self._monitor.last_healthy}: H in the app, or "
                f"`redraft watch {self._context.folder.name} --restore`. Without an answer it does so at the end."
            )
        else:
            self._decide(self._action, _SETTING, alarms[-1].step)

    def _take_decision(self, step: int) -> None:
        """Obey the user's answer to an alarm; without an alarm there is nothing to answer."""
        choice = self._context.control.take_decision()
        if choice and self._seen.alarms and not self._seen.choice and self._action == "ask":
            self._decide(choice, _USER, step)

    def _decide(self, choice: str, by: str, step: int) -> None:
        restored = self._monitor.last_healthy if choice == "restore" else None
        sentence = "training continues" if restored is None else f"training ends with the adapter of step {restored}"
        self._context.record.write(
            HealthDecision(
                summary=f"{sentence}, by {'the ' if by == _USER else ''}{by}",
                choice=choice,
                by=by,
                step=step,
                restored=restored,
                training=self._training.number,
            ),
            sync=True,
        )
        if choice == "restore":
            self._restore()

    def _restore(self) -> None:
        from engine.models.hub.adapter import load

        step = self._monitor.last_healthy
        raise RestoreHealthy(step, load(self._place(step)))

    def _place(self, step: int) -> Path:
        return self._snapshots / f"step-{step:08d}"

    def _snapshot(self, checked: Checked, adapter: Adapter) -> None:
        """Keep the adapter of a healthy step, or the untrained one where the first step is not healthy."""
        from engine.training.lora import save, untrained

        if checked.healthy and not self._monitor.alarmed:
            step, kept = checked.figures.step, adapter
        elif not self._snapshots.is_dir():
            step, kept = 0, untrained(adapter)
        else:
            return
        save(
            kept,
            self._place(step),
            base_model=self._context.config.generator,
            family=self._context.generator.decoder.config.family,
        )

    def _prune(self) -> None:
        """Delete the adapters of healthy steps before the last one, which is in the journal by now."""
        last = self._place(self._monitor.last_healthy)
        for place in list(self._snapshots.iterdir()):
            if place != last and last.is_dir():
                shutil.rmtree(place, ignore_errors=True)
