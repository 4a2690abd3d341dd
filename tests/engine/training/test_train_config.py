"""Training settings: defaults, checks, and the way to JSON and back."""

from __future__ import annotations

import json

import pytest

from engine.errors import InputError
from engine.training.config import TrainConfig


def test_dpo_has_the_defaults_that_were_seen_to_work() -> None:
    config = TrainConfig.dpo()
    assert (config.objective, config.lora_r, config.learning_rate, config.beta, config.num_train_epochs) == (
        "dpo",
        16,
        2e-4,
        0.1,
        3,
    )


def test_a_default_can_be_changed() -> None:
    assert TrainConfig.sft(num_train_epochs=7).num_train_epochs == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("objective", "rl"),
        ("num_train_epochs", 0),
        ("learning_rate", 0.0),
        ("beta", -0.1),
        ("lora_r", 0),
        ("lora_dropout", 1.0),
        ("target_modules", ()),
        ("train_batch_size", 0),
        ("max_length", 1),
        ("lr_scheduler_type", "step"),
        ("warmup_ratio", 1.5),
        ("adam_beta2", 1.0),
        ("max_grad_norm", -1.0),
        ("max_nonfinite_steps", 0),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"training, {field}: (unknown )?{field} "):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


def test_settings_survive_json() -> None:
    config = TrainConfig.dpo(target_modules=("q_proj", "v_proj"), max_grad_norm=0.5)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


@pytest.mark.parametrize("values", [{"lr": 1e-4}, {"num_train_epochs": "three"}, {"adam_beta1": None}])
def test_unknown_names_and_wrong_kinds_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"training, [a-z_0-9]+: "):
        TrainConfig.from_dict(values)
