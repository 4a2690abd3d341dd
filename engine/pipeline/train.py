"""The training stage: kept pairs become rows, the adapter learns them, and every step is told in the journal."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import InputError
from engine.events.base import ALL, KEY, SUMMARY
from engine.judges import verdict_codec
from engine.judges.base import JudgeInput, Verdict
from engine.models.hub import memory_estimate
from engine.models.inference.requests import Request, Sampling
from engine.pipeline import chats
from engine.pipeline.context import Context, judge_all
from engine.pipeline.oom import is_shortage, shortage
from engine.pipeline.pairs import PreferencePair
from engine.runs.state import TRAINED

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.models.nn.lora_weights import Adapter
    from engine.training.callbacks import Epoch, Hooks, Step, Trained
    from engine.training.config import TrainConfig
    from engine.training.data import PairRow, Row, SftRow

ADAPTER = "adapter"
"""Name of the folder with the trained adapter, in peft's format."""

CHECKPOINTS = "checkpoints"

_KEPT_OUT = 10
"""One pair in this many measures the loss on what is not learned, where there are at least three such pairs."""

_SAMPLE = Sampling(max_tokens=64)


def train(context: Context, pairs: Sequence[PreferencePair]) -> Adapter:
    """Fine-tune the generator on the kept pairs; the adapter goes into the run's folder.

    Raises:
        InputError: no pair is short enough to be learned from.
        ModelError: memory does not suffice for one row at a time.
        TrainingError: loss or gradients stayed non-finite.
        Stopped: a checkpoint was written first.
    """
    from engine.training.lora import load, save

    folder = context.folder / ADAPTER
    if context.state.trained:
        return load(folder)
    _refuse_compared(context, pairs)
    learned, kept_out = _rows(context, pairs)
    context.record.stage_start("train", 0)
    config = _fitting(
        context, [*learned, *kept_out], dataclasses.replace(context.config.train, seed=context.config.seed)
    )
    context.record.event(
        "TRAIN-START",
        SUMMARY,
        f"{config.objective} on {len(learned)} pairs, {len(kept_out)} kept out to measure the loss · "
        f"{config.num_train_epochs} epochs · LoRA rank {config.lora_r}, learning rate {config.learning_rate:g}",
        data={
            "objective": config.objective,
            "rows": len(learned),
            "validation": len(kept_out),
            "epochs": config.num_train_epochs,
            "batches": -(-len(learned) // config.train_batch_size),
            "config": config.as_dict(),
        },
    )
    trained = _trained(context, learned, kept_out, config)
    save(
        trained.adapter,
        folder,
        base_model=context.config.generator,
        family=context.generator.decoder.config.family,
    )
    context.record.event(
        TRAINED,
        SUMMARY,
        f"{trained.steps} steps in {trained.seconds:.1f} s · {trained.num_tokens / max(trained.seconds, 1e-9):.0f} "
        f"tokens/s · loss {trained.metrics.get('loss', float('nan')):.3f}",
        data={
            "adapter": ADAPTER,
            "steps": trained.steps,
            "loss": trained.metrics.get("loss"),
            "num_tokens": trained.num_tokens,
            "seconds": round(trained.seconds, 3),
            "resumed_from": trained.resumed_from,
        },
        sync=True,
    )
    context.record.stage_end()
    return trained.adapter


def _fitting(context: Context, rows: Sequence[Row], config: TrainConfig) -> TrainConfig:
    """The settings with micro-batches as small as memory asks for; the result of training is the same.

    Raises:
        ModelError: by the budget not even one row at a time fits, with its numbers.
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
    """Bytes that training takes beyond the loaded model, by the budget."""
    longest = max(row.tokens for row in rows)
    together = max(longest, min(config.micro_batch_tokens, config.train_batch_size * longest))
    need = memory_estimate.train_lora(model.config, model.dtype, together, config.lora_r, model.device, length=longest)
    return need.additional_bytes


def _trained(context: Context, learned: Sequence[Row], kept_out: Sequence[Row], config: TrainConfig) -> Trained:
    """The training; where memory runs out, again from its last checkpoint with fewer tokens at a time.

    Raises:
        ModelError: it runs out with one row at a time, too.
    """
    from engine.training.loop import train as train_loop

    model, longest = context.generator, max(row.tokens for row in (*learned, *kept_out))
    while True:
        try:
            return train_loop(
                model.decoder,
                learned,
                config,
                control=context.control,
                hooks=_Teller(context).hooks(),
                validation=kept_out,
                checkpoints=context.folder / CHECKPOINTS,
                references=context.folder / CHECKPOINTS,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            if config.micro_batch_tokens < longest:  # every row went alone
                raise shortage("training", model.device, need=_need(model, learned, config)) from error
        # What the failed step held hung on the error's traceback, which is gone only now.
        gc.collect()
        config = dataclasses.replace(config, micro_batch_tokens=max(1, config.micro_batch_tokens // 2))
        context.record.notice(f"Memory ran out; training goes on with {config.micro_batch_tokens} tokens at a time.")


def trained_model(context: Context, adapter: Adapter) -> LocalModel:
    """The generator with what it learned, under a name that says so."""
    return context.generator.with_adapter(adapter, f"{context.generator.name}, trained")


def _refuse_compared(context: Context, pairs: Sequence[PreferencePair]) -> None:
    """The last gate before training: no compared prompt may be learned from, whatever a file or a journal says."""
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
    """What is learned and what is kept out of it, as token ids; cut rows are told in the journal."""
    from engine.training.data import PairRow, SftRow, fit

    model = context.generator
    by_id = {prompt.id: prompt for prompt in context.prompts.train}
    sft: list[SftRow] = []
    dpo: list[PairRow] = []
    for pair in pairs:
        prompt = by_id[pair.item]
        chat = chats.draft(prompt.text, prompt.messages)
        head, chosen = model.encode_pair(chat, pair.chosen)
        if context.config.train.objective == "sft":
            sft.append(SftRow(tuple(head), tuple(chosen), pair.item))
        else:
            _, rejected = model.encode_pair(chat, pair.rejected)
            dpo.append(PairRow(tuple(head), tuple(chosen), tuple(rejected), pair.item))
    longest = min(context.config.train.max_length, model.context)
    kept, cuts = fit(sft, longest) if sft else fit(dpo, longest)
    rows: list[Row] = list(kept)
    for cut in cuts:
        context.record.event(
            "NOTICE",
            ALL,
            f"{cut.key}: {cut.what} lost {cut.tokens} tokens to the limit of {longest}",
            item=cut.key,
            data={"what": cut.what, "tokens": cut.tokens},
        )
    if not rows:
        raise InputError(
            f"no pair fits into {longest} tokens.",
            where="training, max_length",
            next_step="Raise it, or shorten prompts.",
        )
    if len(rows) < 3 * _KEPT_OUT:
        return rows, []
    kept_out = [row for number, row in enumerate(rows) if number % _KEPT_OUT == _KEPT_OUT - 1]
    return [row for number, row in enumerate(rows) if number % _KEPT_OUT != _KEPT_OUT - 1], kept_out


class _Teller:
    """Turns what the training loop tells into events."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._prompts = context.prompts.train

    def hooks(self) -> Hooks:
        from engine.training.callbacks import Hooks

        return Hooks(on_step=self._on_step, on_epoch=self._on_epoch, on_sample=self._on_sample, on_notice=self._notice)

    def _notice(self, sentence: str) -> None:
        self._context.record.notice(sentence)

    def _on_step(self, step: Step) -> None:
        skipped = " · skipped: not finite" if step.skipped else ""
        self._context.record.event(
            f"EPOCH-{step.epoch}-BATCH-{step.batch}",
            KEY,
            f"step {step.step}/{step.steps} · loss {step.loss:.4f} ({step.change:+.4f}) · "
            f"{step.tokens_per_second:.0f} tokens/s{skipped}",
            data={
                "loss": step.loss,
                "change": step.change,
                "step": step.step,
                "steps": step.steps,
                "epoch": step.epoch,
                "batch": step.batch,
                "batches": step.batches,
                "lr": step.learning_rate,
                "grad_norm": step.grad_norm,
                "num_tokens": step.num_tokens,
                "seconds": round(step.seconds, 4),
                "tokens_per_second": round(step.tokens_per_second, 1),
                "skipped": step.skipped,
                **step.metrics,
            },
        )
        self._context.record.progress("train", step.step, step.steps, step.tokens_per_second)

    def _on_epoch(self, epoch: Epoch) -> None:
        valid = epoch.validation.get("loss")
        self._context.record.event(
            f"EPOCH-{epoch.epoch}-COMPLETE",
            SUMMARY,
            f"epoch {epoch.epoch} of {epoch.epochs} · loss {epoch.loss:.4f}"
            + ("" if valid is None else f" · on pairs kept out {valid:.4f}"),
            data={
                "loss": epoch.loss,
                "valid": valid,
                "epoch": epoch.epoch,
                "epochs": epoch.epochs,
                "seconds": round(epoch.seconds, 3),
                "validation": dict(epoch.validation),
            },
            sync=True,
        )

    def _on_sample(self, step: Step, adapter: Adapter) -> None:
        """An answer of the model as it is now to one of the training prompts, with its verdict."""
        context, number = self._context, step.step
        began = time.monotonic()
        prompt = self._prompts[(number - 1) % len(self._prompts)]
        model = context.generator.with_adapter(adapter, f"{context.generator.name}, step {number}")
        chat = model.render(chats.draft(prompt.text, prompt.messages))
        request = Request(prompt.id, chat, _SAMPLE, context.seed_for("sample", number))
        completion = next(iter(model.generate([request], context.control)))
        verdicts = judge_all(context, context.judges.comparison, [JudgeInput(prompt.id, completion.text, prompt.text)])
        verdict = next(iter(verdicts), Verdict(prompt.id, None))
        context.record.event(
            f"EPOCH-{step.epoch}-BATCH-{step.batch}",
            KEY,
            f"sample after step {number} · {verdict_codec.summary(verdict, context.constitution.max_score)}",
            item=prompt.id,
            texts={"sample prompt": prompt.text, "sample": completion.text},
            raw={"request": chat, "raw": completion.raw},
            data={
                "step": number,
                "sample": verdict_codec.to_data(verdict),
                "tokens": completion.tokens,
                "seconds": round(time.monotonic() - began, 3),
            },
        )
