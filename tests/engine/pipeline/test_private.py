"""What a run leaves on the disk: for its owner only, without texts where none are wanted, and never with a secret."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_run import break_stage, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import RedraftError, Stopped
from engine.events.base import Record
from engine.pipeline.compare import answer_with_base
from engine.pipeline.draft import draft
from engine.pipeline.evaluation_journal import Session
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.export import FORMATS, export, row
from engine.runs.folder import new_folder
from engine.runs.journal_reader import read
from engine.runs.journal_writer import JournalWriter
from engine.settings import RunConfig
from engine.training.config import TrainConfig

MARK = "XYZZY"


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    made = tiny_files(tmp_path, tiny)
    Path(made.train_prompts).write_text(f"What is one {MARK}?\nWhat is two {MARK}?\nWhat is three {MARK}?\n")
    (tmp_path / "heldout.txt").write_text(f"What is seven {MARK}?\n")
    return dataclasses.replace(
        made,
        heldout_prompts=str(tmp_path / "heldout.txt"),
        candidates=8,
        train=TrainConfig.sft(num_train_epochs=2, train_batch_size=1, save_steps=1, sample_steps=1),
    )


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Files and folders that anybody but their owner may read, write or enter."""
    places = [folder, *folder.rglob("*")]
    return [str(p) for p in places if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o077]


@pytest.mark.usefixtures("open_umask")
def test_everything_that_is_written_can_be_read_by_its_owner_only_whatever_the_umask(
    config: RunConfig, redraft_home: Path
) -> None:
    runs = redraft_home / "data" / "runs"
    folder = new_folder(runs, config.preset)
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"EPOCH-2-BATCH-1"))
    assert list((folder / "checkpoints").glob("step-*"))
    with open(folder / "journal.jsonl", "ab") as file:
        file.write(b"torn")
    assert open_to_others(redraft_home / "data") == []
    perform(config, folder, Control())
    for file_format in FORMATS:
        export(folder, file_format, folder / "exports" / f"all.{file_format}")
    session = Session(runs, config, ModelCache())
    session.evaluate("A text.", "", "text-1")
    session.close()
    assert list(folder.glob("journal.torn-*"))
    assert (folder / "adapter").is_dir()
    assert open_to_others(redraft_home / "data") == []


