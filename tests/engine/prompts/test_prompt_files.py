"""Prompts and rows from a person's own files: every format, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from engine.models.inference.requests import Message
from engine.prompts import Prompt, PromptSet, Row, load_prompts, load_rows, overlap, prompt_hash
from engine.prompts.files import MAX_LINE_BYTES

Write = Callable[[str, str | bytes], Path]
Loaded = PromptSet | tuple[Row, ...]
SUFFIXES = [".txt", ".csv", ".tsv", ".json", ".jsonl", ""]


def texts(path: Path) -> list[str]:
    return [prompt.text for prompt in load_prompts(path)]


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    assert caught.value.where
    assert caught.value.next_step
    return str(caught.value)


# Formats


def test_plain_text_is_one_prompt_a_line_without_blanks_and_comments(write: Write) -> None:
    path = write("mine.txt", "# my prompts\nHow are you?\r\n\n   Name a tree.  \n#end\n")
    loaded = load_prompts(path)
    assert [(prompt.id, prompt.text) for prompt in loaded] == [
        ("mine-001", "How are you?"),
        ("mine-002", "Name a tree."),
    ]
    assert (loaded.name, loaded.source) == ("mine", str(path))


@pytest.mark.parametrize("column", ["prompt", "instruction", "question", "text", "Prompt", " TEXT "])
def test_csv_takes_the_column_that_holds_prompts(write: Write, column: str) -> None:
    assert texts(write("a.csv", f'number,{column}\n1,"Salt, or pepper?"\n\n2,"two\nlines ""quoted"""\n')) == [
        "Salt, or pepper?",
        'two\nlines "quoted"',
    ]


def test_csv_prefers_prompt_and_reads_id_topic_and_principle(write: Write) -> None:
    path = write("a.csv", "id,text,prompt,topic,principle\n7,other,Hello?,food,fairness\n")
    assert load_prompts(path).prompts == (Prompt("7", "Hello?", "food", "fairness"),)


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.tsv", "\t"), ("a.csv", "\t")])
def test_tables_may_be_divided_by_semicolons_or_tabs(write: Write, name: str, delimiter: str) -> None:
    assert texts(write(name, f"id{delimiter}prompt\n1{delimiter}Yes, why?\n")) == ["Yes, why?"]


def test_jsonl_takes_prompt_only_rows_of_trl(write: Write) -> None:
    path = write("a.jsonl", '{"prompt": "One?"}\n\n{"prompt": "Two?", "id": 12, "topic": "food"}\n')
    assert load_prompts(path).prompts == (Prompt("a-001", "One?"), Prompt("12", "Two?", "food"))


