"""Going on with a run whose constitution, prompts, model or packages are not what it began with."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import constitution, last, stages, stopping_at, tiny_config, tiny_files

from engine.constitution.load import load_default
from engine.control import Control
from engine.errors import InputError, ModelError, Stopped, StorageError
from engine.pipeline import input_changes, prepare, runner
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.folder import RUN, new_folder, update_run
from engine.runs.journal_reader import JOURNAL, read
from engine.settings import RunConfig


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    return tiny_files(tmp_path, tiny)


@pytest.fixture
def interrupted(config: RunConfig, tmp_path: Path) -> Path:
    """The folder of a run that was stopped after its critiques."""
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"REVISION-CANDIDATE"))
    return folder


def test_the_weights_that_answered_are_kept_and_an_unchanged_run_goes_on(interrupted: Path, config: RunConfig) -> None:
    kept = json.loads((interrupted / RUN).read_text())["models"]
    assert len(kept[config.generator]) == 64
    perform(config, interrupted, Control())
    assert last(interrupted, "RUN-RESUMED").data["changed"] == []
    assert stages(interrupted)[-1] == "RUN-COMPLETE"


def test_a_changed_constitution_is_named_and_the_person_decides(interrupted: Path, config: RunConfig) -> None:
    # Not only another rule: the principle that the critiques are about is gone.
    Path(config.constitution).write_text(constitution("[aeiouy]", principle="other"))
    before = (interrupted / JOURNAL).read_bytes()
    with pytest.raises(InputError, match=r"the constitution \(.*plain.toml\).*--force"):
        perform(config, interrupted, Control())
    assert (interrupted / JOURNAL).read_bytes() == before
    perform(config, interrupted, Control(), force=True)
    resumed = last(interrupted, "RUN-RESUMED")
    assert resumed.data["changed"] == ["constitution"]
    assert "the constitution" in resumed.summary
    assert stages(interrupted)[-1] == "RUN-COMPLETE"


def test_changed_prompts_are_named_and_gone_ones_do_no_harm(interrupted: Path, config: RunConfig) -> None:
    Path(config.train_prompts).write_text("What is four?\nWhat is two?\n")
    with pytest.raises(InputError, match="the training prompts"):
        perform(config, interrupted, Control())
    perform(config, interrupted, Control(), force=True)
    assert stages(interrupted)[-1] == "RUN-COMPLETE"


def test_another_package_version_is_named_but_not_of_what_only_draws(interrupted: Path, config: RunConfig) -> None:
    versions = json.loads((interrupted / RUN).read_text())["versions"]
    update_run(interrupted, {"versions": {**versions, "torch": "1.0.0", "textual": "0.1"}})
    with pytest.raises(InputError, match=r"changed: torch 1\.0\.0 → [^;]*\. Restore"):
        perform(config, interrupted, Control())
    perform(config, interrupted, Control(), force=True)
    assert last(interrupted, "RUN-RESUMED").data["changed"] == ["torch"]


def test_other_weights_under_the_same_name_are_named(interrupted: Path, config: RunConfig) -> None:
    update_run(interrupted, {"models": {config.generator: "0" * 64}})
    with pytest.raises(InputError, match=r"the model .*sha256 000000000000 → "):
        perform(config, interrupted, Control())
    perform(config, interrupted, Control(), force=True)
    assert any("Changed since the run began: the model" in e.summary for e in read(interrupted))
    assert stages(interrupted)[-1] == "RUN-COMPLETE"


def test_two_processes_that_begin_at_the_same_moment_get_two_folders(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(new_folder(tmp_path / "runs", "demo"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8


def test_the_second_process_on_the_same_run_is_refused_and_harms_nothing(interrupted: Path, config: RunConfig) -> None:
    ready, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # holds the run's lock until it is told
        from engine.runs.journal_writer import JournalWriter

        with JournalWriter(interrupted):
            os.write(ready[1], b"x")
            os.read(go_on[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    before = (interrupted / JOURNAL).read_bytes()
    with pytest.raises(StorageError, match=f"process {child}"):
        perform(config, interrupted, Control())
    assert (interrupted / JOURNAL).read_bytes() == before
    os.write(go_on[1], b"x")
    os.waitpid(child, 0)
    perform(config, interrupted, Control())
    drafts = [event.item for event in read(interrupted) if event.stage == "INITIAL-GENERATION"]
    assert sorted(drafts) == sorted(set(drafts))


class Scarce:
    """Has memory for so many texts at a time, and says of each call how many were asked for."""

    def __init__(self, model: object, most: int, error: Callable[[], Exception]) -> None:
        self._model, self._most, self._error = model, most, error
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def generate(self, requests: list[object], control: Control) -> object:
        self.asked.append(len(requests))
        if len(requests) > self._most:
            raise self._error()
        yield from self._model.generate(requests, control)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
)
def test_where_memory_runs_out_fewer_texts_are_written_at_a_time(
    config: RunConfig, tmp_path: Path, error: Callable[[], Exception]
) -> None:
    models = ModelCache()
    scarce = Scarce(models.get(config.generator, dtype="float32"), 1, error)
    models = ModelCache.from_loaded({(config.generator, "", "float32"): scarce})  # type: ignore[dict-item]
    perform(config, tmp_path / "run", Control(), models)
    assert scarce.asked[:2] == [3, 1]
    assert stages(tmp_path / "run")[-1] == "RUN-COMPLETE"
    assert any("continuing with 1 texts" in event.summary for event in read(tmp_path / "run"))
    drafts = {e.item: e.texts["draft"] for e in read(tmp_path / "run") if e.stage == "INITIAL-GENERATION"}
    perform(config, tmp_path / "other", Control())
    assert drafts == {e.item: e.texts["draft"] for e in read(tmp_path / "other") if e.stage == "INITIAL-GENERATION"}


class Tiring(Scarce):
    """Runs out of memory at its last text, all others being written, unless that comes alone."""

    def generate(self, requests: list[object], control: Control) -> object:
        self.asked.append(len(requests))
        for number, completion in enumerate(self._model.generate(requests, control), 1):  # type: ignore[attr-defined]
            if number == len(requests) > 1:
                raise self._error()
            yield completion


def test_a_text_that_is_left_over_when_memory_runs_out_is_tried_alone(config: RunConfig, tmp_path: Path) -> None:
    tiring = Tiring(ModelCache().get(config.generator, dtype="float32"), 1, MemoryError)
    models = ModelCache.from_loaded({(config.generator, "", "float32"): tiring})  # type: ignore[dict-item]
    perform(config, tmp_path / "run", Control(), models)
    assert tiring.asked[:2] == [3, 1]
    assert stages(tmp_path / "run")[-1] == "RUN-COMPLETE"


def test_where_memory_does_not_suffice_for_one_text_the_stage_fails_with_numbers_and_can_be_resumed(
    config: RunConfig, tmp_path: Path
) -> None:
    real = ModelCache().get(config.generator, dtype="float32")
    scarce = ModelCache.from_loaded({(config.generator, "", "float32"): Scarce(real, 0, MemoryError)})  # type: ignore[dict-item]
    with pytest.raises(ModelError, match=r"memory for draft.*MB are free.*can be resumed"):
        perform(config, tmp_path / "run", Control(), scarce)
    assert stages(tmp_path / "run")[-1] == "ERROR"
    perform(config, tmp_path / "run", Control(), ModelCache.from_loaded({(config.generator, "", "float32"): real}))
    assert stages(tmp_path / "run")[-1] == "RUN-COMPLETE"


def test_changes_are_sorted_and_a_missing_package_is_said() -> None:
    before = {"hashes": {"constitution": "a"}, "versions": {"torch": "1", "numpy": "2"}}
    now = {"hashes": {"constitution": "b"}, "versions": {"torch": "1"}}
    found = input_changes.changes(before, now, RunConfig())
    assert [change.sentence for change in found] == ["the constitution (built-in)", "numpy 2 → absent"]


def test_a_run_of_the_former_default_file_has_no_changed_constitution() -> None:
    """Version 0.1's default.toml differs in comments and key names only."""
    now = {"hashes": {"constitution": load_default().sha256}}
    former = {"hashes": {"constitution": "67efc8dde5e75c6e34f777de7546183451c6a211374033c5c64188febefd2a1d"}}
    other = {"hashes": {"constitution": "0" * 64}}
    assert input_changes.changes(former, now, RunConfig()) == []
    assert [change.name for change in input_changes.changes(other, now, RunConfig())] == ["constitution"]


