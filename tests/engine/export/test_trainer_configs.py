"""The configs for TRL and axolotl hold the run's settings and pairs; TRL trains a step with its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from export_samples import write_run

from engine.errors import InputError
from engine.export.trainer_configs import axolotl_values, trl_values, write_axolotl, write_trl
from engine.settings import RunConfig
from engine.training.config import TrainConfig


def test_trl_trains_a_step_with_the_config(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dpo = pytest.importorskip("trl.scripts.dpo")
    model = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    values = json.loads((model / "config.json").read_text())
    del values["architectures"]  # as in the converted embedded model
    (model / "config.json").write_text(json.dumps(values))
    config, data = write_trl(write_run(tmp_path / "small", str(model)), tmp_path / "trl")
    assert json.loads(data.read_text().splitlines()[0])["chosen"] == [{"role": "assistant", "content": "Ask."}]
    monkeypatch.chdir(config.parent)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    arguments = ["--config", config.name, "--max_steps", "1", "--report_to", "none", "--use_cpu", "true"]
    parsed = dpo.make_parser().parse_args_and_config(arguments, fail_with_unknown_args=True)
    assert parsed[1].beta == 0.1
    assert parsed[1].loss_weights == [1.0, 0.05]
    assert parsed[2].lora_r == 4
    dpo.main(*parsed)
    assert (config.parent / "trained" / "adapter_model.safetensors").exists()


def test_every_setting_of_trl_is_one_that_its_config_knows() -> None:
    trl = pytest.importorskip("trl")
    common = trl.ScriptArguments, trl.ModelConfig
    for train, own in ((TrainConfig.sft(), trl.SFTConfig), (TrainConfig.dpo(rpo_alpha=0.1), trl.DPOConfig)):
        known = {field.name for cls in (*common, own) for field in dataclasses.fields(cls)}
        assert set(trl_values(RunConfig(train=train), "model")) <= known


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_axolotls_config_holds_the_settings_and_names_the_columns_of_the_pairs(tmp_path: Path, objective: str) -> None:
    run = write_run(tmp_path / "small")
    record = json.loads((run / "run.json").read_text())
    record["config"]["train"]["objective"] = objective
    record["config"]["system"] = "Be brief."
    (run / "run.json").write_text(json.dumps(record))
    config, data = write_axolotl(run, tmp_path / "axolotl")
    values: dict[str, Any] = yaml.safe_load(config.read_text())
    row = json.loads(data.read_text().splitlines()[0])
    assert row["messages"][0] == {"role": "system", "content": "Be brief."}
    named = {values["datasets"][0][key] for key in values["datasets"][0] if key.startswith("field_")}
    assert named <= set(row)
    assert values["datasets"][0]["path"] == "./data/train.jsonl"
    assert values.get("rl") == ("dpo" if objective == "dpo" else None)
    assert values["lora_target_linear"]


def test_named_modules_are_handed_on() -> None:
    config = RunConfig(train=TrainConfig.dpo(target_modules=("q_proj", "v_proj")))
    assert axolotl_values(config, "model")["lora_target_modules"] == ["q_proj", "v_proj"]
    assert trl_values(config, "model")["lora_target_modules"] == ["q_proj", "v_proj"]


def test_a_gguf_generator_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    run = write_run(tmp_path / "small", str(tmp_path / "model.gguf"))
    with pytest.raises(InputError, match="redraft merge"):
        write_trl(run, tmp_path / "out")
