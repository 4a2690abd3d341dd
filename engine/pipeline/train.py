"""The training stage: kept pairs become rows, an adapter is trained on them, and every step is in the journal."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import InputError
from engine.events.notices import RowTruncated
from engine.events.training import EpochEnd, TrainEnd, TrainSample, TrainStart, TrainStep
from engine.events.verdicts import VerdictData, summary
from engine.judges.base import JudgeInput, Verdict
from engine.models.hub import memory_estimate
from engine.models.inference.requests import Request, Sampling
from engine.pipeline import chats
from engine.pipeline.context import Context
from engine.pipeline.oom import is_oom, oom_error
from engine.pipeline.pairs import PreferencePair
from engine.pipeline.stage import judge_texts

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.models.nn.lora_weights import Adapter
    from engine.training.callbacks import Epoch, Hooks, Step, Trained
    from engine.training.config import TrainConfig
    from engine.training.data import PairRow, Row, SftRow

ADAPTER = "adapter"
"""Name of the folder with the trained adapter, in peft's format."""

CHECKPOINTS = "checkpoints"

VAL_EVERY_N = 10
"""One row in this many is a validation row, where that gives at least three of them."""

_SAMPLE = Sampling(max_tokens=64)


def train(context: Context) -> None:
    """Fine-tune the generator on the kept pairs; the adapter goes into the run's folder.

    Raises:
        InputError: no pair is short enough to be trained on.
        ModelError: not even one row fits into memory.
        TrainingError: loss or gradients stayed non-finite.
        Stopped: a checkpoint was written first.
    """
    from engine.training.lora import load, save

    folder = context.folder / ADAPTER
    if context.finished.trained:
        context.results.adapter = load(folder)
        return
    pairs = context.results.kept
    _refuse_compared(context, pairs)
    rows, validation = _rows(context, pairs)
    context.record.stage_start("train", 0)
    config = _fitting(
        context, [*rows, *validation], dataclasses.replace(context.config.train, seed=context.config.seed)
    )
    context.record.write(
        TrainStart(
            summary=f"{config.objective} on {len(rows)} pairs, {len(validation)} for validation · "
            f"{config.num_train_epochs} epochs · LoRA rank {config.lora_r}, learning rate {config.learning_rate:g}",
            objective=config.objective,
            rows=len(rows),
            validation=len(validation),
            epochs=config.num_train_epochs,
            batches=-(-len(rows) // config.train_batch_size),
            config=config.as_dict(),
        )
    )
    trained = _train_in_memory(context, rows, validation, config)
    save(
        trained.adapter,
        folder,
        base_model=context.config.generator,
        family=context.generator.decoder.config.family,
    )
    context.record.write(
        TrainEnd(
            summary=f"{trained.steps} steps in {trained.seconds:.1f} s · "
            f"{trained.num_tokens / max(trained.seconds, 1e-9):.0f} tokens/s · "
            f"loss {trained.metrics.get('loss', float('nan')):.3f}",
            adapter=ADAPTER,
            steps=trained.steps,
            loss=trained.metrics.get("loss"),
            num_tokens=trained.num_tokens,
            seconds=trained.seconds,
            resumed_from=trained.resumed_from,
        ),
        sync=True,
    )
    context.record.stage_end()
    context.results.adapter = trained.adapter


def _fitting(context: Context, rows: Sequence[Row], config: TrainConfig) -> TrainConfig:
    """The settings with micro-batches that fit into memory; the result of training is the same.

    Raises:
        ModelError: by the estimate not even one row fits, with its numbers.
    """
    model, longest = context.generator, max(row.tokens for row in rows)
    fitting = config
    while (
        not memory_estimate.fits(_need(model, rows, fitting), model.device).fits
        and fitting.micro_batch_tokens >= longest
    ):
        fitting = dataclasses.replace(fitting, micro_batch_tokens=fitting.micro_batch_tokens // 2)
    memory_estimate.check(_need(model, rows, fitting), "Training", model.device)
    if fitting is not config:
        context.record.notice(f"Memory is short; training with {fitting.micro_batch_tokens} tokens at a time.")
    return fitting


def _need(model: LocalModel, rows: Sequence[Row], config: TrainConfig) -> int:
    """Bytes that training needs in addition to the loaded model, by the estimate."""
    longest = max(row.tokens for row in rows)
    together = max(longest, min(config.micro_batch_tokens, config.train_batch_size * longest))
    need = memory_estimate.train_lora(model.config, model.dtype, together, config.lora_r, model.device, length=longest)
    return need.additional_bytes


def _train_in_memory(context: Context, rows: Sequence[Row], validation: Sequence[Row], config: TrainConfig) -> Trained:
    """The training; where memory runs out, again from its last checkpoint with smaller micro-batches.

    Raises:
        ModelError: not even one row fits.
    """
    from engine.training.loop import train as train_loop

    model, longest = context.generator, max(row.tokens for row in (*rows, *validation))
    while True:
        try:
            return train_loop(
                model.decoder,
                rows,
                config,
                control=context.control,
                hooks=TrainingReporter(context).hooks(),
                validation=validation,
                checkpoints=context.folder / CHECKPOINTS,
                references=context.folder / CHECKPOINTS,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_oom(error):
                raise
            if config.micro_batch_tokens < longest:  # every row was a micro-batch of its own
                raise oom_error("training", model.device, need=_need(model, rows, config)) from error
        # What the failed step held is referenced by the error's traceback, which is gone only now.
        gc.collect()
        config = dataclasses.replace(config, micro_batch_tokens=max(1, config.micro_batch_tokens // 2))
        context.record.notice(f"Memory ran out; training continues with {config.micro_batch_tokens} tokens at a time.")


def _refuse_compared(context: Context, pairs: Sequence[PreferencePair]) -> None:
    """The last check before training: no compared prompt may be trained on, whatever a file or a journal says."""
    from engine.prompts.load import prompt_hash

    compared = {prompt.sha256 for _, prompt in context.prompts.compared()}
    by_id = {prompt.id: prompt for prompt in context.prompts.train}
    for pair in pairs:
        if prompt_hash(pair.prompt) in compared or by_id[pair.item].sha256 in compared:
            raise InputError(
                f"the pair of prompt {pair.item} is on a held-out prompt.",
                where=str(context.folder),
                next_step="Take the prompt out of one of the two sets.",
            )


def _rows(context: Context, pairs: Sequence[PreferencePair]) -> tuple[list[Row], list[Row]]:
    """Training and validation rows as token ids; the journal names those that were truncated."""
    from engine.training.data import PairRow, SftRow, fit

    model = context.generator
    by_id = {prompt.id: prompt for prompt in context.prompts.train}
    sft: list[SftRow] = []
    dpo: list[PairRow] = []
    for pair in pairs:
        prompt = by_id[pair.item]
        chat = chats.draft(prompt.text, prompt.messages)
        head, chosen = model.encode_pair(chat, pair.chosen)
        chosen = chosen if pair.chosen_complete else _without_end(chosen, model)
        if context.config.train.objective == "sft":
            sft.append(SftRow(tuple(head), tuple(chosen), pair.item))
        else:
            _, rejected = model.encode_pair(chat, pair.rejected)
            rejected = rejected if pair.rejected_complete else _without_end(rejected, model)
            dpo.append(PairRow(tuple(head), tuple(chosen), tuple(rejected), pair.item))
    longest = min(context.config.train.max_length, model.context)
    kept, cuts = fit(sft, longest) if sft else fit(dpo, longest)
    rows: list[Row] = list(kept)
    for cut in cuts:
        sentence = f"{cut.key}: {cut.what} lost {cut.tokens} tokens to the limit of {longest}"
        context.record.write(RowTruncated(item=cut.key, summary=sentence, what=cut.what, tokens=cut.tokens))
    if not rows:
        raise InputError(
            f"no pair fits into {longest} tokens.",
            where="training, max_length",
            next_step="Raise it, or shorten prompts.",
        )
    if len(rows) < 3 * VAL_EVERY_N:
        return rows, []
    validation = rows[VAL_EVERY_N - 1 :: VAL_EVERY_N]
    return [row for number, row in enumerate(rows, 1) if number % VAL_EVERY_N], validation


def _without_end(tokens: Sequence[int], model: LocalModel) -> list[int]:
    """A completion that was cut while it was generated, without the tokens that would teach the model to stop there."""
    tokens = list(tokens)
    while tokens and tokens[-1] in model.codec.ends:
        tokens.pop()
    return tokens


class TrainingReporter:
    """Turns the callbacks of the training loop into events."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._prompts = context.prompts.train

    def hooks(self) -> Hooks:
        from engine.training.callbacks import Hooks

        return Hooks(
            on_step=self._on_step,
            on_epoch=self._on_epoch,
            on_sample=self._on_sample,
            on_notice=self._context.record.notice,
        )

    def _on_step(self, step: Step) -> None:
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
        """An answer of the model in training to one of the training prompts, with its verdict."""
        context, number = self._context, step.step
        began = time.monotonic()
        prompt = self._prompts[(number - 1) % len(self._prompts)]
        model = context.generator.with_adapter(adapter, f"{context.generator.name}, step {number}")
        chat = model.render(chats.draft(prompt.text, prompt.messages))
        request = Request(prompt.id, chat, _SAMPLE, context.seed_for("sample", number))
        completion = next(iter(model.generate([request], context.control)))
        verdicts = judge_texts(
            context, context.judges.comparison, [JudgeInput(prompt.id, completion.text, prompt.text)]
        )
        verdict = next(iter(verdicts), Verdict(prompt.id, None))
        context.record.write(
            TrainSample(
                item=prompt.id,
                summary=f"sample after step {number} · {summary(verdict, context.constitution.max_score)}",
                epoch=step.epoch,
                batch=step.batch,
                prompt=prompt.text,
                answer=completion.text,
                request=chat,
                raw_output=completion.raw,
                step=number,
                verdict=VerdictData.of(verdict),
                tokens=completion.tokens,
                seconds=time.monotonic() - began,
            )
        )
