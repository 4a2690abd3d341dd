"""The preview of a prompt file says what a run would take from it, and a mapping reads columns under other names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import InputError, StorageError
from engine.prompts.load import load_prompts
from engine.prompts.preview import guess_language, parse_columns, preview
from engine.prompts.split import split
from tui.cli import main

LONG = (
    "Please write a letter to the owner of the house next door about the old tree that stands between our two gardens"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {"prompt": "What is rye bread?", "principle": "truth"},
        {"prompt": "what is rye bread", "principle": "truth"},
        {"prompt": f"{LONG} today."},
        {"prompt": f"{LONG} now."},
        {"prompt": "Wie ist das Wetter und was kann ich mit der Zeit machen?"},
        {"prompt": ""},
        {"prompt": 7},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_counts_duplicates_languages_and_what_is_skipped(file: Path) -> None:
    found = preview(file)
    assert (found.rows, found.usable, found.exact, found.near) == (7, 3, 1, 1)
    assert sum(found.skipped.values()) == 2
    assert found.languages["English"] == 4
    assert found.languages["German"] == 1
    assert found.principles == {"": 3, "truth": 2}
    assert (found.lengths.unit, found.lengths.low, found.lengths.high) == ("words", 4, 23)


def test_tokens_are_counted_where_a_model_is_named(file: Path) -> None:
    found = preview(file, count=lambda texts: [len(text) for text in texts], context=60)
    assert found.lengths.unit == "tokens"
    assert found.too_long == 2


def test_prompts_of_the_held_out_file_are_counted(file: Path) -> None:
    assert preview(file, against=load_prompts(file).prompts[:2]).shared == 2


def test_a_column_is_read_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("Frage,prompt,Thema\nWas ist Brot?,ignored,food\n")
    found = load_prompts(path, columns={"prompt": "Frage", "topic": "Thema"})
    assert [(prompt.text, prompt.topic) for prompt in found] == [("Was ist Brot?", "food")]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"Frage": "Was ist Brot?", "prompt": "unused"}\n')
    with pytest.raises(InputError, match=r"no column 'Antwort'; the columns are: Frage, prompt"):
        load_prompts(path, columns={"prompt": "Antwort"})


@pytest.mark.parametrize("words", ["prompt", "=a", "prompt=", "prompt=a prompt=b"])
def test_a_mapping_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(InputError):
        parse_columns(words.split())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Why is the sky blue?", "English"),
        ("Warum ist der Himmel blau und nicht grün?", "German"),
        ("¿Por qué el cielo es azul y no verde?", "Spanish"),
        ("Почему небо голубое?", "Cyrillic"),
        ("空はなぜ青いのですか", "Japanese"),
        ("天空为什么是蓝色的", "Chinese"),
        ("12345", "unknown"),
    ],
)
def test_languages_are_guessed_by_script_and_frequent_words(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_the_command_shows_counts_and_reasons(
    file: Path, redraft_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prompts", str(file), "--heldout-prompts", str(file)]) == 0
    out = capsys.readouterr().out
    assert "7 rows, 3 prompts to use" in out
    assert "1 exact duplicate" in out
    assert "skipped: the prompt is empty" in out
    assert "5 prompts of the held-out file" in out
    assert main(["prompts", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usable"] == 3


def test_the_tokens_of_a_model_are_counted_without_loading_it(
    file: Path, redraft_home: Path, tiny: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(tiny)
    assert main(["prompts", str(file), "-g", str(tiny("llama"))]) == 0
    assert "tokens, median" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_an_error(redraft_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "nowhere.csv"]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_a_split_holds_each_prompt_once_with_principles_in_both_parts(tmp_path: Path) -> None:
    rows = [f"Tell me fact number {n} about bees.,{'a' if n % 2 else 'b'}" for n in range(20)]
    (tmp_path / "all.csv").write_text("\n".join(["frage,principle", *rows, rows[0]]) + "\n")
    made = split(tmp_path / "all.csv", tmp_path / "out", 0.4, columns={"prompt": "frage"})
    train, heldout = load_prompts(made.train), load_prompts(made.heldout)
    assert (len(train), len(heldout)) == (made.n_train, made.n_heldout) == (12, 8)
    assert not {one.sha256 for one in train} & {one.sha256 for one in heldout}
    assert sorted(one.principle for one in heldout) == ["a"] * 4 + ["b"] * 4
    again = split(tmp_path / "all.csv", tmp_path / "again", 0.4, columns={"prompt": "frage"})
    assert again.heldout.read_bytes() == made.heldout.read_bytes()


def test_a_split_keeps_earlier_turns(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    rows = [{"messages": chat}, {"prompt": "How?"}]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = split(tmp_path / "all.jsonl", tmp_path / "out", 0.5)
    both = [*load_prompts(made.train), *load_prompts(made.heldout)]
    assert sorted((one.text, len(one.messages)) for one in both) == [("How?", 0), ("Why?", 1)]


def test_a_split_replaces_no_file(tmp_path: Path, redraft_home: Path) -> None:
    (tmp_path / "all.txt").write_text("One?\nTwo?\n")
    assert main(["prompts", str(tmp_path / "all.txt"), "--split", "0.5", "-o", str(tmp_path / "out")]) == 0
    assert main(["prompts", str(tmp_path / "all.txt"), "--split", "0.5", "-o", str(tmp_path / "out")]) == 2
    with pytest.raises(InputError, match="between 0 and 1"):
        split(tmp_path / "all.txt", tmp_path / "other", 1.5)


@pytest.mark.parametrize("left", ["train.jsonl", "heldout.jsonl"])
def test_a_split_completes_what_a_killed_one_left(tmp_path: Path, left: str) -> None:
    (tmp_path / "all.txt").write_text("One?\nTwo?\n")
    made = split(tmp_path / "all.txt", tmp_path / "out", 0.5)
    whole = {path.name: path.read_bytes() for path in (made.train, made.heldout)}
    (tmp_path / "out" / "notes").write_text("mine")
    for name in whole.keys() - {left}:
        (tmp_path / "out" / name).unlink()
    with pytest.raises(InputError, match="exists already"):
        split(tmp_path / "all.txt", tmp_path / "out", 0.5, seed=2)
    split(tmp_path / "all.txt", tmp_path / "out", 0.5)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {**whole, "notes": b"mine"}


def test_a_split_that_fails_leaves_none_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all.txt").write_text("One?\nTwo?\n")

    def full(path: Path, data: bytes, mode: int) -> None:
        if path.name == "heldout.jsonl":
            raise StorageError("the disk is full.", where=str(path))
        path.write_bytes(data)

    monkeypatch.setattr("engine.prompts.split.write_atomically", full)
    for place in (tmp_path / "out", tmp_path):
        with pytest.raises(StorageError, match="full"):
            split(tmp_path / "all.txt", place, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["all.txt"]
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--output"):
        split(tmp_path / "all.txt", tmp_path / "file", 0.5)


def test_a_split_keeps_what_a_prompt_brings(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "prompt": f"Question {n}?", "topic": "t", "principle": "p", "demonstration": f"Answer {n}."}
        for n in range(4)
    ]
    (tmp_path / "all.json").write_text(json.dumps(rows))
    made = split(tmp_path / "all.json", tmp_path / "out", 0.5)
    parts = [*load_prompts(made.train), *load_prompts(made.heldout)]
    assert sorted(parts, key=lambda one: one.id) == list(load_prompts(tmp_path / "all.json"))
