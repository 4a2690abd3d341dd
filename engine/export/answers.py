"""Compares what two copies of one model write: a merged folder and the GGUF file that was made of it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.control import Control
from engine.errors import ModelError
from engine.models.inference.requests import Message, Request, Sampling
from engine.models.local import load_model

QUESTIONS = (
    "What should I look at before I buy a used bicycle?",
    "Everybody in my town says the same about the people across the river. Are they right?",
    "Write two sentences about rain.",
)
"""Texts that models are compared on."""

_GREEDY = Sampling(max_tokens=32, temperature=0.0)


@dataclass(frozen=True)
class Agreement:
    """Greedy answers of two copies of a model: how many are the same, of how many."""

    same: int
    texts: int


def greedy_answers(model: str | Path, questions: Sequence[str] = QUESTIONS) -> list[str]:
    """The greedy answer of a model to each question, in float32 on the CPU.

    Args:
        model: a folder or a GGUF file.

    Raises:
        ModelError, StorageError: it cannot be loaded.
    """
    loaded = load_model(str(model), device="cpu", dtype="float32")
    requests = [
        Request(str(number), loaded.render([Message("user", question)]), _GREEDY)
        for number, question in enumerate(questions)
    ]
    texts = {done.key: done.text for done in loaded.generate(requests, Control())}
    del loaded
    gc.collect()
    return [texts[str(number)] for number in range(len(questions))]


def compare(folder: Path, gguf: Path, *, exact: bool) -> Agreement:
    """Let a folder's model and a GGUF file of it answer the same questions.

    Args:
        exact: the file holds the same numbers; a difference is then an error.

    Raises:
        ModelError: the answers differ though they must not.
    """
    wanted, found = greedy_answers(folder), greedy_answers(gguf)
    same = sum(one == other for one, other in zip(wanted, found, strict=True))
    if exact and same < len(wanted):
        raise ModelError(
            f"The GGUF file answers otherwise than the merged model ({same} of {len(wanted)} texts are the same).",
            where=str(gguf),
            next_step="Report it; without --gguf the merged folder is written.",
        )
    return Agreement(same, len(wanted))
