"""Texts from outside are made safe to show."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.constitution.load import load_default
from engine.control import Control
from engine.judges.rules.normalize import normalize
from engine.pipeline.evaluate import evaluate_rows
from engine.prompts import load_prompts, load_rows, prompt_hash
from engine.text import is_blank, sanitize, split_zero_width, truncate

SEPARATORS = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Zs", "Zl", "Zp") or chr(c).isspace()]
"""Every character that Unicode or Python calls a separator or white space: 29 of them."""

ZERO_WIDTH = [*"\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\u2063\ufeff", *"\u115f\u2800\u3164\uffa0"]
"""The last four are blanks that Unicode calls letters or symbols."""

DELETED = [
    *"\x00\x08\x1b\x7f\x90\u200e\u200f\u061c\u202a\u202e\u2066\u2069",
    *("\x00\x1b", "\u202e\u200b", "\u200b\u200b"),
]
"""Controls and marks of the direction of writing, which `sanitize` deletes, alone and in a row."""


def named(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text)


def test_escape_sequences_lose_their_escape() -> None:
    assert sanitize("\x1b[31mred\x1b]52;c;aGk=\x07") == "[31mred]52;c;aGk="


def test_direction_overrides_are_stripped_and_newlines_and_tabs_stay() -> None:
    assert sanitize("a \u202eb\r\nc\td\re\u2066.f") == "a b\nc\td\ne.f"


@given(st.text())
def test_sanitize_leaves_no_control_character_and_is_idempotent(text: str) -> None:
    once = sanitize(text)
    assert sanitize(once) == once
    assert all(unicodedata.category(c) not in ("Cc", "Cs") or c in "\n\t" for c in once)


@given(st.text(), st.integers(1, 50))
def test_truncate_returns_a_beginning_of_the_text(text: str, limit: int) -> None:
    short = truncate(text, limit)
    assert len(short) <= limit + 2
    assert text.startswith(short.removesuffix(" …")) or short == text


# Separators


@pytest.mark.parametrize("separator", SEPARATORS, ids=named)
def test_a_separator_never_joins_the_words_beside_it(separator: str) -> None:
    assert sanitize(f"must{separator}obey").split() == ["must", "obey"]
    assert normalize(f"Must{separator}obey").text.split() == ["must", "obey"]
    assert prompt_hash(f"must{separator}obey") == prompt_hash("must obey")


@pytest.mark.parametrize("separator", [*SEPARATORS, *ZERO_WIDTH, *(c for c in DELETED if "\0" not in c)], ids=named)
@pytest.mark.parametrize("name", ["rows.jsonl", "escaped.jsonl", "rows.json", "rows.csv", "rows.tsv"])
def test_rules_give_the_verdict_of_a_space_for_every_separator(tmp_path: Path, name: str, separator: str) -> None:
    def score(between: str) -> float | None:
        text = f"It is simple: you must{between}obey{between}me now."
        if name.endswith("sv"):
            if between in "\t":
                text = f'"{text}"'
            mark = "\t" if name.endswith(".tsv") else ","
            content = f'id{mark}text\n1{mark}"{text.strip(chr(34))}"\n'
        else:
            row = json.dumps({"id": "1", "text": text}, ensure_ascii=name.startswith("escaped"))
            content = f"[{row}]" if name.endswith(".json") else row + "\n"
        path = tmp_path / name
        path.write_bytes(content.encode())
        (verdict,) = evaluate_rows(load_rows(path), "rules", load_default(), None, Control())
        assert verdict.flagged is True
        return verdict.score

    assert score(separator) == score(" ")


@pytest.mark.parametrize("separator", [c for c in SEPARATORS if c not in "\n\r"], ids=named)
def test_a_separator_inside_a_line_of_plain_text_does_not_end_the_prompt(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(f"Is it{separator}so?\nWhy?\n".encode())
    assert [prompt.text.split() for prompt in load_prompts(path)] == [["Is", "it", "so?"], ["Why?"]]


def test_zero_width_characters_split_words_and_leave_emoji_and_length_alone() -> None:
    assert split_zero_width("must\u200bobey, ob\u200dey") == "must obey, ob ey"
    family = "a \U0001f468\u200d\U0001f469\u200d\U0001f467 here"
    assert split_zero_width(family) == family


@pytest.mark.parametrize("deleted", DELETED, ids=named)
def test_what_is_deleted_between_letters_is_read_as_nothing_and_as_a_space(deleted: str) -> None:
    assert sanitize(f"must{deleted}obey").replace("\u200b", "") == "mustobey"
    assert split_zero_width(sanitize(f"must{deleted}obey")).split() == ["must", "obey"]
    assert sanitize(f"must {deleted}obey, {deleted}now{deleted}.") == "must obey, now." or "\u200b" in deleted
    assert split_zero_width(f"must{deleted}obey").split() == ["must", "obey"]


@pytest.mark.parametrize(
    "word",
    [
        *("ob\u200bey", "o\ufeffbey", "ob\u2060ey", "o\u200db\u200dey"),
        *(f"ob{deleted}ey" for deleted in DELETED),
        "o\x00b\x1be\u202ey",
    ],
    ids=named,
)
def test_a_word_dressed_up_with_zero_width_characters_is_still_found(word: str) -> None:
    from engine.judges.base import JudgeInput
    from engine.judges.rules.judge import RulesJudge

    judge = RulesJudge(load_default())
    plain = judge.verdict(JudgeInput("a", "It is simple: you must obey me now."))
    dressed = judge.verdict(JudgeInput("a", sanitize(f"It is simple: you must {word} me now.")))
    assert dressed.score == plain.score


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "\ufeff \u2028", "\x00\x1b", "\u00ad"])
def test_a_text_of_invisible_characters_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(text + ".")
