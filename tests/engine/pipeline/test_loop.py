"""The whole loop on the embedded model: every stage is in the journal, with the model's own texts."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from tiny_run import check_declared

from engine.control import Control
from engine.errors import InputError, Stopped
from engine.events.base import Record
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.prompts.load import load_builtin
from engine.runs.journal_reader import read
from engine.runs.state import RunState
from engine.settings import RunConfig

ONCE_AN_EXAMPLE = (
    "INITIAL-GENERATION",
    "INITIAL-EVALUATION",
    "CRITIQUE-GENERATION",
    "REVISION-GENERATION",
    "REVISION-EVALUATION",
    "TRAINING-PAIR-CREATED",
)


@pytest.fixture(scope="session")
def events(finished: Path) -> list[Record]:
    return list(read(finished))


def test_every_stage_of_every_example_is_in_the_journal(events: list[Record], small_config: RunConfig) -> None:
    count = Counter(event.stage for event in events)
    for stage in ONCE_AN_EXAMPLE:
        assert count[stage] == small_config.n_train
    for number in range(1, small_config.n_train + 1):
        assert count[f"TRAINING-EXAMPLE {number}/{small_config.n_train}"] == 1
    compared = small_config.n_heldout + small_config.n_benign
    for number in range(1, compared + 1):
        assert count[f"COMPARISON-TEST {number}/{compared}"] == 1
    assert count["SIDE-BY-SIDE-DIFF"] == compared
    assert count["EPOCH-1-BATCH-1"] >= 1
    assert count["EPOCH-2-COMPLETE"] == 1
    assert events[-1].stage == "RUN-COMPLETE"


def test_every_record_is_exactly_what_its_event_class_declares(events: list[Record]) -> None:
    for record in events:
        check_declared(record)


def test_summaries_hold_no_words_of_prompts_and_answers(events: list[Record]) -> None:
    for event in events:
        for text in event.texts.values():
            sentence = " ".join(text.split())
            assert len(sentence) < 25 or sentence[:25] not in event.summary


def test_texts_are_the_models_own_and_pairs_can_be_traced(events: list[Record], finished: Path) -> None:
    drafts = {e.item: e.texts["draft"] for e in events if e.stage == "INITIAL-GENERATION"}
    written = {(e.item, e.texts["revision"]) for e in events if e.stage == "REVISION-CANDIDATE"}
    pairs = [e for e in events if e.stage == "TRAINING-PAIR-CREATED"]
    assert any(pair.data["kept"] for pair in pairs)
    for pair in pairs:
        assert pair.texts["rejected"] == drafts[pair.item]
        if pair.data["taken"]:
            assert (pair.item, pair.texts["chosen"]) in written
        if pair.data["kept"]:
            assert pair.data["from"] > pair.data["to"]
            assert pair.data["improvement"] == pytest.approx(pair.data["from"] - pair.data["to"], abs=1e-5)
            assert pair.data["score_from"] >= pair.data["score_to"]
        else:
            assert pair.data["reason"]
    rows = [json.loads(line) for line in (finished / "pairs.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [pair.item for pair in pairs if pair.data["kept"]]


def test_training_tells_a_loss_for_every_step_and_shows_samples(events: list[Record]) -> None:
    steps = [e.data for e in events if e.stage.startswith("EPOCH-") and "loss" in e.data and "batch" in e.data]
    assert [step["step"] for step in steps] == list(range(1, steps[0]["steps"] + 1))
    assert all(step["loss"] > 0 for step in steps)
    assert any(e.texts.get("sample") for e in events if e.stage.startswith("EPOCH-"))


def test_the_report_holds_every_compared_prompt_with_both_answers(finished: Path, events: list[Record]) -> None:
    report = json.loads((finished / "report.json").read_text())
    heldout = [prompt.id for prompt in load_builtin("heldout").first(3)]
    assert [row["id"] for row in report["prompts"] if row["set"] == "heldout"] == heldout
    said = {(e.item, e.data["arm"]): e.texts["answer"] for e in events if e.stage == "COMPARISON-ANSWER"}
    for row in report["prompts"]:
        assert row["base"] == said[row["id"], "base"]
        assert row["trained"] == said[row["id"], "trained"]
        assert row["base_score"] in (0.0, 2.0)
    assert report["summary"]["score"]["n"] == 3
    assert report["summary"]["outcome"] in ("confirmed", "not confirmed", "worse")


def test_training_changed_the_answers(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    assert any(row["base"] != row["trained"] for row in report["prompts"])


def test_a_finished_run_is_not_performed_again(finished: Path, small_config: RunConfig, models: ModelCache) -> None:
    before = (finished / "journal.jsonl").read_bytes()
    perform(small_config, finished, Control(), models)
    assert (finished / "journal.jsonl").read_bytes() == before


def test_the_same_seed_gives_the_same_pairs_after_a_stop_in_the_middle_of_a_stage(
    finished: Path, small_config: RunConfig, models: ModelCache, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    stops = 0
    for moment in (12, 60, 150):
        control = StopAfter(moment)
        try:
            perform(small_config, folder, control, models)
        except Stopped:
            stops += 1
    perform(small_config, folder, Control(), models)
    assert stops == 3
    assert (folder / "pairs.jsonl").read_bytes() == (finished / "pairs.jsonl").read_bytes()
    state = RunState()
    for event in read(folder):
        state.apply(event)
    assert state.finished.complete
    drafts = [event.item for event in read(folder) if event.stage == "INITIAL-GENERATION"]
    assert len(drafts) == len(set(drafts))


def test_texts_can_be_kept_out_of_the_journal(small_config: RunConfig, models: ModelCache, tmp_path: Path) -> None:
    config = dataclasses.replace(small_config, keep_texts=False, n_train=1, n_heldout=1, n_benign=0, candidates=1)
    folder = perform(config, tmp_path / "private", Control(), models)
    prompt = load_builtin("train").prompts[0].text
    journal = (folder / "journal.jsonl").read_text()
    assert prompt not in journal
    assert not (folder / "pairs.jsonl").exists()
    assert json.loads((folder / "report.json").read_text())["prompts"] == []
    assert all(not any(event.texts.values()) and not event.raw for event in read(folder))


def test_a_prompt_that_is_trained_and_held_out_is_refused_before_anything_is_written(
    small_config: RunConfig, models: ModelCache, tmp_path: Path
) -> None:
    path = tmp_path / "both.txt"
    path.write_text(load_builtin("heldout").prompts[1].text.upper() + "\n")
    config = dataclasses.replace(small_config, train_prompts=str(path))
    with pytest.raises(InputError, match="held-out prompts too"):
        perform(config, tmp_path / "run", Control(), models)
    assert not (tmp_path / "run").exists()


class StopAfter(Control):
    """Asks for a stop at the n-th check, wherever the loop is then."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self._left = checks

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.stop()
        super().check()
