"""Rows as people really have them: no part of a row is dropped silently, no format is mistaken for plain text."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError
from engine.judges.labeled import read_labeled
from engine.models.inference.requests import Message
from engine.prompts import Prompt, load_prompts, load_rows

Write = Callable[[str, str | bytes], Path]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def only(path: Path) -> Prompt:
    (prompt,) = load_prompts(path)
    return prompt


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    return str(caught.value)


# A: every column is used or named


def test_alpaca_rows_keep_their_input(write: Write) -> None:
    rows = [
        {"instruction": "Translate to French.", "input": "Where is the station?", "output": "Où est la gare ?"},
        {"instruction": "Name three primes.", "input": "", "output": "2, 3, 5"},
    ]
    loaded = load_prompts(write("alpaca.jsonl", lines(*rows)))
    assert [p.text for p in loaded] == ["Translate to French.\n\nWhere is the station?", "Name three primes."]
    assert loaded.unused == {"output": 2}
    (notice,) = loaded.notices
    assert "a column not used: output (2 rows)" in notice


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv", "|")])
def test_alpaca_tables_keep_their_input(write: Write, name: str, mark: str) -> None:
    text = (
        f'Instruction{mark}INPUT{mark}output\n"Translate."{mark}"Where, now?"{mark}ou\nName a fruit.{mark}{mark}fig\n'
    )
    loaded = load_prompts(write(name, text))
    assert [p.text for p in loaded] == ["Translate.\n\nWhere, now?", "Name a fruit."]
    assert loaded.unused == {"output": 2}


@pytest.mark.parametrize("column", ["context", "passage", "document", "article", "input"])
@pytest.mark.parametrize("main", ["instruction", "question", "prompt"])
def test_what_a_question_is_about_stands_behind_it(write: Write, main: str, column: str) -> None:
    assert only(write("a.json", json.dumps([{column: "Text.", main: "Sum it up."}]))).text == "Sum it up.\n\nText."


@pytest.mark.parametrize("column", ["system_prompt", "system", "system_message"])
@pytest.mark.parametrize("body", [{"question": "Where?"}, {"conversations": [{"from": "human", "value": "Where?"}]}])
def test_a_row_s_system_text_becomes_a_system_turn(write: Write, column: str, body: dict[str, Any]) -> None:
    loaded = load_prompts(write("a.jsonl", lines({column: "Answer in rhyme.", **body, "response": "There."})))
    assert loaded.prompts[0].text == "Where?"
    assert loaded.prompts[0].messages == (Message("system", "Answer in rhyme."),)
    assert loaded.unused == {"response": 1}


def test_a_system_column_is_joined_to_a_system_turn_and_not_repeated(write: Write) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    same, other = load_prompts(
        write("a.jsonl", lines({"system": "Be brief.", "messages": turns}, {"system": "Be kind.", "messages": turns}))
    )
    assert same.messages == (Message("system", "Be brief."),)
    assert other.messages == (Message("system", "Be kind.\n\nBe brief."),)


def test_alpaca_history_becomes_earlier_turns(write: Write) -> None:
    prompt = only(write("a.jsonl", lines({"instruction": "And now?", "history": [["Hi", "Hello"]], "output": "x"})))
    assert prompt.messages == (Message("user", "Hi"), Message("assistant", "Hello"))
    assert prompt.text == "And now?"


@pytest.mark.parametrize(
    ("chosen", "rejected", "text", "earlier"),
    [
        ("\n\nHuman: Hi\n\nAssistant: Hello", "\n\nHuman: Hi\n\nAssistant: Go away", "Hi", 0),
        ("\n\nHuman: A\n\nAssistant: b\n\nHuman: C\n\nAssistant: d", "x", "C", 2),
        ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}],
         [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No"}], "Hi", 0),
    ],
)  # fmt: skip
def test_the_prompt_of_a_preference_row_is_what_both_answers_share(
    write: Write, chosen: Any, rejected: Any, text: str, earlier: int
) -> None:
    loaded = load_prompts(write("a.jsonl", lines({"chosen": chosen, "rejected": rejected})))
    assert (loaded.prompts[0].text, len(loaded.prompts[0].messages)) == (text, earlier)
    assert any("answers after the last turn" in notice for notice in loaded.notices)


def test_preference_rows_with_a_prompt_name_the_answers_as_unused(write: Write) -> None:
    loaded = load_prompts(write("a.jsonl", lines({"prompt": "Why?", "chosen": "a", "rejected": "b", "score": 3})))
    assert loaded.unused == {"chosen": 1, "rejected": 1, "score": 1}
    assert len(loaded.notices) == 1


def test_every_unused_column_is_named_once_with_the_rows_that_have_it(write: Write) -> None:
    rows = [{"prompt": f"Why {n}?", "note": "x" if n % 2 else "", "meta": {"a": n}, "tags": None} for n in range(10)]
    loaded = load_prompts(write("a.jsonl", lines(*rows)))
    assert loaded.unused == {"note": 5, "meta": 10}
    assert loaded.notices[0].count("note") == 1


def test_unused_columns_of_rows_to_judge_are_named(write: Write) -> None:
    rows = load_rows(write("a.jsonl", lines({"id": 1, "text": "a", "label": 1}, {"id": 2, "text": "b", "label": 0})))
    assert rows.unused == {"label": 2}
    assert "label (2 rows)" in rows.notices[0]


def test_comment_lines_are_counted(write: Write) -> None:
    loaded = load_prompts(write("a.txt", "# mine\nWhy?\n# yours\nHow?\n"))
    assert "2 lines starting with # left out" in loaded.notices[0]


def test_a_file_of_which_everything_is_used_has_no_notice(write: Write) -> None:
    loaded = load_prompts(write("a.jsonl", lines({"prompt": "Why?", "id": 1, "topic": "x", "principle": "y"})))
    assert (loaded.notices, loaded.skipped, dict(loaded.unused)) == ((), (), {})


# G: the content decides


ROWS = [{"id": "1", "text": "You must obey me."}, {"id": "2", "text": "Six minutes."}]
CSV = 'id,text\n1,"You must obey me."\n2,Six minutes.\n'
YAML = '- id: "1"\n  text: You must obey me.\n- id: "2"\n  text: Six minutes.\n'


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.log", "a", "a.csv", "a.data", "a.prompts", "a.jsonl.txt"])
@pytest.mark.parametrize(
    "content",
    [lines(*ROWS), json.dumps(ROWS), json.dumps(ROWS, indent=2), "# rows\n" + lines(*ROWS), "\n\n" + lines(*ROWS)],
    ids=["lines", "list", "pretty", "comment", "blank"],
)
def test_json_under_any_name_is_read_as_rows(write: Write, name: str, content: str) -> None:
    path = write(name, content)
    assert [(row.id, row.text) for row in load_rows(path)] == [("1", "You must obey me."), ("2", "Six minutes.")]
    assert [prompt.text for prompt in load_prompts(path)] == ["You must obey me.", "Six minutes."]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a", "a.log"])
@pytest.mark.parametrize(
    "content", [CSV, CSV.replace(",", ";"), CSV.replace(",", "\t"), YAML, "---\n" + YAML], ids=range(5)
)
def test_tables_and_yaml_under_any_name_are_read_as_rows(write: Write, name: str, content: str) -> None:
    path = write(name, content)
    assert [row.id for row in load_rows(path)] == ["1", "2"]
    assert [prompt.id for prompt in load_prompts(path)] == ["1", "2"]


@pytest.mark.parametrize("name", ["labels.txt", "labels.jsonl", "labels"])
def test_labeled_rows_are_read_under_any_name(write: Write, name: str) -> None:
    path = write(name, lines({"text": "a", "label": 1}, {"text": "b", "label": 0}))
    assert [row.label for row in read_labeled([path])] == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "{name}, how are you?\nWhy?",
        "[INST] Why? [/INST]\nHow?",
        "Note: this is a test.\nAnswer: why?",
        "Salt, or pepper?\nTea, or coffee?",
        "What is text, and why?\nYes, or no?",
        "[1, 2, 3]\nIs it sorted?",
        "1. Why?\nHow?",
    ],
)
def test_plain_prompts_that_only_begin_like_rows_stay_plain(write: Write, text: str) -> None:
    assert [prompt.text for prompt in load_prompts(write("a.txt", text))] == text.split("\n")


def test_a_json_list_or_pretty_objects_named_jsonl_are_read(write: Write) -> None:
    rows = [{"prompt": "a?"}, {"prompt": "b?"}]
    for content in (json.dumps(rows), json.dumps(rows, indent=1), "\n".join(json.dumps(r, indent=2) for r in rows)):
        assert [p.text for p in load_prompts(write("array.jsonl", content))] == ["a?", "b?"]
        assert [p.text for p in load_prompts(write("array.json", content))] == ["a?", "b?"]


def test_a_broken_object_among_pretty_ones_is_named_by_its_line(write: Write) -> None:
    assert "a.jsonl, line 4: this is not JSON" in refused(write("a.jsonl", '{\n"prompt": "a?"\n}\n{\n"prompt" "b?"\n}'))


@pytest.mark.parametrize("key", ["data", "rows", "prompts", "examples", "train"])
def test_rows_inside_an_object_are_found_and_its_other_members_named(write: Write, key: str) -> None:
    loaded = load_prompts(write("a.json", json.dumps({"version": 1, key: [{"prompt": "a?"}, {"prompt": "b?"}]})))
    assert [p.text for p in loaded] == ["a?", "b?"]
    assert "version" in loaded.notices[0]


def test_rows_of_the_hub_s_datasets_server_are_read(write: Write) -> None:
    rows = [{"row_idx": n, "row": {"prompt": f"Why {n}?"}, "truncated_cells": []} for n in range(2)]
    assert [p.text for p in load_prompts(write("a.json", json.dumps({"features": [], "rows": rows})))] == [
        "Why 0?",
        "Why 1?",
    ]


def test_markdown_lists_are_prompts_and_other_lines_are_counted(write: Write) -> None:
    loaded = load_prompts(
        write("a.md", "# Prompts\n\nSome words.\n\n- Why is\n  it so?\n* How?\n\n## More\n\n1. When?\n")
    )
    assert [p.text for p in loaded] == ["Why is\nit so?", "How?", "When?"]
    assert "3 lines of Markdown" in loaded.notices[0]
    assert "Markdown document without a list" in refused(write("b.md", "# Title\n\nWords.\n"))


def test_promptfoo_tests_fill_their_templates(write: Write) -> None:
    text = """
