"""The training of a run as files for TRL and axolotl: the kept pairs, and a config with the same settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from engine.errors import InputError, StorageError
from engine.export.training_pairs import TrainingPair, read_history
from engine.files import write_atomically
from engine.models.hub import catalog, embedded
from engine.models.hub.transformers_config import with_architecture
from engine.models.hub.weights import read_json
from engine.runs.folder import read_config
from engine.settings import RunConfig

DATA = "data/train.jsonl"
BASE = "base"


def write_trl(folder: Path, target: Path) -> list[Path]:
    """Write `trl.yaml` and the pairs in TRL's conversational format; `trl dpo --config trl.yaml` in that folder trains.

    Raises:
        InputError: no pair was kept, or the generator is a GGUF file.
        StorageError: a file cannot be read or written.
    """
    config = read_config(folder)
    command = "dpo" if config.train.objective == "dpo" else "sft"
    return _write(folder, target, "trl.yaml", f"trl {command} --config trl.yaml", trl_values, _trl_row)


def write_axolotl(folder: Path, target: Path) -> list[Path]:
    """Write `axolotl.yaml` and the pairs; `axolotl train axolotl.yaml` in that folder trains.

    Raises:
        InputError: no pair was kept, or the generator is a GGUF file.
        StorageError: a file cannot be read or written.
    """
    return _write(folder, target, "axolotl.yaml", "axolotl train axolotl.yaml", axolotl_values, _axolotl_row)


def trl_values(config: RunConfig, model: str) -> dict[str, Any]:
    """The settings under TRL's names."""
    train = config.train
    values: dict[str, Any] = {
        "model_name_or_path": model,
        "dtype": "float32",
        "dataset_name": "./data",
        "output_dir": "./trained",
        "num_train_epochs": train.num_train_epochs,
        "per_device_train_batch_size": train.train_batch_size,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": train.lr_scheduler_type,
        "warmup_steps": train.warmup_ratio,
        "weight_decay": train.weight_decay,
        "adam_beta1": train.adam_beta1,
        "adam_beta2": train.adam_beta2,
        "adam_epsilon": train.adam_epsilon,
        "max_grad_norm": train.max_grad_norm,
        "max_length": train.max_length,
        "seed": config.seed,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_peft": True,
        "lora_r": train.lora_r,
        "lora_alpha": int(train.lora_alpha),
        "lora_dropout": train.lora_dropout,
        "lora_target_modules": list(train.target_modules),
    }
    if train.objective == "dpo":
        values["beta"] = train.beta
        values["loss_type"] = [train.loss_type]
        if train.rpo_alpha:
            values["loss_type"] = [train.loss_type, "sft"]
            values["loss_weights"] = [1.0, train.rpo_alpha]
    return values


def axolotl_values(config: RunConfig, model: str) -> dict[str, Any]:
    """The settings under axolotl's names."""
    train = config.train
    dpo = train.objective == "dpo"
    data: dict[str, Any] = {"path": f"./{DATA}", "ds_type": "json", "split": "train", "field_messages": "messages"}
    data |= {"type": "chat_template.default", "field_chosen": "chosen", "field_rejected": "rejected"} if dpo else {
        "type": "chat_template"
    }  # fmt: skip
    values: dict[str, Any] = {
        "base_model": model,
        "datasets": [data],
        "output_dir": "./trained",
        "adapter": "lora",
        "lora_r": train.lora_r,
        "lora_alpha": train.lora_alpha,
        "lora_dropout": train.lora_dropout,
        "num_epochs": train.num_train_epochs,
        "micro_batch_size": train.train_batch_size,
        "gradient_accumulation_steps": 1,
        "learning_rate": train.learning_rate,
        "lr_scheduler": train.lr_scheduler_type,
        "warmup_ratio": train.warmup_ratio,
        "optimizer": "adamw_torch",
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "sequence_len": train.max_length,
        "seed": config.seed,
        "logging_steps": 1,
    }
    if tuple(train.target_modules) == ("all-linear",):
        values["lora_target_linear"] = True
    else:
        values["lora_target_modules"] = list(train.target_modules)
    if dpo:
        values |= {"rl": "dpo", "rl_beta": train.beta}
        values |= {"rpo_alpha": train.rpo_alpha} if train.rpo_alpha else {}
    return values


