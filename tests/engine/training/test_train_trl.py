"""Loss, metrics and gradients of one step equal those of trl's trainers on the same rows, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from training_aid import Twin, learned, pair_rows, sft_rows
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from engine.control import Control
from engine.training.config import LossType
from engine.training.data import Row
from engine.training.lora import Lora
from engine.training.objective import Dpo, MicroBatchLoss, Objective, Sft
from engine.training.policy import Policy

COMMON = {"use_cpu": True, "bf16": False, "report_to": [], "gradient_checkpointing": False, "max_length": None}
TEXT = {"prompt": "the question is", "completion": " why", "chosen": " what", "rejected": " the answer"}


def _lora() -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")


def _take_over(peer: Any, lora: Lora) -> dict[str, Any]:
    """Give trl's model the adapter's values; its parameters by name."""
    values = dict(peer.named_parameters())
    with torch.no_grad():
        for name, pair in lora.adapter().pairs.items():
            for matrix, value in (("lora_A", pair.a), ("lora_B", pair.b)):
                values[f"base_model.model.{name}.{matrix}.default.weight"].copy_(value)
    return values


def _compare_gradients(lora: Lora, values: dict[str, Any]) -> None:
    for name, pair in lora.adapter().pairs.items():
        for matrix, leaf in (("lora_A", pair.a), ("lora_B", pair.b)):
            theirs = values[f"base_model.model.{name}.{matrix}.default.weight"].grad
            torch.testing.assert_close(leaf.grad, theirs, atol=1e-4, rtol=1e-4)


def _ours(objective: Objective, twin: Twin, lora: Lora, micros: Sequence[Sequence[Row]]) -> list[MicroBatchLoss]:
    rows = [row for micro in micros for row in micro]
    objective.prepare(Policy(twin.decoder), rows, Control())
    totals, policy = objective.totals(rows), Policy(twin.decoder, lora.adapter())
    found = [objective.loss(policy, micro, totals) for micro in micros]
    lora.start_step(0, 0, 0)
    for part in found:
        part.loss.backward()
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_sft_equals_trl(family: str, twin: Callable[..., Twin], tmp_path: Path) -> None:
    # trl trains with the dropout of the base model's own config; frozen weights here have none.
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if family == "gpt2" else {}
    pair = twin(family, **still)
    lora, rows = learned(pair.decoder), sft_rows(6)
    trainer = SFTTrainer(
        model=pair.reference(),
        args=SFTConfig(output_dir=str(tmp_path), **COMMON),
        train_dataset=Dataset.from_list([{"prompt": TEXT["prompt"], "completion": TEXT["completion"]}]),
        processing_class=AutoTokenizer.from_pretrained(pair.folder),
        peft_config=_lora(),
    )
    values = _take_over(trainer.model, lora)
    batch = trainer.data_collator(
        [
            {
                "input_ids": [*row.prompt, *row.completion],
                "labels": [-100] * len(row.prompt) + list(row.completion),
            }
            for row in rows
        ]
    )
    loss = trainer.compute_loss(trainer.model.train(), batch)
    loss.backward()
    found = _ours(Sft(), pair, lora, [rows[:2], rows[2:]])
    assert sum(part.loss.item() for part in found) == pytest.approx(loss.item(), abs=1e-4)
    accuracy = sum(float(part.sums["mean_token_accuracy"]) for part in found) / sum(row.targets for row in rows)
    assert accuracy == pytest.approx(trainer._metrics["train"]["mean_token_accuracy"][-1], abs=1e-6)
    _compare_gradients(lora, values)


@pytest.mark.parametrize(
    ("family", "loss_type", "rpo_alpha"),
    [
        ("llama", "sigmoid", 0.0),
        ("gpt2", "sigmoid", 0.0),
        ("llama", "sigmoid", 0.3),
        ("llama", "sigmoid_norm", 0.0),
        ("llama", "ipo", 0.2),
    ],
)
def test_dpo_equals_trl(
    family: str, loss_type: LossType, rpo_alpha: float, twin: Callable[..., Twin], tmp_path: Path
) -> None:
    pair = twin(family)
    # trl writes the NLL term as a second loss with a weight.
    losses = (
        {"loss_type": [loss_type, "sft"], "loss_weights": [1.0, rpo_alpha]} if rpo_alpha else {"loss_type": loss_type}
    )
    lora, rows = learned(pair.decoder), pair_rows(6)
    trainer = DPOTrainer(
        model=pair.reference(),
        args=DPOConfig(output_dir=str(tmp_path), beta=0.1, **losses, **COMMON),
        train_dataset=Dataset.from_list([{key: TEXT[key] for key in ("prompt", "chosen", "rejected")}]),
        processing_class=AutoTokenizer.from_pretrained(pair.folder),
        peft_config=_lora(),
    )
    values = _take_over(trainer.model, lora)
    batch = trainer.data_collator(
        [{"prompt_ids": list(r.prompt), "chosen_ids": list(r.chosen), "rejected_ids": list(r.rejected)} for r in rows]
    )
    loss = trainer.compute_loss(trainer.model.train(), batch)
    loss.backward()
    objective = Dpo(0.1, loss_type, rpo_alpha)
    found = _ours(objective, pair, lora, [rows[:2], rows[2:]])
    assert sum(part.loss.item() for part in found) == pytest.approx(loss.item(), abs=1e-4)
    for name in set(objective.metrics) - {"nll_loss", "logratios/chosen"}:
        ours = sum(float(part.sums[name]) for part in found) / len(rows)
        assert ours == pytest.approx(trainer._metrics["train"][name][-1], abs=1e-4, rel=1e-5), name
    _compare_gradients(lora, values)
