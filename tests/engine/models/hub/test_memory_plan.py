"""What each stage needs is known before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.errors import ModelError
from engine.models.hub import catalog, memory_estimate
from engine.models.hub.memory_plan import FITS, TIGHT, TOO_LARGE, plan, proposed_profile
from engine.settings import RunConfig, from_json, with_profile
from tui.cli import app
from tui.commands.settings_flags import build_config


def test_every_stage_is_planned_for_each_dtype_with_what_to_change() -> None:
    rows = plan("gpt2-xl", "qwen2-1.5b-instruct", free=16_000_000_000)
    assert {row.dtype for row in rows} == {"float32", "bfloat16"}
    assert [row.stage for row in rows[:2]] == ["load", "load"]
    assert {"draft", "judge", "train (LoRA, DPO)", "compare"} <= {row.stage for row in rows}
    assert {row.verdict for row in rows} == {FITS, TIGHT, TOO_LARGE}
    assert all(row.change for row in rows if row.verdict == TOO_LARGE)
    assert all(not row.change for row in rows if row.verdict == FITS)


def test_8_bit_weights_are_planned_and_proposed_where_only_they_fit() -> None:
    rows = plan("qwen2-1.5b-instruct", dtypes=("float32",), quantizations=("", "int8"), free=8_000_000_000)
    by_kind = {kind: [row for row in rows if row.quantization == kind] for kind in ("", "int8")}
    assert [row.stage for row in by_kind[""]] == [row.stage for row in by_kind["int8"]]
    assert all(small.need < large.need for large, small in zip(by_kind[""], by_kind["int8"], strict=True))
    assert {row.change for row in by_kind[""] if row.verdict == TOO_LARGE} >= {"--load-in-8bit"}


def test_one_model_in_both_roles_is_counted_once() -> None:
    alone = {row.stage: row.need for row in plan("qwen2-1.5b-instruct", dtypes=("float32",), free=1)}
    both = plan("qwen2-1.5b-instruct", "qwen2-1.5b-instruct", dtypes=("float32",), free=1)
    assert {row.stage: row.need for row in both} == alone
    config = catalog.find("qwen2-1.5b-instruct")
    assert config is not None
    assert alone["load"] == memory_estimate.load(config.config, "float32").total


def test_a_folder_is_planned_by_its_header(tiny: Callable[..., Path]) -> None:
    assert plan(str(tiny("llama")), free=10**9)[0].verdict == FITS
    with pytest.raises(ModelError, match="not known before it is fetched"):
        plan("someone/unknown-model")


@pytest.mark.parametrize(("free", "profile"), [(64_000_000_000, "single"), (4_000_000_000, "embedded")])
def test_the_profile_that_fits_is_proposed_with_its_reason(free: int, profile: str) -> None:
    name, reason = proposed_profile(free)
    assert name == profile
    assert f"{profile} fits" in reason
    assert f"{free / 1e9:.0f} GB" in reason


def test_a_profile_fills_the_roles_and_options_override_it() -> None:
    config = build_config("demo", {"profile": "dual"})
    assert (config.profile, config.generator, config.critic) == ("dual", "phi-2", "qwen2-1.5b-instruct")
    changed = build_config("demo", {"profile": "dual", "generator": "gpt2"})
    assert (changed.generator, changed.critic) == ("gpt2", "qwen2-1.5b-instruct")
    single = with_profile(RunConfig(), "single")
    assert (single.generator, single.critic) == ("qwen2-1.5b-instruct", "")
    assert from_json({"profile": "conservative-dual", "teacher": "samples"}).generator == "gpt2-xl"


def test_the_plan_is_printed_and_written_as_json() -> None:
    shown = CliRunner().invoke(app, ["models", "--plan", "--profile", "conservative-dual"])
    assert "gpt2-xl" in shown.stdout
    assert "Of the profiles" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["models", "--plan", "--json"]).stdout)
    assert {"stage", "need", "verdict", "change"} <= set(found["stages"][0])
