"""Exports hold what the log shows at their verbosity, are whole or absent, and cannot be broken by a text."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError, StorageError
from engine.events.base import Record
from engine.events.codec import encode
from engine.events.verbosity import entry
from engine.runs.export import FORMATS, default_path, export, row, write
from engine.runs.journal_reader import JOURNAL, JournalReader, read
from engine.runs.journal_writer import JournalWriter
from engine.text import sanitize

SECRET = "the model's own words"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "demo-1"
    with JournalWriter(folder) as journal:
        journal.append("RUN-START", 1, "demo", data={"config": {"preset": "demo"}, "loss": float("nan")})
        journal.append("STAGE-START", 1, "draft: 1 to do", data={"name": "draft", "total": 1})
        journal.append("PROGRESS", 3, "draft 1/1", data={"name": "draft", "done": 1, "total": 1})
        journal.append(
            "INITIAL-GENERATION",
            2,
            "62 tokens in 1.1 s",
            item="train-001",
            texts={"draft": f"{SECRET} " * 40, "more": "second"},
            raw={"request": f"<|im_start|>{SECRET}"},
            data={"tokens": 62, "nested": {"a": [1, 2]}},
        )
        journal.append("RUN-COMPLETE", 1, "done", data={"pairs": 1})
    return folder


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def test_json_is_a_list_of_stage_content_metadata_timestamp(run: Path, tmp_path: Path) -> None:
    done = export(run, "json", tmp_path / "out.json")
    rows = rows_of(tmp_path / "out.json")
    assert done.entries == len(rows) == 5
    assert all(set(row) == {"stage", "content", "metadata", "timestamp"} for row in rows)
    draft = rows[3]
    assert draft["stage"] == "INITIAL-GENERATION"
    assert draft["content"] == f"{SECRET} " * 40 + "\n\nsecond"
    assert draft["metadata"] == {
        "seq": 3,
        "level": 2,
        "summary": "62 tokens in 1.1 s",
        "item": "train-001",
        "texts": {"draft": f"{SECRET} " * 40, "more": "second"},
        "raw": {"request": f"<|im_start|>{SECRET}"},
        "data": {"tokens": 62, "nested": {"a": [1, 2]}},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", draft["timestamp"])
    assert rows[0]["content"] == "demo"
    assert rows[0]["metadata"]["data"]["loss"] is None


def test_json_lines_are_the_same_objects_one_a_line(run: Path, tmp_path: Path) -> None:
    export(run, "json", tmp_path / "a.json")
    export(run, "jsonl", tmp_path / "a.jsonl")
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()] == rows_of(
        tmp_path / "a.json"
    )


def test_markdown_goes_from_the_result_to_prompts_course_figures_and_settings(run: Path, tmp_path: Path) -> None:
    with JournalWriter(run) as journal:
        data = {"outcome": "confirmed", "score": {"base": 0.84, "trained": 0.49, "interval": [-0.5, -0.2], "p": 0.0004}}
        journal.append("COMPARISON-SUMMARY", 1, "confirmed", data={"result": data})
    export(run, "md", tmp_path / "a.md")
    page = (tmp_path / "a.md").read_text()
    assert page.startswith("# Improvement confirmed: run demo-1\n")
    assert "| score | 0.84 | 0.49 | -0.35 | -0.50 to -0.20 | < .001 |" in page
    order = ["confirmed: run", "## Training prompts", "### 1. train-001", "**Draft** · 62 tokens", SECRET]
    order += ["## Course of the run", "| RUN-START | demo |", "## Figures", "train-001 | Draft | 62 |"]
    order += ["## Settings and versions", "| config.preset | demo |"]
    places = [page.index(words) for words in order]
    assert places == sorted(places)
    assert "PROGRESS" not in page


def test_a_text_is_quoted_once_and_named_afterwards(tmp_path: Path) -> None:
    text = "The whole answer to the question."
    with JournalWriter(tmp_path / "run") as journal:
        journal.append("TRAINING-EXAMPLE 1/1", 2, "a", item="p", texts={"prompt": "Why?"})
        journal.append("INITIAL-GENERATION", 2, "1 token", item="p", texts={"draft": text})
        journal.append("CRITIQUE-GENERATION", 2, "", item="p", texts={"prompt": "Why?", "critique": "It is short."})
        pair = {"prompt": "Why?", "rejected": text, "chosen": "Another one."}
        journal.append("TRAINING-PAIR-CREATED", 2, "kept", item="p", texts=pair)
    export(tmp_path / "run", "md", tmp_path / "out.md", 2)
    page = (tmp_path / "out.md").read_text()
    assert page.count(f"> {text}") == 1
    assert "### 1. Why?" in page
    assert page.count("Why?") == 1
    assert "rejected: the same as “Draft” above" in page
    assert "> Another one." in page


def test_markdown_at_a_filter_holds_only_its_records_and_still_the_result(run: Path, tmp_path: Path) -> None:
    with JournalWriter(run) as journal:
        journal.append("COMPARISON-SUMMARY", 1, "worse", data={"result": {"outcome": "worse"}})
    done = export(run, "md", tmp_path / "a.md", 3, lambda event: event.item == "train-001")
    page = (tmp_path / "a.md").read_text()
    assert done.entries == 1
    assert page.startswith("# The trained model is worse: run demo-1\n")
    assert "Only the records that a filter of the log showed." in page
    assert "## Course of the run" not in page


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_export_at_verbosity_1_holds_no_text_at_all(run: Path, tmp_path: Path, file_format: str) -> None:
    done = export(run, file_format, tmp_path / "out", 1)
    content = (tmp_path / "out").read_text()
    assert done.entries == 3
    assert "words" not in content
    assert "RUN-COMPLETE" in content


def test_an_export_shows_exactly_what_the_log_shows(run: Path, tmp_path: Path) -> None:
    for verbosity in range(4):
        export(run, "json", tmp_path / "out.json", verbosity)
        shown = [entry(event, verbosity) for event in read(run)]
        expected = [(s.stage, s.summary, [p.text for p in s.parts]) for s in shown if s is not None]
        assert [
            (
                r["stage"],
                r["metadata"]["summary"],
                [*r["metadata"].get("texts", {}).values(), *r["metadata"].get("raw", {}).values()],
            )
            for r in rows_of(tmp_path / "out.json")
        ] == expected


def test_texts_of_verbosity_2_are_cut_to_500_characters(run: Path, tmp_path: Path) -> None:
    export(run, "json", tmp_path / "out.json", 2)
    draft = next(r for r in rows_of(tmp_path / "out.json") if r["stage"] == "INITIAL-GENERATION")
    assert 490 <= len(draft["metadata"]["texts"]["draft"]) <= 502
    assert "raw" not in draft["metadata"]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# Not a heading\n```",
        "`````",
        "```` ``` `",
        "~~~\n</pre>",
        "\n\n",
        "[x](javascript:alert(1)) | a | b |",
        "- a\n+ b\n1. c\n12) d\n# e\n> f",
        "a\n===\nb\n---\n***",
        "    code\n\tcode\n<b>&amp;\\",
        "\x1b[31m\x9b2J\u202e",
        "",
    ],
)
def test_no_text_can_leave_its_quotation_or_fence_in_markdown(tmp_path: Path, text: str) -> None:
    from markdown_it import MarkdownIt

    with JournalWriter(tmp_path) as journal:
        journal.append("INITIAL-GENERATION", 2, "", item="p", texts={"draft": text}, raw={"raw": f"raw\n{text}"})
        journal.append("NOTICE", 1, "the end")
    export(tmp_path, "md", tmp_path / "out.md")
    page = (tmp_path / "out.md").read_text()
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    kinds = {token.type for token in tokens}
    assert kinds <= {
        *("heading_open", "heading_close", "inline", "paragraph_open", "paragraph_close", "fence"),
        *("blockquote_open", "blockquote_close"),
        *(f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")),
    }
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[0].startswith("Not finished: run ")
    assert headings[1:] == ["Training prompts", "1. p", "Course of the run"]
    inside = {child.type for token in tokens for child in token.children or () if token.type == "inline"}
    assert inside <= {"text", "hardbreak", "softbreak", "strong_open", "strong_close", "text_special"}
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences == [f"raw\n{sanitize(text)}\n"]
    assert "\x1b" not in page


def test_hostile_names_and_figures_stay_within_their_line_and_cell(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        hostile = {"a|b\n": "c|d\n# e", "list": ["|"]}
        journal.append("RUN-START", 1, "*x* | <b>\n\n# y", data=hostile)
        journal.append("A\n# B", 1, "*x* | <b>\n\n# y", item="`i`\n#", data=hostile)
        journal.append("A\n# B", 1, "*x* | <b>\n\n# y", data=hostile)
    export(tmp_path, "md", tmp_path / "out.md")
    lines = (tmp_path / "out.md").read_text().split("\n")
    assert sum(line.startswith("#") for line in lines) == 5
    for line in lines:
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 7)


def test_timestamps_reach_from_the_first_to_the_last_possible_second() -> None:
    for seconds, stamp in ((0.0, "1970-01-01T00:00:00.000Z"), (253_402_300_799.0, "9999-12-31T23:59:59.000Z")):
        made = row(Record(0, seconds, "NOTICE", 1, ""))
        assert made is not None
        assert made["timestamp"] == stamp


def test_a_damaged_journal_is_exported_without_the_damaged_part_and_says_so(run: Path, tmp_path: Path) -> None:
    data = (run / JOURNAL).read_bytes().split(b"\n")
    data[2] = data[2][:-5] + b"xxxxx"
    (run / JOURNAL).write_bytes(b"\n".join(data) + b'{"torn')
    done = export(run, "json", tmp_path / "out.json")
    assert [r["stage"] for r in rows_of(tmp_path / "out.json")] == [
        "RUN-START",
        "STAGE-START",
        "INITIAL-GENERATION",
        "RUN-COMPLETE",
    ]
    assert len(done.damage) == 1


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_empty_journal_makes_a_valid_file(tmp_path: Path, file_format: str) -> None:
    JournalWriter(tmp_path).close()
    assert export(tmp_path, file_format, tmp_path / "out").entries == 0
    if file_format == "json":
        assert rows_of(tmp_path / "out") == []


def test_data_that_nests_without_end_costs_only_itself(tmp_path: Path) -> None:
    head = (
        b'{"v":1,"seq":0,"time":1,"stage":"NOTICE","level":1,"summary":"deep","data":{"a":'
        + b"[" * 700
        + b"]" * 700
        + b"}"
    )
    deep = head + b',"crc":"%08x"}\n' % zlib.crc32(head)
    (tmp_path / JOURNAL).write_bytes(deep + encode(Record(1, 1.0, "NOTICE", 1, "after")))
    export(tmp_path, "json", tmp_path / "out.json")
    assert [r["content"] for r in rows_of(tmp_path / "out.json")][-1] == "after"


def test_exports_are_the_owners_own_and_a_replaced_file_keeps_its_mode(run: Path, tmp_path: Path) -> None:
    export(run, "json", tmp_path / "new.json")
    assert (tmp_path / "new.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "old.json").write_text("x")
    os.chmod(tmp_path / "old.json", 0o644)
    export(run, "json", tmp_path / "old.json")
    assert (tmp_path / "old.json").stat().st_mode & 0o777 == 0o644


def test_a_link_is_followed_and_stays_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("x")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    export(run, "json", tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert len(rows_of(tmp_path / "real.json")) == 5


def test_folders_on_the_way_are_made(run: Path) -> None:
    path = default_path(run, "md", 2)
    export(run, "md", path, 2)
    assert path.parent == run / "exports"
    assert path.exists()


@pytest.mark.parametrize("place", ["folder", "file/out.json", "x" * 300 + ".json"])
def test_a_place_that_cannot_be_written_is_a_storage_error_that_names_it(run: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StorageError) as raised:
        export(run, "json", tmp_path / place)
    assert place in str(raised.value)
    assert (tmp_path / "file").read_text() == "kept"
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("name", [JOURNAL, "run.json", "lock"])
def test_the_runs_own_files_are_never_replaced(run: Path, name: str) -> None:
    (run / "run.json").write_text("{}")
    before = (run / name).read_bytes()
    with pytest.raises(InputError, match="belongs to a run"):
        export(run, "json", run / name)
    assert (run / name).read_bytes() == before


def test_unknown_formats_and_verbosities_are_told_with_those_there_are(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="json or jsonl or md"):
        export(run, "xml", tmp_path / "out")
    with pytest.raises(InputError, match="0, 1, 2 or 3"):
        export(run, "json", tmp_path / "out", 4)
    assert not (tmp_path / "out").exists()


def test_without_a_journal_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no journal"):
        export(tmp_path, "json", tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


_FULL = """
import resource, sys
from pathlib import Path
from engine.errors import StorageError
from engine.runs.export import export
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    export(Path(sys.argv[1]), "json", Path(sys.argv[2]))
except StorageError as error:
    print(error)
