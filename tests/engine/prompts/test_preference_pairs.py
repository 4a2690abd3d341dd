"""Preference pairs of every shape are read: explicit and implicit prompts, chats, transcripts; a wrong row says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError
from engine.models.inference.requests import Message
from engine.prompts.pairs import GivenPair, load_pairs

USER = {"role": "user", "content": "Why?"}
GOOD, BAD = {"role": "assistant", "content": "So."}, {"role": "assistant", "content": "No."}
FIRST = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
ROWS: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
    "chats": {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    "implicit prompt": {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "transcripts": {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
    "prompt and chats": {"prompt": "Why?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("shape", ROWS)
def test_a_pair_is_read_whatever_shape_it_has(tmp_path: Path, shape: str) -> None:
    found = load_pairs(write(tmp_path / "pairs.jsonl", ROWS[shape]))
    (prompt,) = found.prompts
    assert (prompt.id, prompt.text, prompt.messages) == ("pair-001", "Why?", ())
    assert found.pairs == {"pair-001": GivenPair("So.", "No.")}
    assert found.prompts.notices == ()


def test_earlier_turns_stay_before_the_prompt(tmp_path: Path) -> None:
    row = {"chosen": [*FIRST, USER, GOOD], "rejected": [*FIRST, USER, BAD]}
    (prompt,) = load_pairs(write(tmp_path / "pairs.jsonl", row)).prompts
    assert prompt.messages == (Message("user", "Hi."), Message("assistant", "Hello."))


def test_several_pairs_of_one_prompt_are_kept(tmp_path: Path) -> None:
    rows = [ROWS["texts"], {**ROWS["texts"], "chosen": "Because."}]
    assert [pair.chosen for pair in load_pairs(write(tmp_path / "pairs.jsonl", *rows)).pairs.values()] == [
        "So.",
        "Because.",
    ]


def test_the_pairs_of_a_run_are_read_back(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "id": "train-001", "principle": "a", "score_chosen": 0}
    found = load_pairs(write(tmp_path / "pairs.jsonl", row))
    assert list(found.pairs) == ["train-001"]
    assert found.prompts.prompts[0].principle == "a"
    assert found.prompts.notices == ()


def test_columns_are_read_under_other_names(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", {"question": "Why?", "good": "So.", "bad": "No."})
    found = load_pairs(path, columns={"prompt": "question", "chosen": "good", "rejected": "bad"})
    assert list(found.pairs.values()) == [GivenPair("So.", "No.")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "Why?", "chosen": "So."}, "there is no rejected answer"),
        ({"prompt": "Why?", "chosen": "So.", "rejected": " "}, "the rejected answer is empty"),
        ({"prompt": "Why?", "chosen": 3, "rejected": "No."}, "not a text"),
        ({"prompt": [USER], "chosen": [USER], "rejected": [BAD]}, "the last turn must be the assistant's"),
        ({"prompt": "", "chosen": "So.", "rejected": "No."}, "the prompt is empty"),
        ({"prompt": "Why?", "chosen": "So.", "rejected": " So."}, "chosen and rejected are the same"),
        ({"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, BAD, USER, BAD]}, "rejected differ before their"),
        (
            {
                "chosen": "\n\nHuman: Hi\n\nAssistant: A\n\nHuman: Why?\n\nAssistant: So.",
                "rejected": "\n\nHuman: Hi\n\nAssistant: B\n\nHuman: Why?\n\nAssistant: No.",
            },
            "rejected differ before their",
        ),
        ({"chosen": "So.", "rejected": "No."}, "there is no prompt"),
    ],
)
def test_a_row_that_is_no_pair_is_skipped_or_refused_with_its_reason(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        load_pairs(write(tmp_path / "alone.jsonl", row))
    found = load_pairs(write(tmp_path / "pairs.jsonl", ROWS["texts"], row))
    assert len(found.pairs) == 1
    assert words.split(" the ")[-1].split(" is ")[0] in found.prompts.skipped[0].reason


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "Chosen": "A.", "Rejected": "B."},
        {"prompt": "Why?", "chosen": "[{'role': 'assistant', 'content': 'A.'}]", "rejected": "B."},
        {
            "prompt": "Why?",
            "chosen": [
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A."}],
                }
            ],
            "rejected": "B.",
        },
    ],
)
def test_answers_are_the_words_alone_whatever_holds_them(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    (pair,) = load_pairs(path).pairs.values()
    assert (pair.chosen, pair.rejected) == ("A.", "B.")
