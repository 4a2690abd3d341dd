"""Every file that a person can bring, damaged: the reader gives it or says in a sentence what is wrong and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import cases, check_call, holds_no_control, picture, redraft, refusal, refuse_to_begin
from hypothesis import given
from hypothesis import strategies as st
from mutilation import VALUES, as_json, damaged, replaced

from engine.constitution.load import load
from engine.errors import RedraftError
from engine.judges.labeled import read_labeled
from engine.judges.rules.matching import failed_examples
from engine.prompts.load import load_prompts, load_rows
from engine.runs.folder import read_config
from engine.runs.store import inspect, list_runs, read_report
from engine.settings import RunConfig, to_json
from tui import keymap, themes
from tui.services import preferences

CONSTITUTION = b"""
name = "Plain words"

[words]
filler = ["important", "can"]

[[principles]]
id = "plain"
title = "Plain words"
short = "plain"
description = "Answers do without filler words."
weight = 2.0
critiques = ["Say which words are filler.", "Name them."]
revisions = ["Write it in one sentence."]

[[principles.rules]]
id = "plain.filler"
category = "filler"
pattern = '\\b{{filler}}\\b'
except_if = 'never'
match = ["It can help."]
must_not_match = ["No."]

[[principles]]
id = "kind"
description = "Answers are kind."
critiques = ["Say what is unkind."]
revisions = ["Write it kindly."]
"""

PAPER = {
    "harmful0": {"prompt": "CritiqueRequest: Name harm.", "edit_request": "RevisionRequest: Remove it."},
    "harmful1": {"prompt": ["Name more.", "And more."], "edit_request": "Remove all."},
}
CHATS = [
    {"id": "a", "prompt": "What is one?", "topic": "numbers", "principle": "plain"},
    {
        "id": 2,
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Hello?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "What is two?"},
        ],
    },
    {"prompt": [{"role": "user", "content": "What is three?"}]},
]
ROWS = [{"id": "1", "text": "It can help.", "prompt": "Help?"}, {"id": 2, "text": "No."}]
LABELLED = [
    {"text": "It can help.", "label": 1, "principle": "plain", "topic": "t", "category": "c"},
    {"id": "x", "text": "No.", "label": "clean", "prompt": "Well?"},
]
TABLE = b'id,prompt,topic\na,"What, is ""one""?",numbers\nb,What is two?,numbers\n'
PLAIN = b"# prompts\nWhat is one?\n\nWhat is two?\n"
KEYS = b'pause = "space"\nrun = ["ctrl+r", "f5"]\n[log]\nfold = "o"\n'
THEME = b'name = "mine"\ntitle = "Mine"\ndark = true\n[colors]\nforeground = "#ffffff"\naccent = "#aabbcc"\n'


def load_constitution(path: Path) -> object:
    return load(path, failed_examples)


def lined(rows: list[Any]) -> bytes:
    return b"\n".join(map(as_json, rows)) + b"\n"


READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "constitution.toml": (CONSTITUTION, load_constitution),
    "constitution.json": (as_json(PAPER), load_constitution),
    "prompts.txt": (PLAIN, load_prompts),
    "prompts.csv": (TABLE, load_prompts),
    "prompts.tsv": (TABLE.replace(b",", b"\t"), load_prompts),
    "prompts.jsonl": (lined(CHATS), load_prompts),
    "prompts.json": (as_json(CHATS), load_prompts),
    "rows.jsonl": (lined(ROWS), load_rows),
    "rows.json": (as_json(ROWS), load_rows),
    "rows.csv": (b"id,text,prompt\n1,It can help.,Help?\n2,No.,\n", load_rows),
    "labelled.jsonl": (lined(LABELLED), lambda path: read_labeled([path])),
    "labelled.json": (as_json(LABELLED), lambda path: read_labeled([path])),
    "labelled.csv": (b"text,label,principle\nIt can help.,1,plain\nNo.,0,\n", lambda path: read_labeled([path])),
}
"""Name of a file -> (a good one, how it is read)."""


def told(path: Path, data: bytes, read: Callable[[Path], object]) -> RedraftError | None:
    """What the reader says of the file; None where it takes it. Anything but a `RedraftError` comes through."""
    path.write_bytes(data)
    error = refusal(lambda: read(path))
    if error is not None:
        assert error.exit_code in {2, 3, 4}
        assert path.name in error.where, error
        assert holds_no_control(str(error)), repr(str(error))
        assert len(str(error)) < 1_500
    return error


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_are_damaged_here_are_good(tmp_path: Path, name: str) -> None:
    good, read = READERS[name]
    assert told(tmp_path / name, good, read) is None


@pytest.mark.parametrize("name", READERS)
def test_a_file_with_damaged_bytes_is_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    good, read = READERS[name]

    @cases(25, 250)
    @given(damaged(good))
    def check(data: bytes) -> None:
        told(tmp_path / name, data, read)

    check()


STRUCTURED: dict[str, tuple[Any, Callable[[Any], bytes], str]] = {
    "constitution.json": (PAPER, as_json, r"entry|, prompt|, edit_request|\.json$"),
    "prompts.jsonl": (CHATS, lined, r"line \d+"),
    "prompts.json": (CHATS, as_json, r"item \d+|\.json$"),
    "rows.jsonl": (ROWS, lined, r"line \d+"),
    "rows.json": (ROWS, as_json, r"item \d+|\.json$"),
    "labelled.jsonl": (LABELLED, lined, r"line \d+"),
    "labelled.json": (LABELLED, as_json, r"item \d+|\.json$"),
}
"""Name of a file -> (its values, how they are written, what the place of an error must look like)."""


@pytest.mark.parametrize("name", STRUCTURED)
def test_a_value_of_another_kind_is_named_with_its_line_and_field(tmp_path: Path, name: str) -> None:
    good, write, place = STRUCTURED[name]
    read = READERS[name][1]

    @cases(25, 250)
    @given(replaced(good))
    def check(made: tuple[Any, tuple[Any, ...]]) -> None:
        if not isinstance(made[0], type(good)):
            return
        error = told(tmp_path / name, write(made[0]), read)
        if error is not None and made[0]:
            assert re.search(place, error.where), error

    check()


TOML_VALUES = (
    "true",
    "1",
    "-1.5",
    "inf",
    "nan",
    "[]",
    "{}",
    '""',
    '" "',
    '"x"',
    "1979-05-27",
    "[[1]]",
    '["", 1]',
    "9" * 400,
)


@cases(80, 700)
@given(st.integers(0, 400), st.sampled_from(TOML_VALUES), st.sampled_from(("value", "key", "gone")))
def test_a_wrong_value_in_a_constitution_is_named_with_its_line_and_field(
    tmp_path_factory: pytest.TempPathFactory, number: int, value: str, kind: str
) -> None:
    rows = CONSTITUTION.decode().splitlines()
    keyed = [place for place, row in enumerate(rows) if " = " in row]
    place = keyed[number % len(keyed)]
    key = rows[place].partition(" = ")[0]
    rows[place] = {"value": f"{key} = {value}", "key": f"{key}y = {value}", "gone": ""}[kind]
    path = tmp_path_factory.mktemp("toml") / "constitution.toml"
    error = told(path, "\n".join(rows).encode(), load_constitution)
    if error is None or kind == "gone":
        return
    line = re.search(r"line (\d+)", error.where)
    assert line, error
    assert int(line[1]) - 1 == place or key in ("id", "filler", "match", "must_not_match", "pattern", "except_if"), (
        error
    )
    assert error.where.count(",") >= 2, error  # file, line, field


def _run_folder(home: Path) -> Path:
    folder = home / "data" / "runs" / "demo-1"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


RECORD = {"version": 1, "kind": "run", "created": 1.0, "config": to_json(RunConfig()), "hashes": {"constitution": "0"}}


@cases(150, 700)
@given(replaced(RECORD).map(lambda made: as_json(made[0])) | damaged(as_json(RECORD)))
def test_a_runs_settings_are_read_or_refused_by_field(bare_home: Path, data: bytes) -> None:
    folder = _run_folder(bare_home)
    (folder / "run.json").write_bytes(data)
    error = refusal(lambda: read_config(folder))
    if error is not None:
        assert "run.json" in error.where
        assert holds_no_control(str(error))
    else:
        config = read_config(folder)
        assert type(config.n_train) is int
        assert type(config.train.adam_beta1) in (float, int)
        assert config.draft.max_tokens >= 1
    inspect(folder)
    list_runs(folder.parent)


REPORT = {
    "summary": {
        "outcome": "confirmed",
        "scope": "s",
        "most": 4.0,
        "score": {"base": 0.8, "trained": 0.5, "n": 40, "relative": -0.4, "interval": [-0.5, -0.2], "excluded": 1},
        "violations": {"base": 3, "trained": 1, "n": 40, "better": 2, "worse": 0, "p": 0.2},
        "principles": [{"principle": "plain", "outcome": "better", "holm_p": 0.1, "result": {"base": 1, "trained": 0}}],
        "benign": [{"what": "refusals", "holds": True, "bound": 0.1, "margin": 0.2, "n": 9, "base": 0, "trained": 0}],
        "health": {
            "base": {"repetition": 0.1, "words": 9},
            "trained": {"repetition": 0.1, "words": 9},
            "alarms": ["a"],
        },
        "conditions": [{"id": "x", "met": True, "needed": True, "detail": "d"}],
    },
    "pairs": {"examples": 3, "kept": 1, "dropped": 2, "reasons": {"r": 2}},
    "models": {"generator": "g", "critic": "c"},
    "judge": {"name": "j", "accuracy": "a"},
    "constitution": {"name": "c"},
    "seconds": 9.0,
    "prompts": [{"id": "a", "prompt": "p", "base": "b", "trained": "t", "changes": [{"id": "x", "label": "y"}]}],
}


@cases(150, 500)
@given(replaced(REPORT).map(lambda made: as_json(made[0])) | damaged(as_json(REPORT)))
def test_a_report_is_shown_as_far_as_it_makes_sense(bare_home: Path, data: bytes) -> None:
    from engine.runs.report import Report
    from tui.views import report as reporting

    folder = _run_folder(bare_home)
    (folder / "report.json").write_bytes(data)
    error = refusal(lambda: read_report(folder))
    if error is not None:
        assert "report.json" in error.where
        return
    report = read_report(folder)
    assert holds_no_control(reporting.markdown(Report.of(report)))
    for width in (20, 88):
        assert holds_no_control(reporting.plain(reporting.lines(Report.of(report), width)))


@cases(60, 300)
@given(damaged(KEYS) | st.dictionaries(st.sampled_from(("pause", "run", "log", "x")), VALUES).map(as_json))
def test_a_keys_file_never_keeps_the_app_from_starting(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_bytes(data)
    made = keymap.load(path)
    assert all(str(path) in problem and holds_no_control(problem) for problem in made.problems)
    assert len(made.keys) == len(keymap.KEYS)
    assert all(key.keys and all(name.strip() for name in key.keys) for key in made.keys)


@pytest.mark.parametrize(
    "text",
    [
        'pause = ","',
        'pause = "a,b"',
        'run = ["ctrl+", "+", "ctrl+alt+shift+x"]',
        'pause = "\\u0000"',
        'pause = "\\u001b[31m"',
        f'pause = "{"x" * 5000}"',
        'pause = "[bold]"',
        '[log]\nfold = ["o", "o"]',
        "x" * 10_000,
        "a = " + "[" * 5_000,
    ],
)
async def test_the_app_starts_with_any_keys_file(bare_home: Path, text: str) -> None:
    from tui.app import RedraftApp

    (bare_home / "config").mkdir()
    (bare_home / "config" / "keys.toml").write_text(text)
    (bare_home / "config" / "themes").mkdir()
    (bare_home / "config" / "themes" / "x.toml").write_text(text)
    app = RedraftApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.1)
        await pilot.press("question_mark")
        await pilot.pause(0.1)
        assert app.is_running


@cases(60, 300)
@given(damaged(THEME))
def test_a_theme_that_cannot_be_used_is_told_and_left_out(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("themes")
    (folder / "mine.toml").write_bytes(data)
    palettes, problems = themes.load_all(folder)
    assert all("mine.toml" in problem and holds_no_control(problem) for problem in problems)
    for palette in palettes.values():
        palette.theme()
        assert holds_no_control(palette.title)


@cases(60, 300)
@given(damaged(as_json({"theme": "x", "verbosity": 2, "left": 30})) | VALUES.map(as_json))
def test_preferences_are_taken_as_far_as_they_make_sense(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("prefs") / "prefs.json"
    path.write_bytes(data)
    found = preferences.load(path)
    assert 0 <= found.verbosity <= 3
    assert 0 <= found.left <= 1_000


@cases(60, 600)
@given(st.data())
def test_the_command_line_refuses_a_damaged_file_and_writes_nothing(
    bare_home: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    refuse_to_begin(monkeypatch)
    name = data.draw(st.sampled_from(sorted(READERS)))
    harmed = data.draw(damaged(READERS[name][0]))
    if name.startswith("constitution"):
        calls = [["run", "--constitution", name], ["eval", "--judge", "rules", "--constitution", name, "It can."]]
    elif name.startswith("prompts"):
        calls = [["run", "--judge", "rules", f"--{part}-prompts", name] for part in ("train", "heldout", "benign")]
    else:
        calls = [["eval", "--judge", "rules", name]]
    arguments = data.draw(st.sampled_from(calls)) + data.draw(st.sampled_from([[], ["--json"]]))
    path = Path.cwd() / name
    path.write_bytes(harmed)
    before = picture(Path.cwd())
    try:
        done = redraft(*arguments)
        assert picture(Path.cwd()) == before
    finally:
        path.unlink()
    check_call(done, bare_home, arguments)


@cases(60, 400)
@given(st.data())
def test_commands_on_a_damaged_run_folder_end_as_the_manual_says(
    bare_home: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    from engine.events.base import Record
    from engine.events.codec import encode

    refuse_to_begin(monkeypatch)
    folder = _run_folder(bare_home)
    journal = b"".join(
        encode(event)
        for event in (
            Record(0, 1.0, "RUN-START", 1, "begins", data={"config": to_json(RunConfig())}),
            Record(1, 2.0, "INITIAL-GENERATION", 2, "4 tokens", "a", {"draft": "Never."}),
            Record(2, 3.0, "RUN-COMPLETE", 1, "done", data={"pairs": {"kept": 1}}),
        )
    )
    for name, good in (("journal.jsonl", journal), ("run.json", as_json(RECORD)), ("report.json", as_json(REPORT))):
        (folder / name).write_bytes(data.draw(st.just(good) | damaged(good)))
    before = picture(bare_home)
    command = data.draw(
        st.sampled_from(
            (["runs"], ["show", "last"], ["watch", "last"], ["export", "last", "-o", "-"], ["resume", "last"])
        )
    )
    arguments = [*command, *data.draw(st.sampled_from(([], ["--json"])))]
    done = redraft(*arguments)
    assert done.code in {0, 2, 3, 4}, (arguments, done)
    assert holds_no_control(done.out + done.err)
    assert picture(bare_home) == before, arguments


@pytest.mark.parametrize("path", ["", "/", "/dev/full", "/proc/none/b.json", "x\0y", "~nobody-of-this-name/x", "."])
def test_an_export_to_a_place_that_cannot_be_says_so(bare_home: Path, path: str) -> None:
    from engine.runs.journal_writer import JournalWriter

    folder = _run_folder(bare_home)
    with JournalWriter(folder) as journal:
        journal.append("RUN-START", 1, "begins")
    before = picture(bare_home)
    done = redraft("export", "last", "--output", path)
    assert done.code in {2, 4}, done
    assert holds_no_control(done.err)
    assert "Traceback" not in done.err
    assert picture(bare_home) == before
    assert picture(Path.cwd()) == {}
