"""One small run of the whole loop on the embedded model, performed once for all tests that read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.control import Control
from engine.models.inference.requests import Sampling
from engine.settings import BEFORE, RunConfig
from engine.training.config import TrainConfig

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.pipeline.model_cache import ModelCache

# Words that small models use often and not always, so that some drafts break the principle and some revisions do not.
CONSTITUTION = """
name = "Plain words"

[[principles]]
id = "plain"
title = "Plain words"
short = "plain"
description = "Answers do without filler words."
weight = 2.0
critiques = ["Say which words of the answer are filler."]
revisions = ["Write the answer in one short sentence."]

[[principles.rules]]
id = "plain.filler"
category = "filler"
pattern = '\\b(?:important|help|can|your|should|also|will)\\b'
match = ["It can help."]
must_not_match = ["No."]
"""


@pytest.fixture(scope="session", autouse=True)
def few_neutral_texts() -> Iterator[None]:
    """A run of the embedded model measures its side effects on 8 of the 100 neutral texts: 1.5 instead of 20 s."""
    from engine.prompts.neutral import load_neutral

    first = load_neutral()[:8]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.pipeline.side_effects.load_neutral", lambda: first)
        yield


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Settings of a run that takes well under a minute."""
    path = tmp_path_factory.mktemp("constitution") / "plain.toml"
    path.write_text(CONSTITUTION)
    return RunConfig(
        **BEFORE,
        preset="small",
        judge="rules+model",
        constitution=str(path),
        n_train=6,
        n_heldout=3,
        n_benign=1,
        candidates=4,
        draft=Sampling(max_tokens=40, temperature=0.8, top_k=50),
        critique=Sampling(max_tokens=24, temperature=0.7, top_k=50),
        revision=Sampling(max_tokens=24, temperature=0.9, top_k=50),
        answer=Sampling(max_tokens=24),
        train=TrainConfig.sft(num_train_epochs=2, train_batch_size=2, sample_steps=2),
        seed=7,
        dtype="float32",
    )


@pytest.fixture(scope="session")
def models(embedded: LocalModel) -> ModelCache:
    """The embedded model, loaded once, under the name that the settings use."""
    from engine.pipeline.model_cache import ModelCache

    return ModelCache.from_loaded({("smollm2-135m-instruct", "", "float32"): embedded})


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, small_config: RunConfig, models: ModelCache) -> Iterator[Path]:
    """The folder of a run that reached its end."""
    from engine.pipeline.runner import perform

    home = tmp_path_factory.mktemp("home")
    before = os.environ.get("REDRAFT_HOME")
    os.environ["REDRAFT_HOME"] = str(home)
    try:
        yield perform(small_config, home / "runs" / "small", Control(), models)
    finally:
        os.environ.pop("REDRAFT_HOME")
        if before is not None:
            os.environ["REDRAFT_HOME"] = before
