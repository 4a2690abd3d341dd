"""Every option without an effect beside the others is named once, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call

from engine.pipeline.unused_settings import unused_settings
from engine.settings import PRESETS, preset
from tui.commands.settings_flags import build_config

SERVER = {"endpoint": "http://127.0.0.1:9/v1", "endpoint_model": "m"}
PAIRS = "the preference pairs are given (--pairs)"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"endpoint_price": (0.1, 0.2)}, ["--endpoint-price has no effect: no server is asked."]),
        (
            {"endpoint_timeout": 9.0, "endpoint_concurrency": 2},
            ["--endpoint-timeout, --endpoint-concurrency have no effect: no server is asked."],
        ),
        ({**SERVER, "judge": "endpoint", "endpoint_price": (0.1, 0.2), "endpoint_timeout": 9.0}, []),
        ({**SERVER, "endpoint_texts": "critique", "endpoint_price": (0.1, 0.2)}, []),
        ({"pairs": "p.jsonl", "n_samples": 3}, [f"--n-samples has no effect: {PAIRS}."]),
        (
            {"pairs": "p.jsonl", "train_prompts": "t", "teacher": "samples"},
            [f"--train-prompts, --teacher have no effect: {PAIRS}."],
        ),
        ({"pairs": "p.jsonl", "max_tokens": 40}, []),  # of answers, too
        (
            {"pairs": "p.jsonl", "top_p": 0.5, "sample_steps": 0},
            [f"draft.top_p, revision.top_p have no effect: {PAIRS}."],
        ),
        ({"n_revised": 0, "candidates": 3}, ["--candidates has no effect: no draft is revised (--n-revised 0)."]),
        ({"n_revised": 0, "critic": "m"}, ["--critic has no effect: neither judge nor revisions ask it."]),
        ({"n_revised": 0, "critic": "m", "judge": "model"}, []),
        ({"critic": "m"}, []),
        ({"beta": 0.3}, ["--beta has no effect: it is DPO's, and SFT is trained."]),
        ({"beta": 0.3, "objective": "dpo"}, []),
        (
            {"n_benign": 0, "benign_prompts": "b"},
            ["--benign-prompts has no effect: no benign prompts are asked (--n-benign 0)."],
        ),
        ({"column_map": ("prompt=q",)}, ["--map has no effect: no file of prompts is read."]),
        ({"column_map": ("prompt=q",), "heldout_prompts": "h"}, []),
        ({"deduplicate": True}, ["--no-deduplicate has no effect: no file of prompts is read."]),
        (
            {"load_in_4bit": True, "load_in_8bit": True},
            ["--load-in-8bit has no effect: 4 bits are used (--load-in-4bit)."],
        ),
        (
            {"temperature": 0.0, "top_k": 9},
            [
                "draft.top_k has no effect: draft.temperature is 0.",
                "revision.top_k has no effect: revision.temperature is 0.",
            ],
        ),
        ({"seed": 4, "lora_r": 8, "n_train": 3, "system": "Be brief."}, []),
    ],
)
def test_options_without_an_effect_are_named_and_no_others(flags: dict[str, object], expected: list[str]) -> None:
    assert unused_settings(build_config("standard", flags)) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_an_effect(name: str) -> None:
    assert unused_settings(preset(name)) == []
    assert unused_settings(build_config(name, {"profile": "dual"})) == []


@pytest.mark.usefixtures("redraft_home")
def test_eval_names_them_before_the_verdict(tmp_path: Path) -> None:
    done = call("eval", "You must obey.", "--judge", "rules", "--endpoint-timeout", 5, "-g", "any", "--json")
    assert json.loads(done.stdout)["flagged"] is not None
    assert "--endpoint-timeout has no effect: no server is asked." in done.stderr
    assert "--generator has no effect: the judge rules asks no model of your choice." in done.stderr
