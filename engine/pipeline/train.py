"""The training stage: kept pairs become rows, an adapter is trained on them, and every step is in the journal."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import InputError
from engine.events.notices import RowTruncated
from engine.events.training import TrainEnd, TrainStart
from engine.launch_environment import process_count
from engine.models.hub import memory_estimate
from engine.pipeline.context import Context
from engine.pipeline.oom import is_oom, oom_error
from engine.pipeline.pairs import PreferencePair
from engine.pipeline.shared_training import share
from engine.pipeline.training_reporter import RestoreHealthy, TrainingReporter
from engine.pipeline.training_rows import encode_rows
from engine.runs.folder import ADAPTER
from engine.runs.trainings import Training

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.models.nn.lora_weights import Adapter
    from engine.training.callbacks import Trained
    from engine.training.config import TrainConfig
    from engine.training.data import Row

CHECKPOINTS = "checkpoints"

VAL_EVERY_N = 10
"""One row in this many is a validation row, where that gives at least three of them."""


def train(context: Context) -> None:
    """Fine-tune the generator on the kept pairs, once per training seed; the adapters go into the run's folder.

    Raises:
        InputError: no pair is short enough to be trained on.
        ModelError: not even one row fits into memory.
        TrainingError: loss or gradients stayed non-finite.
        Stopped: a checkpoint was written first.
    """
    from engine.models.hub.adapter import load

    ended = context.finished.trained
    for training in context.trainings:
        if training.number in ended:
            # Version 0.1 did not name the folder.
            context.results.adapters[training.arm] = load(context.folder / (ended[training.number].adapter or ADAPTER))
    waiting = [training for training in context.trainings if training.number not in ended]
    if not waiting:
        return
    pairs = context.results.kept
    _refuse_compared(context, pairs)
    rows, validation = _rows(context, pairs)
    for training in waiting:
        context.results.adapters[training.arm] = _train(context, training, rows, validation)


def _train(context: Context, training: Training, rows: Sequence[Row], validation: Sequence[Row]) -> Adapter:
    """One training; returns what is compared: the adapter of its last step, or of a healthy one before an alarm."""
    from engine.training.lora import save

    context.record.stage_start("train", None)
    config = _fitting(context, [*rows, *validation], dataclasses.replace(context.config.train, seed=training.seed))
    total = context.config.seeds
    place = f"training {training.number} of {total}, seed {training.seed} · " if total > 1 else ""
    context.record.write(
        TrainStart(
            summary=f"{place}{config.objective} on {len(rows)} pairs, {len(validation)} for validation · "
            f"{config.num_train_epochs} epochs · LoRA rank {config.lora_r}, learning rate {config.learning_rate:g}",
            objective=config.objective,
            rows=len(rows),
            validation=len(validation),
            epochs=config.num_train_epochs,
            batches=-(-len(rows) // config.train_batch_size),
            config=config.as_dict(),
            training=training.number,
            trainings=total,
            seed=training.seed,
        )
    )
    reporter = TrainingReporter(context, training, config)
    end = _result(context, training, reporter, rows, validation, config)
    save(
        end.adapter,
        context.folder / training.adapter,
        base_model=context.config.generator,
        family=context.generator.decoder.config.family,
    )
    speed = f"{end.num_tokens / max(end.seconds, 1e-9):.0f} tokens/s"
    result = f"loss {end.loss:.3f}" if end.loss is not None else f"the adapter of step {end.restored} is kept"
    context.record.write(
        TrainEnd(
            summary=f"{place}{end.steps} steps in {end.seconds:.1f} s · {speed} · {result}",
            adapter=training.adapter,
            steps=end.steps,
            loss=end.loss,
            num_tokens=end.num_tokens,
            seconds=end.seconds,
            resumed_from=end.resumed_from,
            restored=end.restored,
            training=training.number,
        ),
        sync=True,
    )
    reporter.discard_snapshots()
    context.record.stage_end()
    return end.adapter


@dataclass(frozen=True)
class _End:
    """What a training ended with. `restored` is the step of the adapter where that is not the last one's, and `loss`
    is None then."""

    adapter: Adapter
    steps: int
    loss: float | None
    num_tokens: int
    seconds: float
    resumed_from: int = 0
    restored: int | None = None


def _result(
    context: Context,
    training: Training,
    reporter: TrainingReporter,
    rows: Sequence[Row],
    validation: Sequence[Row],
    config: TrainConfig,
) -> _End:
    resumed_from = 0
    try:
        reporter.check_before()
        trained = _train_in_memory(context, training, reporter, rows, validation, config)
        resumed_from = trained.resumed_from
        reporter.check_after()
    except RestoreHealthy as found:
        last = reporter.last_step
        return _End(
            adapter=found.adapter,
            steps=last.step if last is not None else found.step,
            loss=None,
            num_tokens=last.num_tokens if last is not None else 0,
            seconds=reporter.seconds,
            resumed_from=resumed_from,
            restored=found.step,
        )
    return _End(
        adapter=trained.adapter,
        steps=trained.steps,
        loss=trained.metrics.get("loss", float("nan")),
        num_tokens=trained.num_tokens,
        seconds=trained.seconds,
        resumed_from=resumed_from,
    )


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


def _train_in_memory(
    context: Context,
    training: Training,
    reporter: TrainingReporter,
    rows: Sequence[Row],
    validation: Sequence[Row],
    config: TrainConfig,
) -> Trained:
    """The training; where memory runs out, again from its last checkpoint with smaller micro-batches (not where several
    processes share it: the others would wait for this one's gradients).

    Raises:
        ModelError: not even one row fits.
    """
    from engine.training.loop import train as train_loop

    model, longest = context.generator, max(row.tokens for row in (*rows, *validation))
    while True:
        if process_count() > 1:
            share(context, training, rows, validation, config)
        try:
            return train_loop(
                model.decoder,
                rows,
                config,
                control=context.control,
                hooks=reporter.hooks(),
                validation=validation,
                checkpoints=context.folder / training.checkpoints,
                # The reference does not depend on the seed: all trainings share its log-probabilities.
                references=context.folder / CHECKPOINTS,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_oom(error) or process_count() > 1:
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
    encoded = encode_rows(model, model.codec.ends, by_id, pairs, context.config.train.objective)
    sft = [row for row in encoded if isinstance(row, SftRow)]
    dpo = [row for row in encoded if isinstance(row, PairRow)]
    if not any(pair.chosen_complete for pair in pairs):
        context.record.notice(
            "Every chosen text was cut at the token limit, so the model does not learn where to stop. Raise "
            "--max-tokens to change that."
        )
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