@pytest.mark.parametrize("field", ["prompt", "messages"])
def test_of_a_chat_the_last_turn_of_the_user_is_the_prompt_and_earlier_turns_are_kept(write: Write, field: str) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And now?"},
        {"role": "assistant", "content": "dropped"},
    ]
    (prompt,) = load_prompts(write("a.jsonl", json.dumps({field: turns})))
    assert prompt.text == "And now?"
    assert prompt.messages == (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello"))


def test_json_may_be_a_list_one_object_or_lines(write: Write) -> None:
    rows = [{"prompt": "One?"}, {"prompt": "Two?"}]
    assert texts(write("list.json", json.dumps(rows, indent=2))) == ["One?", "Two?"]
    assert texts(write("object.json", json.dumps(rows[0], indent=2))) == ["One?"]
    assert texts(write("lines.json", "\n".join(map(json.dumps, rows)))) == ["One?", "Two?"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json"])
def test_a_byte_order_mark_is_no_part_of_the_text(write: Write, name: str) -> None:
    content = {"a.txt": "Why?", "a.csv": "prompt\nWhy?\n"}.get(name, '{"prompt": "Why?"}')
    assert texts(write(name, b"\xef\xbb\xbf" + content.encode())) == ["Why?"]


def test_control_characters_are_stripped(write: Write) -> None:
    assert texts(write("a.jsonl", '{"prompt": "\\u001b[2JWhy\\u0000 \\u202enot?\\ud800"}')) == ["[2JWhy not??"]


def test_the_hash_of_a_set_is_of_its_bytes(write: Write) -> None:
    one, other = load_prompts(write("a.txt", "Why?\n")), load_prompts(write("b.txt", "Why? \n"))
    assert one.sha256 != other.sha256
    assert one.prompts[0].sha256 == other.prompts[0].sha256


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen([sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('Why?')", str(path)]):
        assert texts(path) == ["Why?"]


def test_a_home_folder_is_expanded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(write("mine.txt", "Why?").parent))
    assert texts(Path("~/mine.txt")) == ["Why?"]


# What can be wrong


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "", "a.txt: the file is empty"),
        ("a.txt", "\n \n", "a.txt: the file is empty"),
        ("a.txt", "# only\n# comments", "a.txt: there is no prompt in it"),
        ("a.csv", "prompt\n", "a.csv: there is no prompt in it"),
        ("a.txt", b"fine\ncaf\xe9\n", "a.txt, line 2: byte 0xe9 at offset 8 is not UTF-8"),
        ("a.txt", "W\0hy?", "a.txt: there is a NUL byte at offset 1"),
        ("a.csv", "Why?".encode("utf-16"), "a.csv: it is UTF-16"),
        (
            "a.csv",
            "name,age\nx,1\n",
            "a.csv, line 1: no column is named prompt or instruction or question or text; the columns are: name, age",
        ),
        ("a.csv", "prompt,Prompt\na,b\n", "a.csv, line 1: 2 columns are named prompt"),
        ("a.csv", "id,prompt\n1,Salt, or pepper?\n", "a.csv, line 2: the row has 3 cells, the header 2"),
        ("a.csv", 'prompt\nfine\n"open\nend', "a.csv, line 3: this is not a CSV row"),
        ("a.csv", "prompt,id\n,1\n", "a.csv, line 2, field 'prompt': the prompt is empty"),
        ("a.csv", "id,prompt\n1\n", "a.csv, line 2, field 'prompt': there is no prompt"),
        ("a.csv", "prompt\n" + "x" * 140_000, "a.csv, line 2: this is not a CSV row (field larger than"),
        ("a.jsonl", '{"prompt": "a"}\nnot json\n', "a.jsonl, line 2: this is not JSON (Expecting value at column 1)"),
        ("a.jsonl", '{"prompt": "a"}\n[1]\n', "a.jsonl, line 2: this is a list, not an object"),
        ("a.jsonl", '{"prompt": 5}', "a.jsonl, line 1, field 'prompt': this is a number, not a text"),
        ("a.jsonl", '{"prompt": null}', "a.jsonl, line 1, field 'prompt': the prompt is null"),
        ("a.jsonl", "{}", "a.jsonl, line 1, field 'prompt': there is no prompt; the fields are: none"),
        ("a.jsonl", '{"chosen": "a", "rejected": "b"}', "the fields are: chosen, rejected"),
        ("a.jsonl", '{"messages": "hi"}', "a.jsonl, line 1, field 'messages': this must be a list of turns"),
        ("a.jsonl", '{"prompt": ["hi"]}', "a.jsonl, line 1, field 'prompt[0]': a turn is a text, not an object"),
        ("a.jsonl", '{"prompt": [{"role": "user"}]}', "a.jsonl, line 1, field 'prompt[0]': the content is null"),
        ("a.jsonl", '{"prompt": [{"role": "owl", "content": "x"}]}', "field 'prompt[0]': the role is owl"),
        ("a.jsonl", '{"prompt": []}', "a.jsonl, line 1, field 'prompt': no turn has the role user"),
        ("a.jsonl", '{"prompt": "a", "id": [1]}', "a.jsonl, line 1, field 'id': the id is a list"),
        ("a.jsonl", '{"prompt": "a", "id": true}', "a.jsonl, line 1, field 'id': the id is true or false"),
        ("a.jsonl", json.dumps({"prompt": "a", "id": "x" * 201}), "field 'id': the id has 201 characters"),
        ("a.jsonl", '{"prompt": "a", "topic": 3}', "a.jsonl, line 1, field 'topic': this is a number"),
        (
            "a.jsonl",
            '{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "x"}',
            "a.jsonl, line 2, field 'id': the id 'x' was used before, at",
        ),
        ("a.jsonl", '{"prompt": ' + "[" * 100_000, "a.jsonl, line 1: this is not JSON"),
        ("a.jsonl", '{"prompt": ' + "9" * 5_000 + "}", "a.jsonl, line 1: this is not JSON (Exceeds the limit"),
        ("a.json", '[{"prompt": "a"}, 3]', "a.json, item 2: this is a number"),
        (
            "a.json",
            '[{"prompt": "a"},\n{"prompt" "b"}]',
            "a.json: this is not JSON (Expecting ':' delimiter at line 2, column 11)",
        ),
        ("a.json", '"text"', "a.json, item 1: this is a text, not an object"),
    ],
)
def test_a_bad_file_is_refused_with_file_line_field_and_advice(
    write: Write, name: str, content: str | bytes, expected: str
) -> None:
    assert expected in message(write(name, content))


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_line_of_fifty_megabytes_is_refused_with_its_number(write: Write, name: str) -> None:
    path = write(name, b'{"prompt": "ok"}\n' + b"x" * 50 * 1024 * 1024)
    assert f"{name}, line 2: the line has 52,428,800 bytes; at most {MAX_LINE_BYTES:,}" in message(path)


