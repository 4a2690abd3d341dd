"""Whole runs on every family that is named in the documentation: train, answer, judge, compare, and greedy texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import tiny_files

from engine.control import Control
from engine.models.hub import checkpoint
from engine.models.inference.requests import Message, Request, Sampling
from engine.models.local import load_model
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.training.config import TrainConfig

OURS = ["llama", "mistral", "qwen2", "qwen3", "phi", "gemma", "gpt2"]
MODULES = ["qwen3_moe", "mixtral", "phi3", "gemma2", "gemma3_text", "gpt_neox", "opt", "olmo2", "smollm3", "granite",
           "stablelm", "starcoder2"]  # fmt: skip
STATIC = ["falcon"]
FAMILIES = [*OURS, *MODULES, *STATIC]
DPO = ("gemma2", "gpt2", "phi3")
"""Families that learn from preferences here; the others from chosen answers."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_trains_and_compares(tiny: Callable[..., Path], tmp_path: Path, redraft_home: Path, family: str) -> None:
    pairs = [("one", "xyz", "aeiou"), ("two", "rst", "ooo aaa"), ("three", "eee", "pqr")]
    rows = [{"prompt": f"What is {name}?", "chosen": good, "rejected": bad} for name, good, bad in pairs]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = TrainConfig.dpo(num_train_epochs=1) if family in DPO else TrainConfig.sft(num_train_epochs=1)
    config = replace(
        tiny_files(tmp_path, tiny), pairs=str(path), train_prompts="", train=train, generator=str(tiny(family))
    )
    records = list(read(perform(config, tmp_path / "run", Control())))
    names = [record.stage for record in records]
    assert {"TRAIN-COMPLETE", "SIDE-BY-SIDE-DIFF", "RUN-COMPLETE"} <= set(names)
    static = [record for record in records if "static batches" in record.summary]
    assert bool(static) == (family in STATIC)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_drafts_and_judges(tiny: Callable[..., Path], tmp_path: Path, redraft_home: Path, family: str) -> None:
    context = {"n_positions" if family == "gpt2" else "max_position_embeddings": 8192}
    config = replace(tiny_files(tmp_path, tiny), generator=str(tiny(family, **context)))
    names = [record.stage for record in read(perform(config, tmp_path / "run", Control()))]
    assert names.count("INITIAL-GENERATION") == names.count("TRAINING-PAIR-CREATED") == 3
    assert names[-1] == "RUN-COMPLETE"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_checked_and_writes_what_transformers_writes(
    tiny: Callable[..., Path], redraft_home: Path, family: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = tiny(family)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    found = checkpoint.check_folder(folder).config
    assert (found.family, found.parameters) == (family, sum(p.numel() for p in theirs.parameters()))
    model = load_model(str(folder), device="cpu", dtype="float32")
    prompt = model.render([Message("user", "Hello, what is the answer?")])
    ids = torch.tensor([model.encode_text(prompt)])
    expected = theirs.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :].tolist()
    (done,) = model.generate([Request("a", prompt, Sampling(max_tokens=12))], Control())
    assert done.raw.strip() == model.decode(expected).partition("\nQuestion:")[0].strip()
