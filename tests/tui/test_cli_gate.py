"""`redraft gate` says in an exit code, a line and JUnit XML what came of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.runs.more_prompts import more_for_benign, more_for_score, needed_prompts
from engine.runs.report import BenignChange, Change, Report
from tui.cli import main
from tui.commands import gate


def report(outcome: str, **summary: Any) -> dict[str, Any]:
    """A report as a run writes it."""
    held = outcome == "confirmed"
    return {
        "version": 1,
        "seconds": 12.5,
        "judge": {"name": "panel", "accuracy": "AUROC .94"},
        "models": {"generator": "tiny"},
        "summary": {
            "outcome": outcome,
            "scope": "this checkpoint",
            "score": {
                "n": 40,
                "base": 0.49,
                "trained": 0.34,
                "relative_interval": [-0.44, -0.17],
                "smallest_detectable": 0.1,
            },
            "conditions": [
                {"id": "score", "met": True, "needed": True, "detail": "Score 0.49 → 0.34."},
                {"id": "benign", "met": held, "needed": True, "detail": "Benign refusals 0.00 → 0.00 of 30 prompts."},
                {"id": "seeds", "met": False, "needed": False, "detail": "1 of 3 training seeds."},
            ],
            "benign": [
                {
                    "what": "refusals",
                    "n": 30,
                    "base": 0.0,
                    "trained": 0.0,
                    "bound": 0.083,
                    "margin": 0.05,
                    "holds": held,
                }
            ],
            **summary,
        },
    }


@pytest.fixture
def run(tmp_path: Path, redraft_home: Path) -> Path:
    folder = tmp_path / "small-1128"
    folder.mkdir()
    (folder / "run.json").write_text('{"version": 1, "config": {}}')
    (folder / "journal.jsonl").write_text("")
    return folder


@pytest.mark.parametrize(
    ("outcome", "code"), [("confirmed", 0), ("not confirmed", 1), ("nothing trained", 1), ("worse", 2)]
)
def test_the_exit_code_is_the_outcome(run: Path, capsys: pytest.CaptureFixture[str], outcome: str, code: int) -> None:
    (run / "report.json").write_text(json.dumps(report(outcome)))
    assert main(["gate", str(run)]) == code
    shown = capsys.readouterr()
    assert shown.out.startswith(outcome)
    assert shown.out.count("\n") == 1
    assert not shown.err


def test_the_reason_names_what_is_not_met_and_about_how_much_is_missing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "report.json").write_text(json.dumps(report("not confirmed")))
    assert main(["gate", str(run)]) == 1
    line = capsys.readouterr().out
    assert "score 0.49 → 0.34" in line
    assert "benign not met: needs about 20 more benign prompts" in line


def test_a_run_without_a_report_is_an_error_with_nothing_on_stdout(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", str(run)]) == 64
    shown = capsys.readouterr()
    assert not shown.out
    assert "has no report" in shown.err


@pytest.mark.parametrize("words", [["nowhere"], ["last", "--bogus"], ["last", "--junit"]])
def test_bad_input_is_never_taken_for_a_result(redraft_home: Path, words: list[str]) -> None:
    assert main(["gate", *words]) == 64
    assert main(["show", words[0], *words[1:]]) == 2


def test_an_unexpected_failure_is_never_taken_for_not_confirmed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "report.json").write_text(json.dumps(report("confirmed")))
    monkeypatch.setattr(gate, "reason", lambda _report: 1 / 0)
    assert main(["gate", str(run)]) == 70


def test_json_holds_outcome_code_and_what_is_not_met(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "report.json").write_text(json.dumps(report("not confirmed")))
    assert main(["gate", str(run), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["code"], found["unmet"]) == ("not confirmed", 1, ["benign"])


def test_junit_has_a_case_per_condition_and_fails_those_that_are_needed(run: Path, tmp_path: Path) -> None:
    made = report("not confirmed")
    made["summary"]["conditions"][1]["detail"] = "odd \x1b[31m <&> text"
    (run / "report.json").write_text(json.dumps(made))
    assert main(["gate", str(run), "--junit", str(tmp_path / "out" / "gate.xml")]) == 1
    suite = ElementTree.parse(tmp_path / "out" / "gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["outcome", "benign"]
    message = suite.findall("testcase")[2].find("failure")
    assert message is not None
    assert "<&>" in message.get("message", "")
    assert "needs about 20 more" in message.get("message", "")


def test_a_confirmed_run_fails_no_case(run: Path, tmp_path: Path) -> None:
    (run / "report.json").write_text(json.dumps(report("confirmed")))
    assert main(["gate", str(run), "--junit", str(tmp_path / "gate.xml")]) == 0
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"


def test_more_prompts_shrink_the_detectable_change_with_their_square_root() -> None:
    assert more_for_score(Change(base=0.5, trained=0.4, n=40, smallest_detectable=0.2)) == 120
    assert more_for_score(Change(base=0.5, trained=0.4, n=40, smallest_detectable=0.05)) is None
    assert more_for_score(Change(base=0.5, trained=0.6, n=40, smallest_detectable=0.2)) is None


def test_no_number_of_prompts_is_named_where_none_would_help() -> None:
    worse = Change(base=0.0, trained=0.2, n=30)
    assert more_for_benign(BenignChange("refusals", worse, 0.3, 0.05, False)) is None
    assert needed_prompts(Report(), Report.of(report("not confirmed")).conditions[2]) == ""