"""


def test_where_there_is_no_room_the_old_file_stays_and_nothing_else(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "a.json"
    out.parent.mkdir()
    out.write_text("old")
    told = subprocess.run(
        [sys.executable, "-c", _FULL, run, out], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert str(out) in told
    assert out.read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_a_full_device_is_a_storage_error_and_stays_a_device(run: Path) -> None:
    with pytest.raises(StorageError, match="No space left"):
        export(run, "json", Path("/dev/full"))
    assert Path("/dev/full").is_char_device()


def test_a_named_pipe_is_written_into(run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    export(run, "json", tmp_path / "pipe")
    reader.join()
    assert len(json.loads(got[0])) == 5


_LARGE = """
import resource, sys
from pathlib import Path
from engine.runs.export import export
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file_format in ("json", "jsonl", "md"):
    export(Path(sys.argv[1]), file_format, Path(sys.argv[2]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_a_large_journal_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    line = "".join(f"{number} " for number in range(3_000))
    with open(tmp_path / JOURNAL, "wb") as file:
        for seq in range(5_000):
            file.write(encode(Record(seq, 1.0, "NOTICE", 1, "n", texts={"text": line})))
    size = (tmp_path / JOURNAL).stat().st_size >> 20
    grown = subprocess.run(
        [sys.executable, "-c", _LARGE, tmp_path, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert size > 60
    assert int(grown) < size / 2


def test_an_export_of_a_growing_journal_is_whole_and_ends(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "run") as journal:
        for number in range(2_000):
            journal.append("NOTICE", 1, "n", texts={"text": "t" * (number % 1_000)})
        reader = JournalReader(tmp_path / "run")
        for count, event in enumerate(reader.so_far()):
            assert event.seq == count
            assert count < 4_000, "the export runs after the writer"
            for _ in range(2):  # a writer that is faster than its reader
                journal.append("NOTICE", 1, "n", texts={"text": "t" * 500})
        export(tmp_path / "run", "json", tmp_path / "out.json")
    rows = rows_of(tmp_path / "out.json")
    assert [r["metadata"]["seq"] for r in rows] == list(range(len(rows)))
    assert len(rows) > 4_000


def test_an_export_can_go_to_an_open_stream(run: Path, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        entries, damage = write(run, "jsonl", file, 1)
    assert (entries, damage) == (3, ())
