"""What all stages of a run share: its settings, models, judges, prompts, records and state."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.judges.registry import RunJudges
from engine.models.hub import memory_estimate
from engine.models.inference.requests import Completion, LanguageModel, Request, Sampling
from engine.pipeline.oom import is_shortage, shortage
from engine.pipeline.recorder import Recorder
from engine.prompts.load import Prompt
from engine.runs.state import RunState
from engine.settings import RunConfig

if TYPE_CHECKING:
    from engine.models.local import LocalModel


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run: what is trained on, what is compared on, and what no good answer refuses."""

    train: tuple[Prompt, ...]
    heldout: tuple[Prompt, ...]
    benign: tuple[Prompt, ...]

    def compared(self) -> Iterator[tuple[str, Prompt]]:
        """(set, prompt) for every prompt of the comparison."""
        for prompt in self.heldout:
            yield "heldout", prompt
        for prompt in self.benign:
            yield "benign", prompt


@dataclass(frozen=True)
class Context:
    """Everything that a stage needs."""

    config: RunConfig
    folder: Path
    constitution: Constitution
    prompts: Prompts
    generator: LocalModel
    critic: LanguageModel
    judges: RunJudges
    record: Recorder
    state: RunState
    control: Control

    @property
    def weights(self) -> dict[str, float]:
        return {p.id: p.weight for p in self.constitution.principles}

    def seed_for(self, *parts: str | int) -> int:
        """A seed that depends on the run's seed and on what it is for, never on order: 63 bits."""
        text = "\x1f".join(str(part) for part in (self.config.seed, *parts))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def ask(
    context: Context, model: LanguageModel, prompts: Sequence[tuple[str, str]], sampling: Sampling, purpose: str
) -> Iterator[tuple[Completion, float]]:
    """Completions for (key, prompt as sent), each as it ends, with the share of wall time that it took.

    The share divides the time since the last completion among those that end together, so the shares of a batch sum
    to the batch's wall time. Where memory runs out, fewer are written at a time.

    Raises:
        ModelError: memory does not suffice for one text either.
    """
    left = {key: Request(key, text, sampling, context.seed_for(purpose, key)) for key, text in prompts}
    rows = len(left)
    dtype = context.generator.dtype
    if left and context.record.partly_known and dtype != "float32":
        # `engine.models.inference.generate` says why; docs/chaos.md what that means.
        context.record.notice(
            f"What was left of this stage is written in another batch than without the interruption; in {dtype} its "
            "texts may differ for that."
        )
    while left:
        before = 0.0
        part = list(left.values())[:rows]
        try:
            for completion in model.generate(part, context.control):
                share = max(0.0, completion.seconds - before)
                before = max(before, completion.seconds)
                left.pop(completion.key, None)
                yield completion, share
        except (MemoryError, RuntimeError) as error:
            need = _need(context, max(map(len, (request.prompt for request in part))) // 2 + sampling.max_tokens)
            rows = _fewer(context, len(part), len(prompts), error, need)
        else:
            for request in part:
                left.pop(request.key, None)
        # What the failed batch held hung on the error's traceback, which is gone only now.
        if rows < len(part):
            gc.collect()


def _need(context: Context, tokens: int) -> int:
    """Bytes that writing or reading one text of about so many tokens takes beyond the loaded model."""
    model = context.generator
    return memory_estimate.generate(
        model.config, model.dtype, 1, min(tokens, model.context), model.device
    ).additional_bytes


def _fewer(context: Context, rows: int, at_first: int, error: Exception, need: int) -> int:
    """How many texts to try at a time after memory ran out with `rows` of them.

    Args:
        need: bytes that one text takes, for the message.

    Raises:
        ModelError: it does not suffice for one.
        MemoryError, RuntimeError: the error, where it was another.
    """
    if not is_shortage(error):
        raise error
    if rows == 1:
        raise shortage(context.record.stage, context.generator.device, at_first, need) from error
    from engine.models.inference.generate import ROWS

    fewer = max(1, min(rows, ROWS) // 2)
    context.record.notice(f"Memory ran out; going on with {fewer} texts at a time.")
    return fewer


def judge_all(context: Context, judge: Judge, texts: Iterable[JudgeInput]) -> Iterator[Verdict]:
    """Verdicts on all the texts; nothing where there are none. Where memory runs out, fewer are judged at a time.

    Raises:
        ModelError: memory does not suffice for one text either.
    """
    left = {text.key: text for text in texts}
    rows = at_first = len(left)
    while left:
        part = list(left.values())[:rows]
        try:
            for verdict in judge.judge(part, context.control):
                left.pop(verdict.key, None)
                yield verdict
        except (MemoryError, RuntimeError) as error:
            need = _need(context, max(len(text.prompt) + len(text.text) for text in part) // 2)
            rows = _fewer(context, len(part), at_first, error, need)
        else:
            for text in part:
                left.pop(text.key, None)
        if rows < len(part):
            gc.collect()