def test_missing_files_folders_and_unusable_paths_are_refused(tmp_path: Path) -> None:
    assert "there is no such file" in message(tmp_path / "none.txt")
    assert "this is a folder" in message(tmp_path)
    assert "NUL character" in message(Path("a\0b.txt"))
    assert "cannot be read" in message(tmp_path / ("x" * 5000))
    assert "no user of this name" in message(Path("~nobody-of-this-name/a.txt"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(write: Write) -> None:
    path = write("a.txt", "Why?")
    path.chmod(0)
    assert "no permission" in message(path)


def test_messages_hold_no_control_characters_of_file_or_path(write: Write) -> None:
    shown = message(write("a\x1b[2J\n.jsonl", '{"\\u001b[31mname": "a"}'))
    assert "\x1b" not in shown
    assert "\n" not in shown


# Rows to judge


def test_rows_have_ids_texts_and_prompts_and_may_be_empty(write: Write) -> None:
    path = write(
        "rows.jsonl", '{"id": 1, "text": "a\\u0000b", "prompt": "Why?"}\n{"id": "x", "text": "", "label": 1}\n'
    )
    assert [(row.id, row.text, row.prompt) for row in load_rows(path)] == [("1", "a\u200bb", "Why?"), ("x", "", "")]


def test_rows_of_a_million_characters_are_taken(write: Write) -> None:
    (row,) = load_rows(write("rows.jsonl", json.dumps({"id": "1", "text": "é" * 1_000_000})))
    assert len(row.text) == 1_000_000


def test_plain_lines_are_rows_with_numbers_for_ids(write: Write) -> None:
    assert [row.id for row in load_rows(write("rows.txt", "one\n\ntwo\n"))] == ["line-1", "line-2"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"text": "a"}', "rows.jsonl, line 1, field 'id': the row has no id"),
        ('{"id": "1", "prompt": "a"}', "rows.jsonl, line 1, field 'text': there is no text"),
        ('{"id": "1", "text": ["a"]}', "rows.jsonl, line 1, field 'text': this is a list"),
        ('{"id": "1", "text": "a", "prompt": 1}', "rows.jsonl, line 1, field 'prompt': this is a number"),
        ('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', "rows.jsonl, line 2, field 'id': the id '1' was used"),
    ],
)
def test_bad_rows_are_refused_with_line_and_field(write: Write, content: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load_rows(write("rows.jsonl", content))
    assert expected in str(caught.value)


# Hashes


def test_a_hash_ignores_case_white_space_and_unicode_form() -> None:
    assert prompt_hash("Café  au\n lait?") == prompt_hash(" CAFE\u0301 au lait?\u200e ")
    assert prompt_hash("tea?") != prompt_hash("tea!")


@given(st.text())
def test_a_hash_is_that_of_the_text_as_loaded_for_every_text(text: str) -> None:
    assert prompt_hash(text) == prompt_hash(f" \t{text}\n")
    assert len(prompt_hash(text)) == 64


def test_a_follow_up_is_another_prompt_than_the_same_words_after_another_turn(write: Write) -> None:
    def chat(*turns: str) -> str:
        roles = ["user", "assistant"]
        return json.dumps({"prompt": [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]})

    one = load_prompts(write("one.jsonl", chat("Name a tree.", "Oak", "Another?")))
    other = load_prompts(write("other.jsonl", chat("Name a fish.", "Cod", "Another?")))
    assert overlap(one, other) == ()
    assert len(overlap(one, one)) == 1


def test_a_system_text_does_not_hide_a_held_out_prompt(write: Write) -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    assert overlap(load_prompts(write("a.jsonl", json.dumps({"prompt": turns}))), load_prompts(write("b.txt", "why?")))


# Anything at all

_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "messages", "text", "id", "role", "content", "topic", "question"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_rows = st.lists(_json_values, max_size=4)
_contents = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet='prompt,;\t"\n\r{}[]:#0 idéx\0', max_size=120).map(str.encode),
    _rows.map(lambda rows: json.dumps(rows).encode()),
    _rows.map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    st.text(max_size=60).map(lambda text: b"id,prompt\n1," + text.encode("utf-8", "surrogatepass")),
)


@settings(max_examples=600, deadline=None)
@given(content=_contents, suffix=st.sampled_from(SUFFIXES))
def test_any_bytes_give_prompts_and_rows_or_an_input_error(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(content)
        prompts, rows = (attempt(load, path) for load in (load_prompts, load_rows))
    for outcome in (prompts, rows):
        if isinstance(outcome, InputError):
            assert "file" in outcome.where
            assert outcome.next_step
            assert "\x1b" not in str(outcome)
        else:
            ids = [item.id for item in outcome]
            assert len(set(ids)) == len(ids) > 0
            assert all(ids)
    if isinstance(prompts, PromptSet):
        assert all(prompt.text.strip() for prompt in prompts)


def attempt(load: Callable[[Path], Loaded], path: Path) -> Loaded | InputError:
    try:
        return load(path)
    except InputError as error:
        return error


def test_reading_prompts_needs_no_model_library() -> None:
    code = "import sys, engine.prompts; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