def _kept(folder: Path) -> list[TrainingPair]:
    pairs = [pair for pair in read_history(folder).pairs if pair.kept and pair.prompt]
    if not pairs:
        raise InputError(
            "the run has no pairs with texts.", where=str(folder), next_step="Export a run that kept pairs."
        )
    return pairs


def _model(config: RunConfig, target: Path) -> str:
    """The generator as transformers loads it: an id on the hub or a folder."""
    source = catalog.resolve(config.generator)
    if source.kind == "embedded":
        return _with_architecture(embedded.folder(), target)
    if source.kind == "hub":
        return source.repo
    if source.kind == "gguf":
        raise InputError(
            "the run's generator is a GGUF file, which other trainers do not read.",
            where=config.generator,
            next_step="`redraft merge` writes it as a folder; or use the same model from the hub.",
        )
    if source.kind == "adapter":
        raise InputError(
            "the run's generator is an adapter on another model, which other trainers load otherwise.",
            where=config.generator,
            next_step="Merge the two first (peft's `merge_and_unload`), and train on the result.",
        )
    assert source.path is not None
    return _with_architecture(source.path.resolve(), target)


def _with_architecture(folder: Path, target: Path) -> str:
    """The folder; where its config does not name the model's class, which TRL needs, a folder in `target` that has such
    a config and links to the rest."""
    config = folder / "config.json"
    if not config.is_file() or (values := read_json(config)) == (named := with_architecture(values)):
        return str(folder)
    write_atomically(target / BASE / config.name, (json.dumps(named, indent=2) + "\n").encode(), 0o644)
    try:
        for path in folder.iterdir():
            link = target / BASE / path.name
            if path.name != config.name and not link.exists():
                link.unlink(missing_ok=True)
                link.symlink_to(path)
    except OSError as error:
        raise StorageError(f"the link cannot be made ({error.strerror}).", where=str(target / BASE)) from None
    return f"./{BASE}"


def _prompt(pair: TrainingPair, config: RunConfig) -> list[dict[str, str]]:
    system = [{"role": "system", "content": config.system}] if config.system.strip() else []
    return [*system, {"role": "user", "content": pair.prompt}]


def _trl_row(pair: TrainingPair, config: RunConfig) -> dict[str, Any]:
    prompt, objective = _prompt(pair, config), config.train.objective
    if objective == "dpo":
        return {"prompt": prompt, "chosen": _answer(pair.chosen), "rejected": _answer(pair.rejected)}
    return {"prompt": prompt, "completion": _answer(pair.chosen)}


def _axolotl_row(pair: TrainingPair, config: RunConfig) -> dict[str, Any]:
    prompt, objective = _prompt(pair, config), config.train.objective
    if objective == "dpo":
        return {"messages": prompt, "chosen": _answer(pair.chosen)[0], "rejected": _answer(pair.rejected)[0]}
    return {"messages": [*prompt, *_answer(pair.chosen)]}


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _write(
    folder: Path,
    target: Path,
    name: str,
    command: str,
    values: Callable[[RunConfig, str], dict[str, Any]],
    row: Callable[[TrainingPair, RunConfig], dict[str, Any]],
) -> list[Path]:
    """Write the settings of a run under a trainer's names, and its pairs in a trainer's form.

    Args:
        command: what trains with them, for the first line.
    """
    config, pairs = read_config(folder), _kept(folder)
    if target.exists() and not target.is_dir():
        raise InputError("this is a file.", where=str(target), next_step="Name a folder.")
    settings = values(config, _model(config, target))
    head = f"# The training of the Redraft run {folder.name}. In this folder: {command}\n"
    write_atomically(target / name, (head + yaml.safe_dump(settings, sort_keys=False)).encode(), 0o644)
    lines = "".join(json.dumps(row(pair, config), ensure_ascii=False) + "\n" for pair in pairs)
    write_atomically(target / DATA, lines.encode("utf-8", "replace"), 0o644)
    return [target / name, target / DATA]