@pytest.mark.usefixtures("open_umask")
def test_what_the_command_line_writes_by_itself_is_for_its_owner_only(
    redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.commands.failure import known_error
    from tui.services import preferences

    known_error(ZeroDivisionError("x"))
    preferences.save(redraft_home / "data" / "app.json", theme="redraft-light")
    assert {p.name for p in (redraft_home / "data").iterdir()} == {"errors", "app.json"}
    assert open_to_others(redraft_home / "data") == []


def words_of(folder: Path) -> set[str]:
    """The texts of a run as its journal holds them, the short ones left out."""
    found = {text for event in read(folder) for text in (*event.texts.values(), *event.raw.values())}
    lines = {line.strip() for text in found for line in text.splitlines()}
    # What the rules say of a text is no text of the run, and prompts of the constitution are no secret.
    return {line for line in lines if len(line) >= 12 and not line.startswith(("Rules", "No rule", "{", "["))}


def test_without_texts_no_text_is_left_anywhere_in_the_folder_at_any_moment(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = perform(config, tmp_path / "told", Control())
    known = {text for text in words_of(told) if MARK in text or not text.isascii()}
    drafts = {e.texts["draft"] for e in read(told) if e.stage == "INITIAL-GENERATION"}
    answers = {e.texts["answer"] for e in read(told) if e.stage == "COMPARISON-ANSWER"}
    known |= {text for text in drafts | answers if len(text) >= 6}
    assert len(known) >= 6
    silent = dataclasses.replace(config, keep_texts=False)

    def check(folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert MARK.encode() not in data, path
                for text in known:
                    assert text.encode() not in data, (path, text)
                    assert json.dumps(text).strip('"').encode() not in data, (path, text)

    halfway = tmp_path / "halfway"
    with pytest.raises(Stopped):
        perform(silent, halfway, stopping_at(halfway, b"EPOCH-2-BATCH-1"))
    assert list((halfway / "checkpoints").glob("step-*"))
    check(halfway)
    check(perform(silent, tmp_path / "silent", Control()))
    assert (tmp_path / "silent" / "report.json").exists()

    break_stage(monkeypatch, answer_with_base, ValueError(f"it is about {MARK}"))
    failed = tmp_path / "failed"
    with pytest.raises(ValueError, match=MARK):
        perform(silent, failed, Control())
    assert stages(failed)[-1] == "ERROR"
    check(failed)


def test_an_evaluation_without_texts_leaves_none(config: RunConfig, redraft_home: Path) -> None:
    silent = dataclasses.replace(config, keep_texts=False)
    session = Session(redraft_home / "data" / "runs", silent, ModelCache())
    session.evaluate(f"You should {MARK}.", f"What of {MARK}?", "text-1")
    session.close()
    for path in session.folder.rglob("*"):
        assert MARK.encode() not in path.read_bytes()


_TEXT = st.text(min_size=1, max_size=20).map(lambda text: f"{MARK}{text}{MARK}")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    level=st.integers(1, 3),
    texts=st.dictionaries(st.sampled_from(("draft", "prompt", "x")), _TEXT, max_size=3),
    raw=st.dictionaries(st.sampled_from(("request", "traceback")), _TEXT, max_size=2),
)
def test_an_export_at_level_1_holds_no_text(
    tmp_path_factory: pytest.TempPathFactory, level: int, texts: dict[str, str], raw: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with JournalWriter(folder) as journal:
        journal.append("NOTICE", level, "4 tokens", item="a", texts=texts, raw=raw, data={"tokens": 4})
    for file_format in FORMATS:
        export(folder, file_format, folder / f"x.{file_format}", 1)
        assert MARK not in (folder / f"x.{file_format}").read_text()
    made = row(Record(0, 1.0, "NOTICE", level, "4 tokens", "a", texts, raw, {"tokens": 4}), 1)
    assert made is None or (MARK not in json.dumps(made) and "texts" not in made["metadata"])


def test_an_export_of_a_whole_run_at_level_1_holds_none_of_its_texts(config: RunConfig, tmp_path: Path) -> None:
    folder = perform(config, tmp_path / "run", Control())
    for file_format in FORMATS:
        path = folder / f"x.{file_format}"
        export(folder, file_format, path, 1)
        shown = path.read_text()
        assert MARK not in shown
        assert all(text not in shown for text in words_of(folder) if MARK in text)
        assert "RUN-COMPLETE" in shown


SECRETS = {
    "HF_TOKEN": "hf_PLUGHPLUGH",
    "OPENAI_API_KEY": "sk-PLUGHPLUGH",
    "JUDGE_API_KEY": "key-PLUGHPLUGH",
    "HTTPS_PROXY": "http://me:PLUGHPLUGH@proxy.example:1",
}


def test_no_secret_of_the_environment_reaches_a_file_or_a_message(
    config: RunConfig, redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.doctor import examine

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    folder = new_folder(redraft_home / "data" / "runs", config.preset)
    perform(config, folder, Control())
    broken = new_folder(redraft_home / "data" / "runs", config.preset)
    (broken / "run.json").write_text("{}")
    with pytest.raises(RedraftError) as refused:
        perform(config, broken, Control())
    told = json.dumps(examine()) + str(refused.value)
    for path in (redraft_home / "data").rglob("*"):
        if path.is_file():
            told += path.read_bytes().decode("utf-8", "replace")
    assert "PLUGH" not in told


def test_an_address_with_a_password_is_never_repeated_whole() -> None:
    from engine.models.hub.catalog import resolve

    for name in ("https://me:PLUGH@example.org/v1", "http://PLUGH@host/x.gguf"):
        with pytest.raises(RedraftError) as refused:
            resolve(name)
        assert "PLUGH" not in str(refused.value)
        assert "PLUGH" not in refused.value.where + refused.value.what
        assert "…@" in str(refused.value)


def test_what_libraries_say_of_a_secret_is_hidden_wherever_it_is_written(
    config: RunConfig, redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.commands.failure import known_error

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    told = f"Illegal header value b'Bearer {SECRETS['HF_TOKEN']}' for {SECRETS['HTTPS_PROXY']}"

    break_stage(monkeypatch, draft, RuntimeError(told))
    folder = new_folder(redraft_home / "data" / "runs", config.preset)
    with pytest.raises(RuntimeError):
        perform(config, folder, Control())
    known_error(RuntimeError(told))
    known_error(RedraftError(told))
    found = str(RedraftError(told))
    for path in (redraft_home / "data").rglob("*"):
        if path.is_file():
            found += path.read_bytes().decode("utf-8", "replace")
    assert "Illegal header value" in found
    assert "PLUGH" not in found
