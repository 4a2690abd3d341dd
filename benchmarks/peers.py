"""The same work by transformers, as the obvious program would do it: one prompt at a time, or in static batches.

Imports nothing of the engine that would change how torch runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.measure import Stopwatch, peak_memory

# Ask and TrainingRow of benchmarks.work, whose module would bring settings of threads along.
Ask = dict[str, Any]
TrainingRow = dict[str, Any]


def load(folder: str, gguf: str, dtype: str) -> tuple[Any, Any]:
    """Model and tokenizer from a folder, or from a GGUF file where there is none."""
    where, more = (folder, {}) if folder else (str(Path(gguf).parent), {"gguf_file": Path(gguf).name})
    tokenizer = AutoTokenizer.from_pretrained(where, padding_side="left", **more)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, dtype), **more).eval(), tokenizer


class Transformers:
    """transformers on the CPU.

    Args:
        folder, gguf: where the model is; `gguf` counts where `folder` is "".
        dtype: of the weights.
        ends: ids of the tokens that end an answer.
    """

    def __init__(self, folder: str, gguf: str, dtype: str, ends: list[int]) -> None:
        self._model, self._tokenizer = load(folder, gguf, dtype)
        self._ends = ends
        self._where = (folder, gguf, dtype)

    def warm(self) -> None:
        """Write a few tokens, so that nothing is done for the first time when it is measured."""
        self._batch([{"prompt": "a", "max_tokens": 4, "temperature": 0.7, "top_k": 50, "top_p": 0.95, "exact": 4}] * 2)

    def generate(self, asks: Sequence[Ask], batch: int) -> dict[str, Any]:
        """In batches of `batch`, padded on the left; units are the tokens written, ends and padding left out."""
        tokens = 0
        with Stopwatch() as watch, torch.inference_mode():
            for at in range(0, len(asks), batch):
                tokens += self._batch(asks[at : at + batch])
        return watch.sample(tokens)

    def peak(self, asks: Sequence[Ask], batch: int) -> dict[str, Any]:
        """MB that the process has held at most, after writing these."""
        found = self.generate(asks, batch)
        return {**found, "units": peak_memory() / 1e6, "seconds": 1.0}

    def each(self, asks: Sequence[Ask], rounds: int = 1) -> dict[str, Any]:
        """One after another; units are completions."""
        with Stopwatch() as watch, torch.inference_mode():
            for _ in range(rounds):
                for ask in asks:
                    self._batch([ask])
        return watch.sample(rounds * len(asks))

    def score(self, rows: Sequence[TrainingRow], batch: int) -> dict[str, Any]:
        """Log-probabilities of the chosen completions in static batches, from the model's logits."""
        pad = self._tokenizer.pad_token_id
        with Stopwatch() as watch, torch.inference_mode():
            for at in range(0, len(rows), batch):
                whole = [row["prompt"] + row["chosen"] for row in rows[at : at + batch]]
                longest = max(map(len, whole))
                ids = torch.tensor([tokens + [pad] * (longest - len(tokens)) for tokens in whole])
                mask = torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in whole])
                logits = self._model(input_ids=ids, attention_mask=mask).logits[:, :-1]
                torch.log_softmax(logits.float(), -1).gather(-1, ids[:, 1:, None])
        return watch.sample(sum(len(row["prompt"]) + len(row["chosen"]) for row in rows))

    def train_each(self, rows: Sequence[TrainingRow], batch: int) -> dict[str, Any]:
        """SFT with peft's LoRA, one row at a time with gradients added up, a step of the optimizer every `batch` rows;
        units are rows."""
        from peft import get_peft_model

        model = load(*self._where)[0]
        model = get_peft_model(model, lora()).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
        with Stopwatch() as watch:
            for number, row in enumerate(rows):
                ids = torch.tensor([row["prompt"] + row["chosen"]])
                logits = model(input_ids=ids).logits[0, len(row["prompt"]) - 1 : -1]
                loss = functional.cross_entropy(logits.float(), ids[0, len(row["prompt"]) :])
                torch.autograd.backward(loss)
                if number % batch == batch - 1:
                    optimizer.step()
                    optimizer.zero_grad()
        return watch.sample(len(rows))

    def _batch(self, asks: Sequence[Ask]) -> int:
        inputs = self._tokenizer(
            [ask["prompt"] for ask in asks], return_tensors="pt", padding=True, add_special_tokens=False
        )
        out = self._model.generate(**inputs, generation_config=self._settings(asks[0]))
        written = out[:, inputs["input_ids"].shape[1] :]
        if asks[0]["exact"]:
            return int(written.numel())
        over = torch.isin(written, torch.tensor(self._ends)).cumsum(1) > 0
        return int((~over).sum())

    def _settings(self, ask: Ask) -> GenerationConfig:
        sampled = ask["temperature"] > 0
        chosen = {"temperature": ask["temperature"], "top_k": ask["top_k"], "top_p": ask["top_p"]} if sampled else {}
        return GenerationConfig(
            do_sample=sampled,
            max_new_tokens=ask["max_tokens"],
            min_new_tokens=ask["exact"] or None,
            eos_token_id=self._ends,
            pad_token_id=self._tokenizer.pad_token_id,
            **chosen,
        )


def lora() -> Any:
    """The adapter's settings of `engine.training.config.TrainConfig`, for peft."""
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
