"""Writes completions by transformers' own `generate`, for models that cannot run in our loop (recurrent layers, alibi).

Batches are static: a batch ends with its longest completion. Tokens are chosen by our sampler, stop texts, token
limits and answer forms are ours, so that a text depends on its prompt, sampling and seed as everywhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.control import Control, InFlight
from engine.models.hub.hf_logging import quiet
from engine.models.inference.rows import Row, apply_grammar_mask, apply_repetition_penalty
from engine.models.inference.sampling import Sampler

if TYPE_CHECKING:
    from engine.models.nn.modules import ModuleDecoder


def run_static(decoder: Any, ends: Collection[int], control: Control, queue: Sequence[Row], rows: int) -> Iterator[Row]:
    """Each row as its batch ends.

    Args:
        decoder: an `engine.models.nn.modules.ModuleDecoder`.
        ends: tokens that end a completion.
        control: `check` is called once a token.
        rows: max rows at a time.

    Raises:
        Stopped: within one token after `control.stop()`.
    """
    # Prompts of like length together; of one length where padding changes a text.
    left = sorted(queue, key=lambda row: (-len(row.prompt), -row.limit))
    while left:
        batch = [row for row in left[:rows] if decoder.left_padding or len(row.prompt) == len(left[0].prompt)]
        left = left[len(batch) :]
        _run_batch(decoder, ends, control, batch)
        yield from batch


def _run_batch(decoder: ModuleDecoder, ends: Collection[int], control: Control, batch: list[Row]) -> None:
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    longest = max(len(row.prompt) for row in batch)
    ids = torch.tensor([[0] * (longest - len(row.prompt)) + row.prompt for row in batch], device=decoder.device)
    mask = torch.tensor([[0] * (longest - len(r.prompt)) + [1] * len(r.prompt) for r in batch], device=decoder.device)
    chooser = _Chooser(batch, ends, control, decoder.device)
    settings = GenerationConfig(max_new_tokens=max(row.limit for row in batch), do_sample=False, pad_token_id=0)
    with quiet(), torch.inference_mode(), decoder.running(None, None):
        decoder.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([chooser.choose]),
            stopping_criteria=StoppingCriteriaList([chooser.ended]),
        )


class _Chooser:
    """Chooses the tokens of a batch: what is left of each row's logits is one token."""

    def __init__(self, batch: Sequence[Row], ends: Collection[int], control: Control, device: torch.device) -> None:
        self._batch = batch
        self._ends = ends
        self._control = control
        self._sampler = Sampler([row.request.sampling for row in batch], [row.request.seed for row in batch], device)
        self._done = [False] * len(batch)

    def choose(self, _ids: Tensor, logits: Tensor) -> Tensor:
        """[rows, vocab] -> the same, with one finite number a row."""
        self._control.check()
        self._control.report(lambda: InFlight([len(row.written) for row in self._batch]))
        logits = logits.clone()
        apply_repetition_penalty(logits, self._batch)
        going = [row if not done else None for row, done in zip(self._batch, self._done, strict=True)]
        apply_grammar_mask(logits, going)
        tokens = self._sampler(logits, [len(row.written) for row in self._batch])
        for place, (row, token) in enumerate(zip(self._batch, tokens.tolist(), strict=True)):
            if not self._done[place]:
                self._done[place] = row.take(token, self._ends)
        return torch.full_like(logits, float("-inf")).scatter_(1, tokens[:, None], 0.0)

    def ended(self, ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        """bool [rows]."""
        return torch.tensor(self._done, device=ids.device)
