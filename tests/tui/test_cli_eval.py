"""`redraft eval`: a verdict on whatever a person hands over, and a clear word on what cannot be judged."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from chat_server import honest, send, serving
from command_line import call

BAD = "You should definitely never go out at night. Women are bad drivers."
MEMBERS = {
    "quality",
    "no_answer",
    "id",
    "flagged",
    "probability",
    "principles",
    "category",
    "method",
    "score",
    "broken",
    "spans",
    "reasoning",
    "judge",
    "note",
}


def judge(*arguments: object, stdin: bytes = b"", check: int = 0) -> subprocess.CompletedProcess[str]:
    done = call("eval", "--judge", "rules", *arguments, stdin=stdin)
    assert done.returncode == check, done.stderr
    return done


def verdicts(*arguments: object, stdin: bytes = b"") -> list[dict[str, Any]]:
    lines = judge("--json", *arguments, stdin=stdin).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_a_text_gets_one_verdict_with_every_promised_member() -> None:
    (verdict,) = verdicts(BAD)
    assert set(verdict) == MEMBERS
    assert (verdict["id"], verdict["flagged"], verdict["method"]) == ("text", True, "rules")
    assert verdict["broken"]
    for span in verdict["spans"]:
        assert set(span) == {"start", "end", "principle", "category", "rule"}
        assert 0 <= span["start"] < span["end"] <= len(BAD)


def test_a_person_sees_the_verdict_and_the_words_that_broke_a_principle() -> None:
    shown = judge(BAD).stdout
    assert shown.startswith("✗ violation, score ")
    (verdict,) = verdicts(BAD)
    assert BAD[verdict["spans"][0]["start"] : verdict["spans"][0]["end"]] in shown


def test_a_clean_text_is_clean_and_no_failure() -> None:
    assert judge("The library opens at nine.").stdout.startswith("✓ clean, score 0.0")


def test_a_file_and_stdin_are_judged_like_the_text_in_them(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(BAD)
    (direct,) = verdicts(BAD)
    for found, name in ((verdicts(tmp_path / "text.txt"), "text.txt"), (verdicts("-", stdin=BAD.encode()), "stdin")):
        assert found == [{**direct, "id": name}]


def test_rows_get_one_verdict_each_in_their_order(tmp_path: Path) -> None:
    rows = [{"id": f"row-{n}", "text": BAD if n % 3 else "Fine.", "prompt": "Tell me."} for n in range(50)]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(content)
    found = verdicts(tmp_path / "rows.jsonl")
    assert [verdict["id"] for verdict in found] == [row["id"] for row in rows]
    assert [verdict["flagged"] for verdict in found] == [bool(n % 3) for n in range(50)]
    assert verdicts("-", "--rows", stdin=content.encode()) == found


def test_an_empty_row_gets_no_verdict_and_costs_the_others_nothing(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "  "}, {"id": "b", "text": BAD}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = verdicts(tmp_path / "rows.jsonl")
    assert (first["flagged"], first["probability"], second["flagged"]) == (None, None, True)
    assert "empty" in first["note"]
    assert "a: ? no verdict" in judge(tmp_path / "rows.jsonl").stdout


def test_a_row_that_cannot_be_read_is_told_with_its_line_before_anything_is_judged(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "b"}\n')
    done = judge(tmp_path / "rows.jsonl", check=2)
    assert "rows.jsonl, line 2" in done.stderr
    assert done.stdout == ""
    piped = judge("-", "--rows", stdin=b'{"id": "a", "text": "x"}\nno json\n', check=2)
    assert "stdin" in piped.stderr
    assert "/tmp" not in piped.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"caf\xe9", "not UTF-8"),
        ("text".encode("utf-16"), "UTF-16"),
        (b"a\0b", "NUL"),
    ],
)
def test_a_file_that_holds_no_text_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    done = judge(tmp_path / "text.txt", check=2)
    assert told.lower() in done.stderr.lower()
    assert "text.txt" in done.stderr


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff"])
def test_stdin_without_a_text_is_told(content: bytes) -> None:
    assert "stdin" in judge("-", stdin=content, check=2).stderr


def test_a_text_of_a_megabyte_is_judged_and_a_longer_one_than_the_limit_refused() -> None:
    assert verdicts("-", stdin=(BAD + " ").encode() * 15_000)[0]["flagged"] is True
    assert "at most" in judge("-", stdin=b"word " * 500_000, check=2).stderr


def test_a_text_that_could_be_an_option_or_a_path_is_still_a_text() -> None:
    for text in ("--", "-x is bad", "a/b", "../..!", "~", "x" * 5000, "what is a.txt ?", "\x1b[2J\u202e"):
        assert len(verdicts("--", text) if text.startswith("-") else verdicts(text)) == 1


def test_nothing_of_a_hostile_text_reaches_the_terminal_as_it_is() -> None:
    shown = judge("\x1b[2J\x9b31m You must \x07never\u202e trust women.").stdout
    assert all(char.isprintable() or char in "\n\u200b" for char in shown)


def test_a_pipe_with_rows_is_read_like_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    writer = threading.Thread(target=lambda: (tmp_path / "rows.jsonl").write_text('{"id": "a", "text": "Fine."}\n'))
    writer.start()
    assert [verdict["id"] for verdict in verdicts(tmp_path / "rows.jsonl")] == ["a"]
    writer.join()


def test_nothing_is_kept_of_what_was_judged(redraft_home: Path) -> None:
    judge(BAD)
    assert not (redraft_home / "data").exists()


# Behind a server


def by_endpoint(url: str, *arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        done = call("eval", "--judge", "endpoint", "--endpoint", url, *arguments)
    assert done.returncode == code, done.stderr
    return done


def test_a_server_judges_rows_and_shows_its_verdict_like_any_other(tmp_path: Path) -> None:
    rows = [{"id": word, "text": f"You {word} go."} for word in ("must", "can")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with serving(honest) as server:
        done = by_endpoint(server.url, "--endpoint-model", "judge-1", "--json", tmp_path / "rows.jsonl")
        bad, good = (json.loads(line) for line in done.stdout.splitlines())
        assert set(bad) == MEMBERS
        assert (bad["flagged"], bad["method"], good["flagged"]) == (True, "endpoint", False)
        shown = by_endpoint(server.url, "--endpoint-model", "judge-1", "You must obey me.").stdout
    assert shown.startswith("✗ violation, score 1.0")
    assert "━" in shown
    assert "It says so." in shown
    assert "accuracy: not measured" in shown


def test_a_server_that_fails_is_exit_code_5_and_the_key_is_nowhere(redraft_home: Path) -> None:
    key = "sk-77ad10c3be5540"
    with serving(lambda q, c: send(c, {"error": {"message": f"no: {q.headers['authorization']}"}}, 401)) as server:
        options = ("--endpoint-model", "m", "--endpoint-key-env", "TEST_KEY", "--endpoint-concurrency", 2, "Go.")
        done = by_endpoint(server.url, *options, "--json", code=5, TEST_KEY=key)
        assert server.questions[0].headers["authorization"] == f"Bearer {key}"
        error = json.loads(done.stdout)["error"]
        assert error["type"] == "EndpointError"
        assert error["where"] == server.url
        assert "--endpoint-key-env" in error["next"]
    with_password = f"http://me:{key}@127.0.0.1:{server.port}/v1"
    refused = by_endpoint(with_password, "--endpoint-model", "m", "Go.", "--json", code=2)
    as_name = by_endpoint(server.url, "--endpoint-model", "m", "--endpoint-key-env", key, "Go.", code=2)
    for one in (done, refused, as_name):
        assert key not in one.stdout + one.stderr
    assert not any(key.encode() in path.read_bytes() for path in redraft_home.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--judge", "endpoint"), "--endpoint: the judge endpoint needs the address"),
        (("--endpoint", "http://127.0.0.1:1"), "--endpoint: this option is for the judge endpoint"),
        (("--judge", "endpoint", "--endpoint", "http://127.0.0.1:1"), "--endpoint-model"),
        (("--judge", "endpoint", "--endpoint", "nonsense", "--endpoint-model", "m"), "--endpoint:"),
        (("--judge", "oracle"), "Choose one of: panel, rules, model, rules+model, likelihood, endpoint."),
        (("--endpoint-timeout", "soon"), "--endpoint-timeout"),
    ],
)
def test_judges_and_their_options_must_fit_together(options: tuple[str, ...], told: str) -> None:
    assert told in judge("Go.", *options, check=2).stderr


@pytest.mark.parametrize("name", ["rows.yaml", "rows.parquet", "rows.jsonl.gz", "./rows", "../no/rows", "/no/rows"])
def test_a_path_at_which_nothing_is_is_not_judged_as_a_text(name: str) -> None:
    assert "file not found" in judge(name, check=2).stderr


def test_rows_of_a_dataset_are_judged_and_its_name_is_not(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text(f'id,text\na,"{BAD}"\nb,Tea is warm.\n')
    found = verdicts(f"hf:{tmp_path / 'mine'}")
    assert [(one["id"], one["flagged"]) for one in found] == [("a", True), ("b", False)]
    assert "cannot be read as a dataset" in judge(f"hf:{tmp_path / 'none'}", check=2).stderr
