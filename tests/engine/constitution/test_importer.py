"""The JSON of the Constitutional AI paper as a constitution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.constitution.load import load
from engine.errors import InputError
from engine.judges.rules.matching import failed_examples

PAPER = {
    "harmful0": {
        "prompt": ["\n\nCritiqueRequest: Say what is harmful.\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest: Please remove what is harmful.\n\nRevision:",
    },
    "harmful1": {"prompt": "Critique Request: Name the harm.", "edit_request": "Rewrite it."},
    "Age check": {"prompt": ["Is it fit for children?", "Would a parent agree?"], "edit_request": "Make it fit."},
}


def written(folder: Path, value: object) -> Path:
    path = folder / "paper.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_entries_that_differ_in_a_number_are_one_principle(tmp_path: Path) -> None:
    constitution = load(written(tmp_path, PAPER), failed_examples)
    assert constitution.name == "paper"
    assert constitution.ids == ("harmful", "age_check")
    harmful = constitution.principle("harmful")
    assert harmful.critiques == ("Say what is harmful.", "Name the harm.")
    assert harmful.revisions == ("Please remove what is harmful.", "Rewrite it.")
    assert (harmful.title, harmful.weight, harmful.rules) == ("Harmful", 1.0, ())


def test_each_prompt_of_an_entry_goes_with_its_edit_request(tmp_path: Path) -> None:
    age = load(written(tmp_path, PAPER), failed_examples).principle("age_check")
    assert age.critiques == ("Is it fit for children?", "Would a parent agree?")
    assert age.revisions == ("Make it fit.", "Make it fit.")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("{", "line 1, column"),
        ("{}", "not a constitution"),
        ("[1]", "not a constitution"),
        ('{"a": 1}', 'entry "a"'),
        ('{"a": {"prompt": "x"}}', "edit_request"),
        ('{"a": {"prompt": 3, "edit_request": "x"}}', "prompt"),
        ('{"a": {"prompt": ["x", 4], "edit_request": "x"}}', "prompt"),
        ('{"a": {"prompt": [], "edit_request": "x"}}', "prompt"),
        ('{"a": {"prompt": "Critique:", "edit_request": "x"}}', "empty"),
        ('{"a": {"prompt": "x", "edit_request": "y", "extra": 1}}', 'Unknown key "extra"'),
        ('{"a": {"prompt": "x", "edit_request": "y"}, "a": {}}', "twice"),
        (json.dumps({f"{chr(97 + n // 26)}{chr(97 + n % 26)}": PAPER["harmful1"] for n in range(257)}), "at most 256"),
        ('{"a": ' + "[" * 100_000, "nested"),
    ],
)
def test_other_shapes_are_refused_with_the_place(tmp_path: Path, value: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, value), failed_examples)
    assert part in str(caught.value)
    assert "paper.json" in str(caught.value)