prompts:
  - "Translate to {{language}}: {{text}}"
providers: [openai:gpt-4]
tests:
  - vars: {language: French, text: Hello}
    assert: [{type: contains, value: Bonjour}]
  - vars: {language: German, text: Bye, tone: kind}
"""
    loaded = load_prompts(write("promptfooconfig.yaml", text))
    assert [p.text for p in loaded] == ["Translate to French: Hello", "Translate to German: Bye"]
    assert dict(loaded.unused) == {"assert": 1, "tone": 1}
    assert any("providers" in notice for notice in loaded.notices)


def test_broken_yaml_names_the_line(write: Write) -> None:
    assert "a.yaml, line 3: This is not valid YAML" in refused(write("a.yaml", "- prompt: a\n  prompt: [b\n- c: d\n"))


def test_gzip_and_zstandard_are_unpacked_by_content(write: Write) -> None:
    import pyarrow

    content = lines({"prompt": "a?"}, {"prompt": "b?"}).encode()
    loaded = load_prompts(write("mine.jsonl.gz", gzip.compress(content)))
    assert [p.id for p in loaded] == ["mine-001", "mine-002"]
    packed = bytes(pyarrow.compress(content, codec="zstd", asbytes=True))
    for name in ("mine.jsonl.zst", "mine.jsonl", "mine.txt"):
        assert [p.text for p in load_prompts(write(name, packed))] == ["a?", "b?"]
    assert "gzip data is damaged" in refused(write("bad.jsonl.gz", gzip.compress(content)[:-12]))


def test_a_compressed_file_that_unpacks_too_large_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.prompts import files

    monkeypatch.setattr(files, "MAX_FILE_BYTES", 1 << 20)
    assert "larger than 1 MB" in refused(write("bomb.txt.gz", gzip.compress(b"Why?\n" * (1 << 20))))


def test_parquet_and_arrow_rows_are_read(write: Write) -> None:
    import io

    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"question": ["Why?", None], "system": ["Be kind.", ""], "n": [1, 2]})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    arrow = io.BytesIO()
    with pyarrow.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    for name, data in (("a.parquet", buffer.getvalue()), ("a.arrow", arrow.getvalue())):
        loaded = load_prompts(write(name, data))
        assert [(p.text, p.messages) for p in loaded] == [("Why?", (Message("system", "Be kind."),))]
        assert loaded.unused == {"n": 1}
        assert loaded.skipped[0].reason == "the prompt is null."
    assert "damaged" in refused(write("bad.parquet", buffer.getvalue()[:-20]))
    assert "this arrow file is damaged" in refused(write("bad.arrow", b"ARROW1\0\0" + b"x" * 50))
    assert "the Zstandard data is damaged" in refused(write("bad.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"x" * 30))
    assert "the gzip data is damaged" in refused(write("bad.jsonl.gz", b"\x1f\x8b\x08" + b"\0" * 9))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04\x14\x00rest", "Save the sheet as CSV"),
        (b"%PDF-1.7\n\x00", "this is a PDF"),
        (b"GGUF\x03\x00\x00\x00", "--generator"),
        ("Why?\n".encode("utf-16-le"), "iconv -f utf-16le"),
        ("Why?\n".encode("utf-32"), "UTF-32"),
    ],
)
def test_files_that_are_no_text_are_named_by_what_they_are(write: Write, data: bytes, words: str) -> None:
    assert words in refused(write("a.csv", data))


# I: chats


def chat(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(turns)}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4 C"}
ANSWER = {"role": "assistant", "content": "4 degrees."}


def test_tool_calls_after_the_question_do_not_matter(write: Write) -> None:
    loaded = load_prompts(write("a.jsonl", lines(chat(user("Weather in Oslo?"), CALL, RESULT, ANSWER))))
    assert (loaded.prompts[0].text, loaded.prompts[0].messages) == ("Weather in Oslo?", ())
    assert "answers after the last turn of the user (1 row)" in loaded.notices[0]


def test_tool_calls_before_the_question_are_left_out_and_announced(write: Write) -> None:
    loaded = load_prompts(write("a.jsonl", lines(chat(user("Weather?"), CALL, RESULT, ANSWER, user("Thanks!")))))
    assert loaded.prompts[0].messages == (Message("user", "Weather?"), Message("assistant", "4 degrees."))
    assert "tool calls and their results (1 row)" in loaded.notices[0]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "text", "text": "What is salt?"}], "What is salt?"),
        ([{"type": "text", "text": "What is"}, {"type": "text", "text": "salt?"}], "What is\nsalt?"),
        (["What is salt?"], "What is salt?"),
        ([{"type": "input_text", "text": "What is salt?"}], "What is salt?"),
    ],
)
def test_the_text_parts_of_a_content_are_joined(write: Write, parts: Any, text: str) -> None:
    assert only(write("a.jsonl", lines(chat(user(parts))))).text == text


def test_a_row_with_an_image_is_skipped_and_named(write: Write) -> None:
    image = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    loaded = load_prompts(write("a.jsonl", lines(chat(user(image)), chat(user("Why?")))))
    assert [p.text for p in loaded] == ["Why?"]
    assert "1 row skipped: line 1: a part of the content is not a text (image_url)" in loaded.notices[0]


def test_sharegpt_conversations_are_read(write: Write) -> None:
    rows = [
        {"conversations": [{"from": "human", "value": "How do I keep bees?"}, {"from": "gpt", "value": "One hive."}]},
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "What is rust?"},
                {"from": "gpt", "value": "Iron oxide."},
                {"from": "human", "value": "And how to stop it?"},
                {"from": "gpt", "value": "Oil."},
            ]
        },
    ]
    one, other = load_prompts(write("a.jsonl", lines(*rows)))
    assert (one.text, one.messages) == ("How do I keep bees?", ())
    assert other.text == "And how to stop it?"
    assert [m.role for m in other.messages] == ["system", "user", "assistant"]


def test_neighboring_turns_of_one_role_are_joined(write: Write) -> None:
    prompt = only(write("a.jsonl", lines(chat(user("I have a question."), user("How tall is a giraffe?")))))
    assert (prompt.text, prompt.messages) == ("I have a question.\n\nHow tall is a giraffe?", ())


def test_a_greeting_of_the_assistant_is_left_out_and_announced(write: Write) -> None:
    loaded = load_prompts(write("a.jsonl", lines(chat({"role": "assistant", "content": "Hi!"}, user("Why?")))))
    assert loaded.prompts[0].messages == ()
    assert "turns of the assistant before the first of the user (1 row)" in loaded.notices[0]


@pytest.mark.parametrize(("role", "read"), [("Human", "user"), ("GPT", "assistant"), ("developer", "system")])
def test_other_names_of_roles_are_understood(write: Write, role: str, read: str) -> None:
    first = {"role": role, "content": "Hm."}
    prompt = only(write("a.jsonl", lines(chat(user("Why?"), first, user("And?")))))
    assert read == "user" or read in [m.role for m in prompt.messages]


def test_one_bad_row_does_not_cost_the_file(write: Write) -> None:
    rows: list[Any] = [{"prompt": "a?"}, {"prompt": None}, {"prompt": "b?"}, {"prompt": 5}, chat(user(None))]
    loaded = load_prompts(write("a.jsonl", lines(*rows)))
    assert [p.text for p in loaded] == ["a?", "b?"]
    assert [one.reason for one in loaded.skipped] == [
        "the prompt is null.",
        "this is a number, not a text.",
        "the content is null.",
    ]
    assert "3 rows skipped: line 2, line 4, line 5" in loaded.notices[0]


def test_a_file_without_a_usable_row_is_refused_by_its_first_reason(write: Write) -> None:
    assert "line 1, field 'prompt': the prompt is null" in refused(write("a.jsonl", lines({"prompt": None}, {"x": 1})))
    assert "the prompt is empty" in refused(write("b.jsonl", lines({"prompt": "\u200b\ufeff "})))


# L, O


@pytest.mark.parametrize("empty", [None, ""])
def test_a_row_to_judge_without_text_keeps_its_place(write: Write, empty: Any) -> None:
    rows = load_rows(write("a.jsonl", lines({"id": 1, "text": "a"}, {"id": 2, "text": empty}, {"id": 3, "text": "b"})))
    assert [row.text for row in rows] == ["a", "", "b"]
    assert ("the text is null" in rows[1].note) == (empty is None)


def test_a_row_to_judge_of_another_type_has_a_note(write: Write) -> None:
    rows = load_rows(write("a.jsonl", lines({"id": 1, "text": ["a"]}, {"id": 2, "text": "b"})))
    assert "this is a list" in rows[0].note
    assert (rows[1].note, rows[1].text) == ("", "b")


@pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv follows the advice")
def test_the_advice_for_windows_1252_brings_the_text_back(write: Write, tmp_path: Path) -> None:
    path = write("cp1252.csv", "prompt;id\nWhat’s “this”?;1\n".encode("cp1252"))
    assert "iconv -f windows-1252 -t utf-8" in refused(path)
    new = tmp_path / "new.csv"
    new.write_bytes(subprocess.run(["iconv", "-f", "windows-1252", "-t", "utf-8", path], capture_output=True).stdout)
    assert only(new).text == "What’s “this”?"


@pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv follows the advice")
@pytest.mark.parametrize("text", ["What’s the café’s dish? Äpfel, größer, «señor».", "Wie groß? Schönes für Äste"])
@pytest.mark.parametrize("codec", ["cp1252", "mac_roman", "cp850", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_advice_on_an_encoding_brings_the_text_back(write: Write, tmp_path: Path, codec: str, text: str) -> None:
    text = text.replace("’", "'") if codec == "cp850" else text
    path = write("a.txt", f"{text}\n".encode(codec))
    step = re.search(r"iconv -f (\S+) -t utf-8 FILE > NEW", refused(path))
    assert step
    new = tmp_path / "new.txt"
    new.write_bytes(subprocess.run(["iconv", "-f", step[1], "-t", "utf-8", path], capture_output=True).stdout)
    assert only(new).text == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["Какая самая высокая гора?\nГде ключ?\n", "Πού είναι;\nΤι ώρα είναι;\n"])
def test_utf_16_without_a_mark_is_named_in_other_scripts(write: Write, codec: str, text: str) -> None:
    assert f"iconv -f {codec.replace('-le', 'le').replace('-be', 'be')}" in refused(write("a.txt", text.encode(codec)))
    assert "not a text file" in refused(write("b.txt", b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(range(256)) * 8))


def test_letters_of_central_europe_are_not_taken_for_windows_1252(write: Write) -> None:
    advice = refused(write("a.txt", "Jak daleko jest Łódź? Może pięć kilometrów.\n".encode("cp1250")))
    assert "windows-1252" not in advice
    assert "Find out the encoding" in advice


def test_a_missing_file_is_advised_by_what_is_there(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write("questions.jsonl", '{"prompt": "Why?"}\n')
    for name in ("Questions.jsonl", "questions.json", "question.jsonl", "questions.jsonl ", "'questions.jsonl'"):
        assert f"Did you mean {rows}?" in refused(tmp_path / name), name
    (tmp_path / "link").symlink_to("gone.csv")
    assert "a link to gone.csv, which is not there" in refused(tmp_path / "link")
    assert f"There is no folder {tmp_path / 'data'}" in refused(tmp_path / "data" / "x.csv")
    assert refused(tmp_path / "other.csv").endswith("Check the path.")
    monkeypatch.chdir(tmp_path)
    assert "hf:OWNER/NAME:SPLIT" in refused(Path("some/dataset"))
    assert "This is an address" in refused(Path("https://example.com/x.jsonl"))


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("a.json", '[\n{"prompt": "a"},\n{"prompt": "b",}\n]\n', "Fix the syntax there"),
        ("a.json", '[\n{"prompt": "a"},\n', "Fix the syntax there"),
        ("a.jsonl", "{“prompt”: “a”}\n", "typographic quotes"),
        ("a.jsonl", "<!DOCTYPE html><html><body>404</body></html>\n", "web page"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "b"\n', "Write one object per line"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "git lfs pull"),
    ],
)
def test_a_broken_file_is_advised_by_its_content(write: Write, name: str, content: str, advice: str) -> None:
    assert advice in refused(write(name, content))


def test_the_advice_names_what_the_bytes_are_evidence_for(write: Write) -> None:
    assert "cut off" in refused(write("a.txt", "Tea or caf\u00e9".encode()[:-1]))
    assert "retype this line" in refused(write("a.txt", "é é é é ".encode() + b"\xe9 x"))
    assert "Find out the encoding" in refused(write("a.txt", "Привет, мир".encode("cp866") + b" \x81"))


# Chats and rows in other clothes

TURN = {"role": "user", "content": "Hi there"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'prompt,id\n"[{""role"": ""user"", ""content"": ""Hi there""}]",1\n'),
        ("a.csv", "prompt,id\n\"[{'role': 'user', 'content': 'Hi there'}]\",1\n"),
        ("a.csv", 'messages\n"[{""role"": ""user"", ""content"": ""Hi there""}]"\n'),
        ("a.jsonl", lines({"contents": [{"role": "user", "parts": [{"text": "Hi there"}]}]})),
        ("a.jsonl", lines({"body": {"messages": [TURN]}})),
        ("a.jsonl", lines({"conversation": [{"human": "Hi there", "assistant": "Hello."}]})),
        ("a.jsonl", lines({"messages": [{"author": {"role": "user"}, "content": {"parts": ["Hi there"]}}]})),
        ("a.jsonl", lines({"messages": [{"speaker": "human", "text": "Hi there"}]})),
        ("a.jsonl", lines([TURN])),
        ("a.json", json.dumps([[TURN]])),
        ("a.txt", json.dumps(["Hi there"])),
        ("a.txt", '"prompt"\n"Hi there"\n'),
        ("a.md", "| prompt | id |\n|---|:-:|\n| Hi there | 1 |\n"),
        ("a.jsonl", lines({"prompt": "\n\nHuman: Hi there\n\nAssistant:"})),
        ("a.jsonl", lines({"instruction": "Hi there", "input": "<noinput>"})),
    ],
)
def test_chats_and_tables_of_other_tools_are_read(write: Write, name: str, text: str) -> None:
    prompt = only(write(name, text))
    assert (prompt.text, prompt.messages) == ("Hi there", ())


def test_a_transcript_as_prompt_keeps_its_turns(write: Write) -> None:
    prompt = only(write("a.jsonl", lines({"prompt": "Human: Hi?\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant:"})))
    assert (prompt.text, prompt.messages) == ("Why?", (Message("user", "Hi?"), Message("assistant", "Hello.")))


def test_a_tool_result_without_content_does_not_cost_the_row(write: Write) -> None:
    calls = {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}
    row = {"messages": [TURN, calls, {"role": "tool", "content": None}, {"role": "user", "content": "And?"}]}
    loaded = load_prompts(write("a.jsonl", lines(row)))
    assert loaded.prompts[0].text == "Hi there\n\nAnd?"
    assert "tool calls and their results (1 row)" in loaded.notices[0]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.txt", "{'prompt': 'Hi'}\n{'prompt': 'Ho'}\n", "json.dumps"),
        ("a.txt", '[{"prompt": "a"},\n{"prompt": "b"},]\n', "not JSON"),
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}\n', "'prompt' is there twice"),
        ("a.csv", "prompt\n\"[{'role': 'user'} {'role': 'user'}]\"\n", "neither JSON nor Python"),
        ("a.txt", "<!DOCTYPE html>\n<p>Hi</p>\n", "HTML"),
        ("a.txt", "<?xml version='1.0'?>\n<a>Hi</a>\n", "XML"),
        ("a.txt", "{\\rtf1\\ansi Hi}\n", "RTF"),
        ("a.txt", 'data: {"prompt": "Hi"}\n', "event stream"),
        ("a.txt", '[[principles]]\nid = "a"\n', "TOML"),
        ("a.txt", "Human: Hi\n\nAssistant: Ho\n", "transcripts"),
    ],
)
def test_other_formats_are_not_taken_for_lines_of_text(write: Write, name: str, text: str, reason: str) -> None:
    assert reason in refused(write(name, text))


@pytest.mark.parametrize("mark", ["<|im_start|>user\nHi<|im_end|>", "[INST] Hi [/INST]", "### Instruction:\nHi"])
def test_prompts_that_hold_a_chat_template_are_named(write: Write, mark: str) -> None:
    loaded = load_prompts(write("a.jsonl", lines({"prompt": mark})))
    assert "marks of a chat template in prompts" in loaded.notices[0]
    assert "(1 prompt)" in loaded.notices[0]


SYSTEM = ("system", "Be brief.")


@pytest.mark.parametrize(
    ("row", "text", "before"),
    [
        ({"input": "Why?", "instructions": "Be brief."}, "Why?", [SYSTEM]),
        ({"messages": [{"role": "user", "content": [{"text": "Why?"}]}], "system": [{"text": "Be brief."}]}, "Why?",
         [SYSTEM]),
        (
            {
                "contents": [{"role": "user", "parts": [{"text": "Why?"}]}],
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
            },
            "Why?",
            [SYSTEM],
        ),
        ({"request": {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}}, "Why?", []),
        ({"params": {"system": "Be brief.", "messages": [{"role": "user", "content": "Why?"}]}}, "Why?", [SYSTEM]),
        ({"text": "### Human: Hi### Assistant: Yo.### Human: Why?### Assistant: So."}, "Why?",
         [("user", "Hi"), ("assistant", "Yo.")]),
        ({"chosen": "\r\n\r\nHuman: Hi\r\n\r\nAssistant: Yo\r\n\r\nHuman: Why?\r\n\r\nAssistant: So"}, "Why?",
         [("user", "Hi"), ("assistant", "Yo")]),
        ({"transcript": "\n\nHuman: Why?\n\nAssistant: So."}, "Why?", []),
        ({"prompt": "Why?", "history": [{"role": "user", "content": "Hi"}, {"role": "bot", "content": "Yo"}]}, "Why?",
         [("user", "Hi"), ("assistant", "Yo")]),
        ({"Instruction": "Why?", "Input": "The sky."}, "Why?\n\nThe sky.", []),
        ({"prompt": {"role": "user", "content": "Why?"}}, "Why?", []),
        ({"turns": [{"role": "user", "content": "Why?"}]}, "Why?", []),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""},
                       {"role": "user", "content": "Why?"}]}, "Hi\n\nWhy?", []),
    ],
)  # fmt: skip
def test_nothing_of_these_rows_is_left_out(
    write: Write, row: dict[str, Any], text: str, before: list[tuple[str, str]]
) -> None:
    prompt = only(write("a.jsonl", lines(row)))
    assert prompt.text == text
    assert [(message.role, message.content) for message in prompt.messages] == before


def test_an_answer_is_not_asked_as_a_prompt(write: Write) -> None:
    rows = lines({"text": "Why?", "role": "prompter"}, {"text": "So.", "role": "assistant"})
    loaded = load_prompts(write("flat.jsonl", rows))
    assert [prompt.text for prompt in loaded] == ["Why?"]
    assert loaded.skipped[0].reason == "the row is a turn of the assistant, not of the user."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sep=;\nprompt;x\nWhy?;1\nHow, then?;2\n"),
        ("a.txt", '"prompt"\n"Why?"\n"How, then?"\n'),
        ("a.txt", '"Why?",\n"How, then?"\n'),
        ("a.jsonl", '"Why?"\n"How, then?"\n'),
        ("a.json", '\x1e{"prompt": "Why?"}\n\x1e{"prompt": "How, then?"}\n'),
        ("a.json", '{"prompt": ["Why?", "How, then?"], "topic": ["a", "b"], "version": 1}'),
        ("a.yaml", "- Why?\n- How, then?\n"),
        ("a.yaml", "prompts:\n  - Why?\n  - How, then?\n"),
        ("a.json", '{"prompts": ["Why?", "How, then?"]}'),
    ],
)
def test_texts_in_other_wrappings_are_read(write: Write, name: str, content: str) -> None:
    assert [prompt.text for prompt in load_prompts(write(name, content))] == ["Why?", "How, then?"]


def test_a_quoted_cell_may_span_lines_whatever_the_name(write: Write) -> None:
    assert [prompt.text for prompt in load_prompts(write("a.txt", '"prompt"\n"One\ntwo?"\n'))] == ["One\ntwo?"]


@pytest.mark.parametrize("content", ["frage\tantwort\nWarum?\tDarum\n", "goal,target\nWrite a,Sure\nWrite b,Sure\n"])
def test_a_table_of_unknown_columns_is_no_list_of_texts(write: Write, content: str) -> None:
    path = write("a.txt", content)
    column = content.replace(",", "\t").split("\t")[0]
    with pytest.raises(InputError, match=f"table with the columns {column}") as raised:
        load_prompts(path)
    assert f"--map prompt={column}" in raised.value.next_step
    assert load_prompts(path, columns={"prompt": column}).prompts[0].text in ("Warum?", "Write a")


@pytest.mark.parametrize(
    ("encoding", "text"), [("shift-jis", "日本語の質問は何ですか"), ("cp1251", "Почему небо синее?")]
)
def test_other_scripts_are_not_taken_for_windows_1252(write: Write, encoding: str, text: str) -> None:
    with pytest.raises(InputError) as raised:
        load_prompts(write("a.txt", text.encode(encoding)))
    assert "windows-1252" not in raised.value.next_step


def test_known_names_of_json_rows_are_read_in_any_case(write: Write) -> None:
    rows = [
        {"prompt": "Why?", "Context": "It rains.", "System": "Be brief.", "Notes": "x"},
        {"Prompt": "How?", "ID": 7},
    ]
    loaded = load_prompts(write("rows.jsonl", "\n".join(map(json.dumps, rows))))
    assert [prompt.text for prompt in loaded] == ["Why?\n\nIt rains.", "How?"]
    assert [message.content for message in loaded.prompts[0].messages] == ["Be brief."]
    assert loaded.prompts[1].id == "7"
    assert loaded.unused == {"Notes": 1}


def test_the_numbers_of_a_list_that_was_pasted_as_text_are_left_out(write: Write) -> None:
    loaded = load_prompts(write("list.txt", "# mine\n1. Why?\n2) How?\n\n(3) 4. of July, when?\n"))
    assert [prompt.text for prompt in loaded] == ["Why?", "How?", "4. of July, when?"]
    assert any("numbers that the lines begin with" in notice for notice in loaded.notices)
    for text in ("1. Why?\n3. How?\n", "1984. What is it about?\n", "Why?\n2. How?\n"):
        assert [prompt.text for prompt in load_prompts(write("other.txt", text))] == text.splitlines()


def test_whole_numbers_written_as_floats_are_ids(write: Write) -> None:
    loaded = load_prompts(write("rows.jsonl", '{"id": 1.0, "prompt": "Why?"}\n{"id": 2.0, "prompt": "How?"}\n'))
    assert [prompt.id for prompt in loaded] == ["1", "2"]


def test_a_place_of_a_picture_in_a_prompt_is_named(write: Write) -> None:
    (notice,) = load_prompts(write("rows.jsonl", '{"prompt": "<image>\\nWhat is this?"}\n')).notices
    assert "<image> (1 prompt)" in notice


CALL_PART = {"type": "tool_use", "id": "1", "name": "weather", "input": {}}
RESULT_PART = {"type": "tool_result", "tool_use_id": "1", "content": "3 C"}


@pytest.mark.parametrize(
    ("turns", "earlier", "left_out"),
    [
        (
            [
                {"role": "assistant", "content": [{"type": "text", "text": "Looking."}, CALL_PART]},
                {"role": "user", "content": [RESULT_PART]},
            ],
            ["Hi?", "Looking."],
            "tool calls and their results",
        ),
        (
            [{"role": "assistant", "content": [{"type": "thinking", "thinking": "h"}, {"type": "text", "text": "A."}]}],
            ["Hi?", "A."],
            "thoughts of the model",
        ),
        (
            [{"role": "assistant", "content": [CALL_PART]}, {"role": "assistant", "content": "A."}],
            ["Hi?", "A."],
            "tool calls",
        ),
        ([{"role": "model", "parts": [{"functionCall": {}}]}, {"role": "model", "parts": [{"text": "A."}]}],
         ["Hi?", "A."], "tool calls"),
        (
            [
                {"role": "assistant", "channel": "analysis", "content": "hm"},
                {"role": "assistant", "channel": "final", "content": "A."},
            ],
            ["Hi?", "A."],
            "thoughts of the model (1 row).",
        ),
        ([{"role": "assistant", "content": None, "refusal": "No."}], ["Hi?", "No."], ""),
    ],
)  # fmt: skip
def test_parts_that_are_no_words_to_the_user_are_left_out_and_counted(
    write: Write, turns: list[dict[str, Any]], earlier: list[str], left_out: str
) -> None:
    chat = [{"role": "user", "content": "Hi?"}, *turns, {"role": "user", "content": "And then?"}]
    loaded = load_prompts(write("chat.jsonl", lines({"messages": chat})))
    assert loaded.prompts[0].text == "And then?"
    assert [message.content for message in loaded.prompts[0].messages] == earlier
    assert left_out in " ".join(loaded.notices)


def test_the_result_of_a_tool_is_not_asked_as_the_last_question(write: Write) -> None:
    turns = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": [CALL_PART]},
             {"role": "user", "content": [RESULT_PART]}]  # fmt: skip
    assert only(write("chat.jsonl", lines({"messages": turns}))).text == "Weather?"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "prompt,id\nOne?,1\n\ufeffprompt,id\nTwo?,2\n"),
        ("a.csv", "\u200bprompt,id\nOne?,1\nTwo?,2\n"),
        ("a.jsonl", '{"prompt": "One?"}\n\ufeff{"prompt": "Two?"}\n'),
        ("a.jsonl", '{"\u200bprompt": "One?"}\n{"prompt ": "Two?"}\n'),
        ("a.jsonl", '{"prompt": "One?"}\n{"prompt": "\u3164"}\n{"prompt": "\u200b\u2800"}\n{"prompt": "Two?"}\n'),
        ("a.txt", "| prompt | id |\n|--------+----|\n| One? | 1 |\n| Two? | 2 |\n"),
        (
            "a.txt",
            "+--------+----+\n| prompt | id |\n+========+====+\n| One?   | 1  |\n| Two?   | 2  |\n+--------+----+\n",
        ),
        ("a.txt", "- One?\n- Two?\n"),
        ("a.txt", "• One?\n• Two?\n"),
        ("a.md", "- One?\n\n```\n- not a prompt\n```\n- Two?\n"),
    ],
)
def test_what_stands_around_prompts_is_not_asked(write: Write, name: str, content: str) -> None:
    assert [prompt.text for prompt in load_prompts(write(name, content))] == ["One?", "Two?"]


@pytest.mark.parametrize("text", ["- One?\n* Two?\n", "-5 or 5?\n-6 or 6?\n", "- One?\nTwo?\n", "A: one\nB: two\n"])
def test_lines_that_only_begin_like_a_list_stay_as_they_are(write: Write, text: str) -> None:
    assert [prompt.text for prompt in load_prompts(write("a.txt", text))] == text.splitlines()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('const prompts = [\n  "One?",\n  "Two?",\n];\n', "program code"),
        ("prompts: list[str] = [\n    'One?',\n    'Two?',\n]\n", "program code"),
        ("1\n00:00:01,000 --> 00:00:02,000\nHello?\n", "subtitles"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHello?\n", "subtitles"),
        ("2026-11-01 12:00:01 INFO What?\n2026-11-01 12:00:02 INFO So.\n", "a log"),
        ("[01.11.26, 12:00:01] Ann: What?\n[01.11.26, 12:00:02] Bob: So.\n", "a chat as an app exports it"),
        ("Q: What is one?\nA: One.\n", "transcripts"),
        ("USER: What is one?\nBot: One.\n", "transcripts"),
        ("\\documentclass{article}\n\\begin{document}\nWhat?\n", "LaTeX"),
        ("--- a\n+++ b\n@@ -1 +1 @@\n-What?\n+Why?\n", "a patch"),
        ("From: a@b\nX-Mailer: x\nSubject: Hello\n\nWhat is it?\n", "a mail"),
    ],
)
def test_lines_of_documents_and_programs_are_no_prompts(write: Write, text: str, what: str) -> None:
    assert what in refused(write("a.txt", text))


def test_what_programs_write_for_a_missing_text_is_no_text(write: Write) -> None:
    rows = "prompt,input,system,principle,demonstration\nnan,x,x,x,x\nNone,x,x,x,x\nWhy?,nan,NaN,null,N/A\n"
    loaded = load_prompts(write("a.csv", rows))
    assert [(p.text, p.messages, p.principle, p.demonstration) for p in loaded] == [("Why?", (), "", "")]
    assert "2 rows skipped: line 2, line 3: the prompt is what programs write for a missing text" in loaded.notices[0]


def test_several_texts_that_a_question_is_about_are_all_asked(write: Write) -> None:
    row = {"question": "Who?", "context": ["Doc one.", "Doc two."]}
    assert only(write("a.jsonl", lines(row))).text == "Who?\n\nDoc one.\n\nDoc two."