def test_paths_are_written_out_so_that_a_run_resumes_from_any_folder(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redraft_home: Path
) -> None:
    shutil.copytree(tiny("llama"), tmp_path / "model")
    (tmp_path / "train.txt").write_text("Why?\nHow?\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = RunConfig(
        generator="./model", train_prompts="train.txt", heldout_prompts="hf:./held:test", pairs="~/p.csv"
    )
    written = prepare.with_absolute_paths(config)
    assert written.generator == str(tmp_path / "model")
    assert written.train_prompts == str(tmp_path / "train.txt")
    assert written.heldout_prompts == f"hf:{tmp_path / 'held'}:test"
    assert written.pairs == str(tmp_path / "p.csv")
    assert prepare.with_absolute_paths(written) == written


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "someone/model@main", "no-such-model"])
def test_names_that_are_no_paths_stay_as_typed(name: str) -> None:
    config = RunConfig(generator=name, train_prompts="hf:someone/questions:train[:10]")
    assert prepare.with_absolute_paths(config) == config


def test_a_run_keeps_the_absolute_path_of_its_model(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redraft_home: Path
) -> None:
    shutil.copytree(tiny("llama"), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    config = tiny_config(tiny, generator="model")
    made = runner.Run(config, tmp_path / "run", Control(), ModelCache())
    assert made._config.generator == str(tmp_path / "model")
