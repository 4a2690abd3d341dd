"""The teacher "samples": pairs of the best and the worst of several drafts, on the embedded model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.control import Control
from engine.events.base import Record
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import Run
from engine.runs.journal_reader import JournalReader
from engine.settings import RunConfig
from engine.training.config import TrainConfig

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, small_config: RunConfig, models: ModelCache) -> list[Record]:
    folder = tmp_path_factory.mktemp("samples") / "run"
    config = replace(
        small_config,
        judge="panel",
        constitution="",
        teacher="samples",
        n_train=4,
        n_samples=3,
        n_revised=1,
        candidates=1,
        n_heldout=2,
        n_benign=0,
        answers_per_prompt=2,
        train=TrainConfig.dpo(num_train_epochs=1, train_batch_size=2, sample_steps=0),
    )
    Run(config, folder, Control(), models).perform()
    return list(JournalReader(folder).so_far())


def of(records: list[Record], stage: str) -> list[Record]:
    return [record for record in records if record.stage.startswith(stage)]


def test_every_prompt_has_its_samples_and_the_worst_draft_is_revised(records: list[Record]) -> None:
    samples = {(record.item, record.data["candidate"]) for record in of(records, "DRAFT-SAMPLE")}
    drafted = {record.item for record in of(records, "INITIAL-GENERATION")}
    assert samples == {(item, number) for item in drafted for number in (1, 2)}
    assert len(of(records, "CRITIQUE-GENERATION")) == 1
    assert [record.data["candidate"] for record in of(records, "REVISION-CANDIDATE")] == [3]


def test_a_pair_is_two_texts_of_its_prompt_and_the_chosen_one_scores_lower(records: list[Record]) -> None:
    texts: dict[str, set[str]] = {}
    for stage, name in (
        ("INITIAL-GENERATION", "draft"),
        ("DRAFT-SAMPLE", "sample"),
        ("REVISION-CANDIDATE", "revision"),
    ):
        for record in of(records, stage):
            texts.setdefault(record.item, set()).add(record.texts[name])
    pairs = of(records, "TRAINING-PAIR-CREATED")
    assert len(pairs) == 4
    for pair in pairs:
        assert {pair.texts["chosen"], pair.texts["rejected"]} <= texts[pair.item]
        if pair.data["kept"]:
            assert pair.data["to"] < pair.data["from"]


def test_all_answers_are_judged_and_prompts_are_the_unit_of_the_statistics(records: list[Record]) -> None:
    if not any(pair.data["kept"] for pair in of(records, "TRAINING-PAIR-CREATED")):
        pytest.fail("no pair was kept: choose another seed")
    answers = {(r.item, r.data["arm"], r.data["sample"]) for r in of(records, "COMPARISON-ANSWER")}
    assert len(answers) == 8
    assert {(r.item, r.data["arm"], r.data["sample"]) for r in of(records, "COMPARISON-EVALUATION")} == answers
    (result,) = of(records, "COMPARISON-SUMMARY")
    assert result.data["result"]["score"]["n"] <= 2
    assert result.data["result"]["unusable"]["answers"] == 4
