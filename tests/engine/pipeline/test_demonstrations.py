"""A run that learns the written answers of its training prompts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import check_declared, last, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import InputsChanged, Stopped
from engine.judges.base import Verdict
from engine.pipeline.pairs import Candidate, make_demonstration_pair
from engine.pipeline.prepare import load_prompts, with_teacher
from engine.pipeline.runner import perform
from engine.prompts.load import load_builtin
from engine.runs.folder import read_run
from engine.runs.journal_reader import read
from engine.settings import SAMPLED, RunConfig, preset
from engine.stats.refusals import declines

WRITTEN = {"one": "rst", "two": "ooo aaa", "three": ""}
"""The constitution of the tests forbids vowels: the first answer keeps it, the second breaks it."""


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"What is {name}?", "demonstration": answer} for name, answer in WRITTEN.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(
        tiny_files(tmp_path, tiny), train_prompts=str(path), teacher="demonstrations", n_samples=2, n_revised=1
    )


def test_a_demonstration_is_judged_and_chosen_and_only_other_prompts_get_samples(
    config: RunConfig, tmp_path: Path
) -> None:
    folder = perform(config, tmp_path / "run", Control())
    records = list(read(folder))
    written = [record for record in records if record.stage == "DEMONSTRATION"]
    assert [record.texts["demonstration"] for record in written] == ["rst", "ooo aaa"]
    for record in written:
        check_declared(record)
    third = "prompts-003"
    assert {record.item for record in records if record.stage == "DRAFT-SAMPLE"} == {third}
    number = config.n_samples + config.candidates
    verdicts = [r for r in records if r.stage == "CANDIDATE-EVALUATION" and r.data["candidate"] == number]
    assert {record.item for record in verdicts} == {record.item for record in written}
    pairs = {record.item: record for record in records if record.stage == "TRAINING-PAIR-CREATED"}
    first, second = (pairs[record.item] for record in written)
    assert (first.texts["chosen"], first.data["kept"], first.data["taken"]) == ("rst", True, number)
    assert second.data["kept"]
    assert "The judge finds 1 of 2 demonstrations better than the model's answer." in [
        record.summary for record in records if record.stage == "NOTICE"
    ]
    notice = "1 training prompt without a demonstration: their best sample is learned."
    assert notice in read_run(folder)["notices"]


def test_a_run_that_was_stopped_behind_a_demonstration_writes_it_once(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b'"DEMONSTRATION"'))
    perform(config, folder, Control())
    assert stages(folder).count("DEMONSTRATION") == 2
    assert last(folder, "RUN-COMPLETE")


def test_a_demonstration_that_changed_is_an_input_that_changed(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b'"DEMONSTRATION"'))
    path = Path(config.train_prompts)
    path.write_text(path.read_text().replace('"rst"', '"xyz"'))
    with pytest.raises(InputsChanged, match="the demonstrations"):
        perform(config, folder, Control())


def test_without_a_demonstration_samples_teach_and_settings_of_the_users_own_stay(
    config: RunConfig, tmp_path: Path
) -> None:
    path = tmp_path / "plain.txt"
    path.write_text("What is one?\nWhat is two?\n")
    train = dataclasses.replace(preset("demo").train, lora_r=4)
    mine = replace(config, train_prompts=str(path), train=train)
    made, notices = with_teacher(mine, load_prompts(mine))
    assert notices == ["No training prompt has a demonstration, so pairs of samples are learned (--teacher samples)."]
    assert made.teacher == "samples"
    assert made.train == dataclasses.replace(SAMPLED, lora_r=4)


def test_demonstrations_of_a_file_that_are_not_learned_are_told(config: RunConfig, tmp_path: Path) -> None:
    folder = perform(replace(config, teacher="samples"), tmp_path / "run", Control())
    assert "2 demonstrations not used (--teacher demonstrations learns them)." in read_run(folder)["notices"]
    assert "DEMONSTRATION" not in stages(folder)


def test_the_demonstration_meets_the_worst_of_the_models_own_answers() -> None:
    def judged(index: int, probability: float) -> Candidate:
        text = f"There are several ways to look at this question, number {index}."
        return Candidate(index, text, Verdict("x", False, principles={"fairness": probability}, score=0.0))

    own = [judged(0, 0.3), judged(1, 0.6)]
    pair = make_demonstration_pair("p", "Why?", "fairness", own, judged(4, 0.1), {"fairness": 1.0})
    assert (pair.taken, pair.against, pair.kept) == (4, 1, True)
    same = Candidate(4, own[1].text.upper(), own[1].verdict)
    assert not make_demonstration_pair("p", "Why?", "fairness", own, same, {"fairness": 1.0}).kept


def test_every_built_in_training_prompt_has_a_demonstration_that_says_something() -> None:
    written = [prompt.demonstration for prompt in load_builtin("train")]
    assert all(30 <= len(text.split()) <= 61 for text in written)
    openings = [" ".join(text.split()[:2]) for text in written]
    assert max(map(openings.count, openings)) <= 6
    assert sum(declines(text) is not None for text in written) <= len(written) / 5
