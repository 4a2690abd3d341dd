"""Settings: what each says of itself, how values are typed, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.models.inference.requests import Sampling
from engine.setting_field import Setting, number, settings_of
from engine.settings import PRESETS, RunConfig, from_json, names, to_json, with_value
from engine.training.config import TrainConfig


@pytest.mark.parametrize("kind", [RunConfig, Sampling, TrainConfig])
def test_every_setting_has_a_sentence_in_the_imperative_and_a_default_in_range(kind: type) -> None:
    made = kind()
    described = settings_of(made)
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        if dataclasses.is_dataclass(value):
            continue
        known = described[field.name]
        assert known.sentence[0].isupper(), field.name
        assert not known.sentence.endswith(".")
        assert not known.sentence.split()[0].endswith("s"), "imperative"
        assert known.accepts(value), field.name


@pytest.mark.parametrize(
    ("setting", "words", "accepted", "refused"),
    [
        (Setting("", min=1), "at least 1", (1, 10**30), (0, -1, float("nan"), float("inf"), "1")),
        (Setting("", min=1, max=1024), "1 to 1,024", (1, 1024), (0, 1025)),
        (Setting("", above=0, below=1), "above 0 and below 1", (0.5,), (0, 1)),
        (Setting("", min=0, below=1), "at least 0 and below 1", (0, 0.9), (1,)),
        (Setting("", choices=("sft", "dpo")), "sft or dpo", ("sft",), ("", "SFT", 1)),
        (Setting("", choices=("a", "b", "c"), unset="measured"), "a, b or c", ("", "c"), ("d",)),
        (Setting(""), "", ("", "x", 5, ()), ()),
        (Setting("", min=1), "at least 1", (("a",),), ((),)),
    ],
)
def test_a_range_is_said_and_kept(
    setting: Setting, words: str, accepted: tuple[object, ...], refused: tuple[object, ...]
) -> None:
    assert setting.range() == words
    assert all(setting.accepts(value) for value in accepted)
    assert not any(setting.accepts(value) for value in refused)
    assert all(setting.problem("x", value) for value in refused)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1024, "1,024"), (0.1, "0.1"), (2e-4, "2e-4"), (1e-8, "1e-8"), (60.0, "60"), (0.95, "0.95"), (0.0, "0")],
)
def test_numbers_are_written_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dtype", "x", "where: unknown dtype 'x'. Choose float32, bfloat16 or float16."),
        ("train.objective", "rl", "where: unknown objective 'rl'. Choose sft or dpo."),
        ("train.lora_r", "0", "where: lora_r must be 1 to 1,024, not 0. Choose 1 to 1,024."),
        ("draft.top_p", "2", "where: top_p must be 0 to 1, not 2.0. Choose 0 to 1."),
        ("n_train", "many", "where: 'many' is not a whole number. Example: 150."),
        ("keep_texts", "perhaps", "where: 'perhaps' is not true or false. Example: true."),
        ("train.learning_rate", "nan", "where: 'nan' is not a number. Example: 0.0004."),
        ("generator", "a\0b", "where: the value contains a NUL character. Remove it."),
        ("n_trian", "1", "where: unknown setting; the closest are n_train"),
        ("train", "1", "where: this is a group of settings. Name one of them: train.NAME."),
        ("__class__.x", "1", "where: unknown setting"),
        ("train.target_modules", ",", "where: target_modules is empty."),
    ],
)
def test_a_typed_value_that_does_not_fit_is_refused_in_its_own_words(name: str, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        with_value(RunConfig(), name, text, "where")
    assert str(caught.value).startswith(message)


def test_a_typed_value_changes_its_setting_only() -> None:
    config = with_value(RunConfig(), "train.adam_beta2", "0.95", "")
    assert config == dataclasses.replace(RunConfig(), train=dataclasses.replace(RunConfig().train, adam_beta2=0.95))
    assert with_value(RunConfig(), "critique.stop", "a, b", "").critique.stop == ("a", "b")
    assert with_value(RunConfig(), "train.rank", "4", "").train.lora_r == 4, "a name of 0.1"
    assert set(names(RunConfig())) >= {"seed", "draft.top_k", "train.lora_r"}


def test_the_settings_of_a_run_of_0_1_keep_their_meaning() -> None:
    written = json.loads((Path(__file__).parent / "runs/samples/config-0.1.json").read_text(encoding="utf-8"))
    config, train = from_json(written), from_json(written).train
    assert (config.teacher, config.n_samples, config.candidates, config.draft.top_k) == ("revision", 1, 4, 50)
    assert (train.num_train_epochs, train.lora_r, train.lora_alpha, train.target_modules) == (
        3,
        16,
        32,
        ("all-linear",),
    )
    assert (train.max_grad_norm, train.warmup_ratio, train.adam_beta2, train.save_steps) == (1, 0.1, 0.999, 10)
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    assert from_json(to_json(PRESETS[name][1])) == PRESETS[name][1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_train": 0}, "config.n_train: n_train must be at least 1, not 0. Fix it or start a new run."),
        ({"n_train": "5"}, "config.n_train: expected a whole number."),
        ({"n_train": True}, "config.n_train: expected a whole number."),
        ({"keep_texts": 1}, "config.keep_texts: expected true or false."),
        ({"draft": 5}, "config.draft: expected an object."),
        ({"draft": {"stop": "x"}}, "config.draft.stop: expected a list."),
        ({"draft": {"stop": [5]}}, "config.draft.stop: expected text."),
        ({"train": {"num_train_epochs": 0}}, "config.train.num_train_epochs: num_train_epochs must be at least 1"),
        ({"new": 1}, "config.new: unknown setting."),
        ({"judge": "No Such"}, "config.judge: unknown judge 'No Such'."),
        ({"dtype": "int3"}, "config.dtype: unknown dtype 'int3'."),
    ],
)
def test_a_file_with_settings_that_do_not_fit_names_the_field(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(values)
    assert str(caught.value).startswith(message)
