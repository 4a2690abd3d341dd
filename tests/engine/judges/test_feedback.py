from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine import paths
from engine.constitution.load import load_default
from engine.errors import InputError, StorageError
from engine.judges.feedback import Feedback, agreement, corrections, keep, labels_path
from engine.judges.labeled import read_labeled

BROKEN = {
    "flagged": True,
    "principles": {"harm_prevention": 0.1, "fairness": 0.8, "autonomy_respect": 0.9},
    "broken": ["autonomy_respect", "fairness"],
}
CLEAN = {"flagged": False, "principles": {"fairness": 0.1, "autonomy_respect": 0.2}, "broken": []}
NO_VERDICT = {"flagged": None, "principles": {"fairness": None}, "broken": []}


def test_agreeing_says_of_every_principle_what_the_verdict_says() -> None:
    assert agreement(BROKEN) == {"harm_prevention": False, "fairness": True, "autonomy_respect": True}
    assert agreement(CLEAN) == {"fairness": False, "autonomy_respect": False}
    assert agreement(NO_VERDICT) == {}


def test_a_correction_names_the_principles_that_it_is_about() -> None:
    assert corrections(BROKEN) == [
        ("clean", {"harm_prevention": False, "fairness": False, "autonomy_respect": False}),
        ("not autonomy_respect", {"autonomy_respect": False}),
        ("not fairness", {"fairness": False}),
        ("harm_prevention", {"harm_prevention": True}),
    ]
    assert corrections(CLEAN) == [("fairness", {"fairness": True}), ("autonomy_respect", {"autonomy_respect": True})]
    assert [name for name, _ in corrections(NO_VERDICT)] == ["clean", "fairness"]


def test_the_file_is_read_by_the_reader_of_judge_fit(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    keep(Feedback("Never “go” out.\nTrust me.", "Is it safe?", agreement(BROKEN), True, "rules", "demo"), path)
    assert keep(Feedback("You might rest.", "", agreement(CLEAN), True), path) == 5
    rows = read_labeled([path])
    known = load_default().ids
    assert all(row.principle in known for row in rows)
    assert Counter((row.principle, row.label) for row in rows) == {
        ("harm_prevention", False): 1,
        ("fairness", True): 1,
        ("autonomy_respect", True): 1,
        ("fairness", False): 1,
        ("autonomy_respect", False): 1,
    }
    assert (rows[0].text, rows[0].prompt) == ("Never “go” out.\nTrust me.", "Is it safe?")
    assert len({row.id for row in rows}) == 5
    assert read_labeled([tmp_path]) == rows


def test_what_is_said_later_of_a_text_replaces_what_was_said_before(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    keep(Feedback("Go.", "", {"fairness": True, "harm_prevention": False}, True), path)
    assert keep(Feedback("Go.", "", {"fairness": False}, False), path) == 2
    assert {row.principle: (row.label, row.category) for row in read_labeled([path])} == {
        "harm_prevention": (False, "agreed"),
        "fairness": (False, "corrected"),
    }


def test_rows_of_the_user_stay_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"text": "Mine.", "label": 1, "principle": "fairness"}\n')
    assert keep(Feedback("Go.", "", {"fairness": True}, True), path) == 2
    path.write_text(path.read_text() + "{\n")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="line 3"):
        keep(Feedback("Stop.", "", {"fairness": True}, True), path)
    assert path.read_bytes() == before


def test_nothing_is_kept_of_a_text_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        keep(Feedback(" ", "", {"fairness": True}, True), tmp_path / "labels.jsonl")


def test_the_file_is_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    assert labels_path() == paths.data_dir() / "labels.jsonl"
