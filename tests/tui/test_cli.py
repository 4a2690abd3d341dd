"""The command line: what each command prints where, how it fails, and that none of it is ever a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import call as redraft

from engine.runs.journal_reader import JOURNAL
from engine.runs.journal_writer import JournalWriter
from engine.settings import RunConfig, names
from tui.commands.settings_flags import FLAGS, build_config, reference

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = (
    *("run", "resume", "watch", "open", "eval", "runs", "show", "review", "try", "replay", "report", "gate", "export"),
    *("merge", "push", "prompts", "constitution", "models", "doctor", "compare"),
)


def make_run(home: Path, name: str = "demo-0412", *, finished: bool = True) -> Path:
    folder = home / "data" / "runs" / name
    with JournalWriter(folder) as journal:
        config = {"preset": "demo", "generator": "smollm2-135m-instruct"}
        (folder / "run.json").write_text(json.dumps({"kind": "run", "config": config}))
        journal.append("RUN-START", 1, "demo", data={"config": config})
        journal.append("INITIAL-GENERATION", 2, "4 tokens", item="a", texts={"draft": "Never go out."})
        if finished:
            journal.append(
                "RUN-COMPLETE", 1, "done", data={"pairs": {"kept": 3}, "outcome": "confirmed", "seconds": 61.0}
            )
            score = {"base": 0.84, "trained": 0.49, "n": 40, "relative": -0.42, "interval": [-0.5, -0.2]}
            report = {"summary": {"outcome": "confirmed", "most": 4.0, "score": score}, "prompts": [{"id": "a"}]}
            (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_help_costs_no_heavy_import() -> None:
    code = (
        "import sys\nfrom tui.cli import main\nmain(['--help'])\n"
        "heavy = {'torch', 'transformers', 'numpy', 'textual', 'rich', 'accelerate', 'engine.judges.registry'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_manual(command: str) -> None:
    done = redraft(command, "--help")
    assert done.returncode == 0
    assert f"redraft {command}" in done.stdout
    assert f"`redraft {command}" in DOCS.read_text()


def test_the_manual_has_the_settings_as_the_program_knows_them() -> None:
    begin, end = "<!-- redraft settings-reference -->\n", "\n<!-- end -->"
    assert DOCS.read_text().partition(begin)[2].partition(end)[0] == reference()


def test_every_setting_has_a_flag_or_is_reached_by_set() -> None:
    reached = {path for flag in FLAGS.values() for path in flag.paths}
    others = set(names(RunConfig())) - reached
    assert others == {
        "preset",
        "against",
        "against_dtype",
        *(
            f"critique.{name}"
            for name in ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        ),
        *(f"answer.{name}" for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")),
        *(f"{stage}.stop" for stage in ("draft", "critique", "revision", "answer")),
    }
    assert reached <= set(names(RunConfig()))


def test_help_of_run_has_sentence_default_and_range_of_each_flag() -> None:
    shown = "".join(redraft("run", "--help").stdout.split())  # help breaks lines at hyphens too
    for flag in FLAGS.values():
        assert "".join(f"{flag.option} {flag.metavar} {flag.help}".split()) in shown
    assert "SettheLoRArank.[default:16;1to1,024]" in shown
    assert "--rank" not in shown


def test_flags_of_0_1_still_work() -> None:
    old = build_config("standard", {"rank": "4", "epochs": "3", "batch_size": "2"}, ["train.warmup=0.2"])
    assert (old.train.lora_r, old.train.num_train_epochs, old.train.train_batch_size) == (4, 3, 2)
    assert old.train.warmup_ratio == 0.2
    assert redraft("run", "--rank", "4", "--epochs", "0").stderr.startswith("redraft: --epochs: num_train_epochs must")
    assert "no such option" not in redraft("resume", "foo", "--anyway").stderr.lower()


def test_the_version_is_told() -> None:
    assert redraft("--version").stdout.startswith("redraft ")
    assert "version" in json.loads(redraft("--version", "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["foo"], 2, "no such command"),
        (["run", "--foo"], 2, "--foo"),
        (["run", "--preset", "foo"], 2, "demo, standard"),
        (["run", "--judge", "foo"], 2, "panel, rules, model, rules+model"),
        (["run", "--objective", "foo"], 2, "--objective: unknown objective 'foo'. Choose sft or dpo."),
        (["run", "--epochs", "x"], 2, "--epochs: 'x' is not a whole number"),
        (["run", "--epochs", "0"], 2, "--epochs: num_train_epochs must be at least 1, not 0. Choose at least 1."),
        (["run", "--epochs", "9" * 5000], 2, "--epochs"),
        (["run", "--learning-rate", "nan"], 2, "--learning-rate"),
        (["run", "--n-train", "-1"], 2, "--n-train: n_train must be at least 1, not -1. Choose at least 1."),
        (["run", "--seed", "-1"], 2, "--seed"),
        (["run", "--temperature", "hot"], 2, "--temperature: 'hot' is not a number"),
        (["run", "--max-tokens", "0"], 2, "--max-tokens"),
        (["run", "--set", "warmup"], 2, "NAME=VALUE"),
        (["run", "--set", "train.warmupp=1"], 2, "the closest are train.warmup_ratio"),
        (["run", "--set", "train=1"], 2, "group of settings"),
        (["run", "--set", "train.warmup_ratio=2"], 2, "warmup_ratio must be 0 to 1, not 2.0"),
        (["run", "--set", "draft.top_p=7"], 2, "--set 'draft.top_p': top_p must be 0 to 1, not 7.0"),
        (["run", "--set", "keep_texts=perhaps"], 2, "true or false"),
        (["run", "--dtype", "x"], 2, "--dtype: unknown dtype 'x'. Choose float32, bfloat16 or float16."),
        (["run", "--verbosity", "9"], 2, "--verbosity"),
        (["run", "--generator", "no-such-model"], 3, "no-such-model"),
        (["run", "--critic", "no/such/folder"], 3, "no/such/folder"),
        (["run", "--train-prompts", "nothing.csv"], 2, "nothing.csv"),
        (["run", "--constitution", "nothing.toml"], 2, "nothing.toml"),
        (["eval"], 2, "TEXT|FILE|-"),
        (["eval", ""], 2, "empty"),
        (["eval", "nothing.jsonl"], 2, "file not found"),
        (["eval", "x", "--judge", "foo"], 2, "panel, rules, model, rules+model"),
        (["eval", "x", "--rows"], 2, "--rows"),
        (["eval", "."], 2, "folder"),
        (["show", "foo"], 2, "there is no run 'foo'"),
        (["show"], 2, "there is no run yet"),
        (["watch", "foo"], 2, "there is no run 'foo'"),
        (["resume", "foo"], 2, "there is no run 'foo'"),
        (["open"], 2, "there is no run yet"),
        (["export", "foo", "--format", "md"], 2, "there is no run 'foo'"),
    ],
)
def test_a_bad_call_is_told_in_one_line_with_what_is_wrong_and_where(
    redraft_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = redraft(*arguments)
    assert done.returncode == code
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("redraft: ")
    assert told in line
    assert len(line) < 600
    assert done.stdout == ""
    assert not (redraft_home / "data" / "errors").exists()
    assert not (redraft_home / "data" / "runs").exists(), "a run that cannot begin leaves no folder"


def test_with_json_an_error_is_one_object_on_stdout(redraft_home: Path) -> None:
    done = redraft("run", "--preset", "foo", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "error": {
            "what": "unknown preset 'foo'.",
            "where": "--preset",
            "next": "Choose one of: demo, standard, thorough.",
            "type": "InputError",
        }
    }
    assert json.loads(redraft("foo", "--json").stdout)["error"]["type"] == "InputError"


def test_runs_are_listed_for_people_and_for_programs(redraft_home: Path) -> None:
    assert redraft("runs").stdout == ""
    assert json.loads(redraft("runs", "--json").stdout) == []
    make_run(redraft_home)
    time.sleep(0.01)
    make_run(redraft_home, "other", finished=False)
    first, second = json.loads(redraft("runs", "--json").stdout)
    assert (first["id"], first["state"], first["note"]) == ("other", "stopped", "interrupted")
    assert (second["id"], second["state"], second["preset"]) == ("demo-0412", "finished", "demo")
    assert second["figures"] == {"pairs": {"kept": 3}, "outcome": "confirmed", "seconds": 61.0}
    header, *lines = redraft("runs").stdout.splitlines()
    assert header.split() == ["id", "started", "preset", "generator", "state", "figures"]
    assert "confirmed, 3 pairs, 1:01" in lines[1]


def test_a_report_is_shown_for_people_and_for_programs(redraft_home: Path) -> None:
    folder = make_run(redraft_home)
    assert json.loads(redraft("show", "--json").stdout) == json.loads((folder / "report.json").read_text())
    shown = redraft("show", "demo").stdout
    assert shown.startswith("Improvement confirmed\n")
    assert "score       0.84 → 0.49 of 4.0   -42 %   95 % interval of the change -0.50 to" in shown
    assert "0.84 → 0.49 of 4.0 -42 %" in redraft("show", "demo", "--markdown").stdout.replace("\\", "")


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"summary": None, "pairs": [], "models": 5},
        {"summary": {"outcome": 5, "score": {"base": "x", "interval": [1], "n": None}, "conditions": [1, {}]}},
        {"summary": {"violations": {"p": 1e300}, "health": {"alarms": ["\x1b[31m\n"]}, "principles": [{"result": 1}]}},
        {"seconds": 10**400, "pairs": {"reasons": {"a\nb": {}}}, "judge": {"name": "\u202e"}},
    ],
)
def test_a_report_that_makes_no_sense_is_shown_as_far_as_it_does(redraft_home: Path, report: dict[str, Any]) -> None:
    folder = make_run(redraft_home)
    (folder / "report.json").write_text(json.dumps(report))
    done = redraft("show")
    assert done.returncode == 0
    assert all(char.isprintable() or char == "\n" for char in done.stdout)


def test_an_unfinished_run_has_no_report_and_says_how_to_get_one(redraft_home: Path) -> None:
    make_run(redraft_home, finished=False)
    done = redraft("show")
    assert done.returncode == 2
    assert "redraft resume" in done.stderr


def test_watching_a_finished_run_prints_it_and_ends(redraft_home: Path) -> None:
    make_run(redraft_home)
    done = redraft("watch", "last")
    assert done.returncode == 0
    assert "INITIAL-GENERATION 4 tokens\n  draft:\n    Never go out." in done.stdout
    assert "RUN-COMPLETE done" in done.stdout
    assert "demo-0412 is finished" in done.stderr
    assert "draft" not in redraft("watch", "--verbosity", 1).stdout


def test_watch_with_json_writes_what_an_export_holds(redraft_home: Path) -> None:
    make_run(redraft_home)
    assert redraft("watch", "--json", "-v", 3).stdout == redraft("export", "last", "-f", "jsonl", "-o", "-").stdout


def test_watching_goes_on_until_the_writer_is_gone(redraft_home: Path) -> None:
    folder = make_run(redraft_home, finished=False)
    with JournalWriter(folder) as journal:
        watch = subprocess.Popen(
            [sys.executable, "-m", "tui.cli", "watch", "demo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        assert "RUN-START" in watch.stdout.readline()
        journal.append("NOTICE", 1, "seen while it is written")
        while "seen while" not in watch.stdout.readline():
            pass
    _, err = watch.communicate(timeout=60)
    assert watch.returncode == 0
    assert "stopped" in err


def test_ctrl_c_ends_the_watching_with_its_own_code(redraft_home: Path) -> None:
    folder = make_run(redraft_home, finished=False)
    with JournalWriter(folder):
        watch = subprocess.Popen(
            [sys.executable, "-m", "tui.cli", "watch", "demo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 130
    assert err == ""


def test_a_run_is_exported_where_the_person_says_or_into_its_own_folder(redraft_home: Path, tmp_path: Path) -> None:
    folder = make_run(redraft_home)
    done = redraft("export", "demo", "--output", tmp_path / "out.md")
    assert done.returncode == 0
    assert (tmp_path / "out.md").read_text().splitlines()[0].endswith(": run demo-0412")
    assert str(tmp_path / "out.md") in done.stdout
    told = json.loads(redraft("export", "demo", "--json", "-v", 1).stdout)
    assert told == {
        "path": str(folder / "exports" / "demo-0412-v1.json"),
        "format": "json",
        "entries": 2,
        "damage": [],
    }
    assert [row["stage"] for row in json.loads(Path(told["path"]).read_text())] == ["RUN-START", "RUN-COMPLETE"]


def test_damage_is_told_by_export_and_watch_and_costs_nothing_else(redraft_home: Path) -> None:
    folder = make_run(redraft_home)
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(lines[0] + b"x" + lines[1] + lines[2])
    done = redraft("export", "demo", "--json")
    assert json.loads(done.stdout)["entries"] == 2
    assert json.loads(done.stdout)["damage"][0]["offset"] == len(lines[0])
    assert "damaged" in done.stderr
    assert f"at {len(lines[0])}" in redraft("watch", "demo").stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--output", "{tmp}"], "this is a folder"),
        (["--output", "{tmp}/file/x.json"], "file/x.json"),
        (["--output", "/proc/x.json"], "/proc/x.json"),
        (["--output", "/dev/full"], "No space left"),
    ],
)
def test_an_export_that_cannot_be_written_is_a_storage_error(
    redraft_home: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    make_run(redraft_home)
    (tmp_path / "file").write_text("x")
    done = redraft("export", "last", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 4
    assert told in done.stderr


def test_a_file_in_place_of_the_folder_of_runs_is_a_storage_error(redraft_home: Path) -> None:
    (redraft_home / "data").write_text("in the way")
    for command in (["runs"], ["show", "x"], ["run", "--judge", "rules"]):
        done = redraft(*command)
        assert done.returncode == 4
        assert str(redraft_home / "data") in done.stderr


def test_without_a_terminal_and_a_command_the_demo_run_is_performed(redraft_home: Path) -> None:
    (redraft_home / "data").write_text("so that it ends at once")
    done = redraft()
    assert done.returncode == 4
    assert str(redraft_home / "data" / "runs") in done.stderr


@pytest.mark.parametrize("folder", ["file", "full"])
def test_a_run_is_not_put_where_something_is(redraft_home: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    done = redraft("run", "--output", tmp_path / folder)
    assert done.returncode == 2
    assert str(tmp_path / folder) in done.stderr


def test_resuming_a_finished_run_says_so_and_one_that_is_written_is_refused(redraft_home: Path) -> None:
    folder = make_run(redraft_home)
    done = redraft("resume", "last", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "finished"
    with JournalWriter(folder):
        refused = redraft("resume", "last")
    assert refused.returncode == 2
    assert "redraft watch demo-0412" in refused.stderr


def test_models_are_listed_for_people_and_for_programs() -> None:
    models = json.loads(redraft("models", "--json").stdout)
    assert any(model["embedded"] for model in models)
    shown = redraft("models").stdout
    assert all(model["name"] in shown for model in models)


def test_a_closed_stdout_is_no_error_of_ours(redraft_home: Path) -> None:
    make_run(redraft_home)
    for command in ("runs", "watch", "models --json", "export last -o -"):
        closed = subprocess.run(
            f"{sys.executable} -m tui.cli {command} >&-", shell=True, capture_output=True, check=False, timeout=60
        )
        assert closed.returncode == 0, command
        assert b"Traceback" not in closed.stderr


def test_a_pipe_that_nobody_reads_ends_the_command_quietly(redraft_home: Path) -> None:
    folder = make_run(redraft_home, finished=False)
    with JournalWriter(folder) as journal:
        for _ in range(5_000):
            journal.append("NOTICE", 1, "x" * 100)
    for command in ("watch", "watch --json", "export last -o -"):
        piped = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m tui.cli {command} | head -n 1; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert piped.returncode == 141, command
        assert piped.stderr == b"", command


def test_a_full_stdout_is_a_storage_error(redraft_home: Path) -> None:
    make_run(redraft_home)
    for command in ("runs", "runs --json", "models", "watch", "export last -o -"):
        full = subprocess.run(
            f"{sys.executable} -m tui.cli {command} > /dev/full",
            shell=True,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert full.returncode == 4, command
        assert b"No space left" in full.stderr
        assert b"Traceback" not in full.stderr
        assert full.stderr.count(b"\n") <= 2


def test_a_locale_without_the_characters_is_no_reason_to_fail(redraft_home: Path) -> None:
    folder = make_run(redraft_home, finished=False)
    with JournalWriter(folder) as journal:
        journal.append("NOTICE", 1, "日本語 ✗")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    raw = subprocess.run(
        [sys.executable, "-m", "tui.cli", "watch"], env=environment, capture_output=True, check=True, timeout=60
    )
    assert "NOTICE" in raw.stdout.decode("latin-1")
    with_json = subprocess.run(
        [sys.executable, "-m", "tui.cli", "watch", "--json"],
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert "日本語 ✗" in with_json.stdout.decode()


def test_an_unexpected_failure_is_one_line_and_its_traceback_a_private_file(
    redraft_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from engine.runs import store
    from tui.cli import main

    def fail() -> None:
        raise ZeroDivisionError("details")

    monkeypatch.setattr(store, "list_runs", fail)
    assert main(["runs", "--json"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["type"] == "ZeroDivisionError"
    (path,) = (redraft_home / "data" / "errors").iterdir()
    assert str(path) in err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: details" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failure_whose_traceback_cannot_be_kept_is_told_all_the_same(
    redraft_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from engine.runs import store
    from tui.cli import main

    (redraft_home / "data").write_text("in the way")
    monkeypatch.setattr(store, "list_runs", lambda: 1 / 0)
    assert main(["runs"]) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_options_reach_the_settings_that_they_name() -> None:
    config = build_config(
        "demo",
        {
            "num_train_epochs": "4",
            "objective": "dpo",
            "seed": "7",
            "max_tokens": "50",
            "temperature": "0",
            "n_benign": "0",
            "keep_texts": True,
        },
        [
            "train.target_modules=q_proj, v_proj",
            "critique.stop=a,b",
            "train.warmup_ratio=0.25",
            "keep_texts=no",
            "device=cpu",
        ],
    )
    assert (config.preset, config.n_train, config.n_benign, config.keep_texts) == ("demo", 75, 0, False)
    assert (config.train.objective, config.train.num_train_epochs, config.train.warmup_ratio) == ("dpo", 4, 0.25)
    assert (config.seed, config.train.seed, config.device) == (7, 7, "cpu")
    assert config.train.target_modules == ("q_proj", "v_proj")
    assert config.critique.stop == ("a", "b")
    assert {s.max_tokens for s in (config.draft, config.revision, config.answer)} == {50}
    assert (config.draft.temperature, config.critique.temperature) == (0.0, 0.7)


def test_an_objective_brings_its_own_defaults_and_the_presets_own_keeps_the_presets() -> None:
    from engine.settings import SAMPLED, preset

    assert build_config("demo", {}) == preset("demo")
    assert build_config("demo", {"objective": "dpo"}).train == SAMPLED
    assert build_config("demo", {"teacher": "samples"}).train == SAMPLED
    assert build_config("demo", {"objective": preset("demo").train.objective}) == preset("demo")


@pytest.mark.parametrize("term", ["dumb", "unknown", "emacs", "", None])
def test_a_dumb_terminal_gets_the_plain_display(
    redraft_home: Path, monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    from tui.terminal import output

    monkeypatch.setattr(output, "is_terminal", lambda _: True)
    monkeypatch.delenv("TERM") if term is None else monkeypatch.setenv("TERM", term)
    assert not output.has_terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    assert output.has_terminal()
