"""What every stage has in common: its items are those wanted minus those finished; each is written as soon as it is
ready; and where memory runs out, fewer are worked on at a time."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from engine.control import InFlight
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.models.hub import memory_estimate
from engine.models.inference.requests import Completion, LanguageModel, Request, Sampling
from engine.pipeline.context import Context
from engine.pipeline.oom import is_oom, oom_error

_T = TypeVar("_T")


@contextmanager
def stage(context: Context, name: str, total: int, to_do: int) -> Iterator[None]:
    """The start and the end of a stage.

    Args:
        total: items of the stage.
        to_do: those of them that are not finished yet.
    """
    context.record.stage_start(name, total, done=total - to_do)
    yield
    context.record.stage_end()


def generate_stage(
    context: Context,
    name: str,
    total: int,
    prompts: Mapping[str, str],
    model: LanguageModel,
    sampling: Sampling,
    write: Callable[[Completion, float], None],
    *,
    purpose: str = "",
) -> None:
    """A stage whose items are texts that a model writes.

    Args:
        total: items of the stage.
        prompts: key -> prompt as sent, of the items that are not finished.
        write: called with each completion as soon as it ends, and its share of the wall time; writes its events.
        purpose: what the seeds are derived from; the stage's name if not given.
    """
    with stage(context, name, total, len(prompts)):
        context.record.limit_tokens(sampling.max_tokens)
        for completion, share in generate(context, model, prompts, sampling, purpose or name):
            write(completion, share)
            context.record.step(tokens=completion.tokens)


def judge_stage(
    context: Context, name: str, total: int, texts: Iterable[JudgeInput], judge: Judge, write: Callable[[Verdict], None]
) -> None:
    """A stage whose items are verdicts; `texts` are those that are not finished."""
    waiting = list(texts)
    with stage(context, name, total, len(waiting)):
        for verdict in judge_texts(context, judge, waiting):
            write(verdict)
            context.record.step()


def generated(completion: Completion, share: float, request: str) -> dict[str, Any]:
    """The fields that every event of a generated text has (`engine.events.generation.Generated`)."""
    return {
        "request": request,
        "raw_output": completion.raw,
        "tokens": completion.tokens,
        "seconds": completion.seconds,
        "share": share,
        "error": completion.error,
    }


def generate(
    context: Context, model: LanguageModel, prompts: Mapping[str, str], sampling: Sampling, purpose: str
) -> Iterator[tuple[Completion, float]]:
    """Completions of prompts as sent, each as it ends, with the share of wall time that it took.

    The share divides the time since the last completion among those that end together, so the shares of a batch sum
    to the batch's wall time. Where memory runs out, the batches become smaller.

    Raises:
        ModelError: not even one text fits into memory.
    """
    left = {key: Request(key, text, sampling, context.seed_for(purpose, key)) for key, text in prompts.items()}
    batch_size = len(left)
    dtype = context.generator.dtype
    if left and context.record.partly_known and dtype != "float32":
        # `engine.models.inference.generate` says why; docs/chaos.md what that means.
        context.record.notice(
            f"The rest of this stage is generated in another batch than without the interruption; in {dtype} its "
            "texts may differ because of that."
        )
    while left:
        before = 0.0
        batch = list(left.values())[:batch_size]
        try:
            for completion in _observed(context, model.generate(batch, context.control)):
                share = max(0.0, completion.seconds - before)
                before = max(before, completion.seconds)
                left.pop(completion.key, None)
                yield completion, share
        except (MemoryError, RuntimeError) as error:
            need = _bytes_for(context, max(len(request.prompt) for request in batch) // 2 + sampling.max_tokens)
            batch_size = _smaller_batch(context, len(batch), len(prompts), error, need)
        else:
            for request in batch:
                left.pop(request.key, None)
        # What the failed batch held is referenced by the error's traceback, which is gone only now.
        if batch_size < len(batch):
            gc.collect()


def judge_texts(context: Context, judge: Judge, texts: Iterable[JudgeInput]) -> Iterator[Verdict]:
    """Verdicts on all texts. Where memory runs out, the batches become smaller.

    Raises:
        ModelError: not even one text fits into memory.
    """
    left = {text.key: text for text in texts}
    batch_size = at_first = len(left)
    while left:
        batch = list(left.values())[:batch_size]
        try:
            verdicts = judge.judge(batch, context.control)
            # Answers are judged while others are written, too; then it is the writing that is observed.
            for verdict in verdicts if context.record.generates else _observed(context, verdicts):
                left.pop(verdict.key, None)
                yield verdict
        except (MemoryError, RuntimeError) as error:
            need = _bytes_for(context, max(len(text.prompt) + len(text.text) for text in batch) // 2)
            batch_size = _smaller_batch(context, len(batch), at_first, error, need)
        else:
            for text in batch:
                left.pop(text.key, None)
        if batch_size < len(batch):
            gc.collect()


def _observed(context: Context, items: Iterator[_T]) -> Iterator[_T]:
    """The items, while the recorder observes how far the batch is that they come from; not while the caller works on
    one: it may have a batch of its own."""

    def look(in_flight: Callable[[], InFlight]) -> None:
        context.record.in_flight(lambda: _named(in_flight()))

    while True:
        with context.control.observed(look):
            item = next(items, None)
        if item is None:
            return
        yield item


def _named(batch: InFlight) -> InFlight:
    """With the prompt's id as the key: keys are "id", "id#number" or "set#id#number"."""
    parts = batch.key.split("#")
    return dataclasses.replace(batch, key=parts[1] if len(parts) > 2 else parts[0])


def _bytes_for(context: Context, tokens: int) -> int:
    """Bytes that one text of about so many tokens needs in addition to the loaded model."""
    model = context.generator
    return memory_estimate.generate(
        model.config, model.dtype, 1, min(tokens, model.context), model.device
    ).additional_bytes


def _smaller_batch(context: Context, size: int, at_first: int, error: Exception, need: int) -> int:
    """The batch size to try after memory ran out.

    Args:
        size: of the batch that did not fit.
        at_first: size of the first batch, for the message.
        need: bytes that one text needs, for the message.

    Raises:
        ModelError: the batch was of one text already.
        MemoryError, RuntimeError: `error`, where it was another.
    """
    if not is_oom(error):
        raise error
    if size == 1:
        raise oom_error(context.record.stage, context.generator.device, at_first, need) from error
    from engine.models.inference.generate import ROWS

    smaller = max(1, min(size, ROWS) // 2)
    context.record.notice(f"Memory ran out; continuing with {smaller} texts at a time.")
    return smaller
