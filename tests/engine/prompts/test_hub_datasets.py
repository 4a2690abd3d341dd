"""Prompts of datasets: from a hub of the test's own on loopback, and from folders; no test reaches for the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call
from dataset_hub import FILES, own_cache, served, use

from engine.errors import InputError
from engine.prompts import hub_datasets
from engine.prompts.hub_datasets import DatasetSpec, parse
from engine.prompts.load import load_prompts
from engine.prompts.pairs import load_pairs
from engine.prompts.preview import preview

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    use(monkeypatch, tmp_path, address)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    own_cache(monkeypatch, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("hf:a/b", DatasetSpec("a/b")),
        ("hf:b", DatasetSpec("b")),
        ("hf:a/b:test", DatasetSpec("a/b", split="test")),
        ("hf:a/b:en:test[:10%]", DatasetSpec("a/b", config="en", split="test[:10%]")),
        ("hf:a/b@v1.0", DatasetSpec("a/b", "v1.0")),
        ("hf:a/b@refs/pr/1:en-US:train[5:10]", DatasetSpec("a/b", "refs/pr/1", "en-US", "train[5:10]")),
        ("hf:./my data/x:test", DatasetSpec("./my data/x", split="test")),
    ],
)
def test_a_name_has_revision_configuration_and_split(text: str, spec: DatasetSpec) -> None:
    assert parse(text) == spec


@pytest.mark.parametrize("text", ["hf:", "hf:a b", "hf:a/b/c", "hf:a/b:", "hf:a/b:x:y:z", "hf:a/b:x[1", "hf:@main"])
def test_what_is_no_name_of_a_dataset_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not the name of a dataset"):
        parse(text)


def test_prompts_come_from_a_dataset_of_the_hub(hub: None) -> None:
    loaded = load_prompts("hf:someone/questions")
    assert [prompt.text for prompt in loaded] == [f"Why {n}?" for n in range(20)]
    assert loaded.prompts[0].id == "questions-001"
    assert loaded.notices == ("hf:someone/questions: a column not used: number (20 rows).",)
    part = load_prompts("hf:someone/questions@main:default:train[3:5]", columns={"prompt": "question"})
    assert [prompt.text for prompt in part] == ["Why 3?", "Why 4?"]
    assert [prompt.text for prompt in load_prompts("hf:someone/questions:test")] == ["And how?"]


def test_the_command_previews_a_dataset(hub: None, redraft_home: Path) -> None:
    done = call("prompts", "hf:someone/questions", "--map", "prompt=question", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 20


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:someone/questions:validation", "Should be one of"),
        ("hf:someone/questions:fr:train", "Available: ['default']"),
        ("hf:someone/nothing", "the hub knows no such dataset"),
    ],
)
def test_what_a_dataset_does_not_have_is_named(hub: None, name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_prompts(name)
    assert words in str(caught.value)
    assert caught.value.where == name
    assert caught.value.next_step


def test_code_of_a_dataset_is_never_run(hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "questions.py", b"raise SystemExit\n")
    with pytest.raises(InputError, match="needs code of its own"):
        load_prompts("hf:someone/questions")


def test_offline_the_message_says_so(hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="the hub could not be reached") as caught:
        load_prompts("hf:someone/questions")
    assert "HF_HUB_OFFLINE" in caught.value.next_step


@pytest.mark.parametrize("split", ["", ":train", ":train[1:]", ":train[:50%]"])
def test_folders_that_datasets_wrote_are_read(folders: Path, split: str) -> None:
    rows = datasets.Dataset.from_list([{"prompt": "One?"}, {"prompt": "Two?"}])
    rows.save_to_disk(folders / "alone")
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(folders / "splits")
    expected = {":train[1:]": ["Two?"], ":train[:50%]": ["One?"]}.get(split, ["One?", "Two?"])
    for name in ("alone", "splits"):
        assert [prompt.text for prompt in load_prompts(f"hf:{folders / name}{split}")] == expected


def test_a_folder_of_data_files_is_read(folders: Path) -> None:
    (folders / "mine").mkdir()
    (folders / "mine" / "train.csv").write_text("prompt,chosen,rejected\nOne?,Yes.,No.\nTwo?,No.,Yes.\n")
    (folders / "mine" / "test.csv").write_text("prompt,chosen,rejected\nThree?,Yes.,No.\n")
    assert preview(f"hf:{folders / 'mine'}").rows == 2
    assert [prompt.text for prompt in load_prompts(f"hf:{folders / 'mine'}:test")] == ["Three?"]
    assert len(load_pairs(f"hf:{folders / 'mine'}").pairs) == 2


def test_chats_and_pictures_of_a_dataset_are_rows_like_others(folders: Path) -> None:
    chat = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    features = datasets.Features({
        "messages": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
        "image": datasets.Image(),
    })  # fmt: skip
    rows = datasets.Dataset.from_list([{"messages": chat, "image": {"bytes": b"x", "path": None}}], features=features)
    rows.save_to_disk(folders / "chats")
    loaded = load_prompts(f"hf:{folders / 'chats'}")
    assert [prompt.text for prompt in loaded] == ["Why?"]
    assert loaded.unused == {"image": 1}


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_data_is_refused(folders: Path, name: str) -> None:
    (folders / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be read as a dataset"):
        load_prompts(f"hf:{folders / name}")


def test_more_rows_than_are_held_are_refused_with_a_slice(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_datasets, "MAX_ROWS", 1)
    datasets.Dataset.from_list([{"prompt": "One?"}, {"prompt": "Two?"}]).save_to_disk(folders / "two")
    with pytest.raises(InputError, match="it has 2 rows; at most 1") as caught:
        load_prompts(f"hf:{folders / 'two'}")
    assert ":train[:10000]" in caught.value.next_step


def test_without_the_package_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match="needs the package datasets"):
        load_prompts("hf:someone/questions")
