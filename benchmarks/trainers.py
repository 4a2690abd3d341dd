"""The same training by trl: its trainers on the same batches, number format and LoRA settings, steps timed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.measure import Stopwatch
from benchmarks.peers import TrainingRow, load, lora


class Trl:
    """trl's trainers on the CPU; arguments as in `benchmarks.peers.Transformers`."""

    def __init__(self, folder: str, gguf: str, dtype: str) -> None:
        self._where = (folder, gguf, dtype)
        self._mixed = dtype == "bfloat16"
        self._tokenizer = load(*self._where)[1]

    def warm(self) -> None:
        """A step of each kind, so that nothing is done for the first time when it is measured."""
        row = {"prompt": [1] * 32, "chosen": [2] * 32, "rejected": [3] * 32}
        for objective in ("sft", "dpo"):
            self.train([row], objective, batch=1, steps=1)

    def train(self, rows: Sequence[TrainingRow], objective: str, batch: int, steps: int) -> dict[str, Any]:
        """The first `steps` steps over the rows, in their order; units are tokens of the rows, a pair's prompt once.
        DPO computes its reference in each step, which is trl's default."""
        used = rows[: steps * batch]
        clock = _Clock()
        with tempfile.TemporaryDirectory(prefix="redraft-bench-") as folder:
            trainer = self._trainer(objective, folder, batch, clock)
            trainer.train_dataset = Dataset.from_list([_columns(row, objective) for row in used])
            with Stopwatch() as watch:
                trainer.train()
        tokens = sum(
            len(r["prompt"]) + len(r["chosen"]) + (len(r["rejected"]) if objective == "dpo" else 0) for r in used
        )
        note = "" if len(used) == len(rows) else f"trl measured on {len(used)} of {len(rows)} rows"
        return watch.sample(tokens, seconds=clock.seconds, note=note)

    def _trainer(self, objective: str, folder: str, batch: int, clock: TrainerCallback) -> Any:
        settings = {
            "output_dir": folder,
            "use_cpu": True,
            "bf16": self._mixed,
            "per_device_train_batch_size": batch,
            "num_train_epochs": 1,
            "learning_rate": 2e-4,
            "max_length": None,
            "gradient_checkpointing": False,
            "train_sampling_strategy": "sequential",
            "report_to": [],
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
        }
        # Trainers insist on a text that they tokenize; what is trained on is put in its place afterwards.
        text = {"prompt": "a", "completion": " b", "chosen": " b", "rejected": " c"}
        kinds = {"sft": (SFTTrainer, SFTConfig, "completion"), "dpo": (DPOTrainer, DPOConfig, "chosen rejected")}
        trainer, config, columns = kinds[objective]
        return trainer(
            model=load(*self._where)[0],
            args=config(**settings),
            train_dataset=Dataset.from_list([{name: text[name] for name in ("prompt", *columns.split())}]),
            processing_class=self._tokenizer,
            peft_config=lora(),
            callbacks=[clock],
        )


class _Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Adds up what optimizer steps take, data loading and everything between them left out."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds += time.perf_counter() - self._start


def _columns(row: TrainingRow, objective: str) -> dict[str, list[int]]:
    if objective == "dpo":
        return {"prompt_ids": row["prompt"], "chosen_ids": row["chosen"], "rejected_ids": row["rejected"]}
    return {
        "input_ids": row["prompt"] + row["chosen"],
        "labels": [-100] * len(row["prompt"]) + row["chosen"],
    }
