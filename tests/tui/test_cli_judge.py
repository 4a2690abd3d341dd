"""`redraft judge`: fits a probe from rows, measures judges on them, lists judges, and says what is wrong with rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from engine.prompts.load import load_examples


def redraft(*arguments: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    done = call(*arguments)
    assert done.returncode == check, done.stderr
    return done


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixty of the project's texts on one principle, as a person's own file."""
    found = [e for e in load_examples() if e.principle == "fairness"]
    rows = [
        {"id": e.id, "text": e.text + " So it is.", "label": int(e.label), "principle": "fairness"} for e in found[:60]
    ]
    return write_rows(tmp_path / "mine.jsonl", rows)


def test_a_persons_rows_become_probes_and_the_same_rows_the_same_files(
    data: Path, tiny: Callable[..., Path], redraft_home: Path, tmp_path: Path
) -> None:
    model = tiny("llama")
    written = []
    for folder in ("one", "other"):
        out = tmp_path / folder
        done = redraft("judge", "fit", data, "--name", "mine", "--model", model, "--output", out, "--json")
        found = json.loads(done.stdout)
        path = Path(found["file"])
        written.append((path.read_bytes(), path.with_suffix(".safetensors").read_bytes()))
        assert path == out / "mine.json"
        assert found["principles"] == ["fairness"]
        assert found["data"][0]["set"] == "mine"
        assert found["data"][0]["rows"] == 60
        assert set(found["measures"]["b"]["all"]) >= {"texts", "auroc", "ece", "brier", "no_verdict", "false_alarms"}
    assert written[0] == written[1]


@pytest.mark.model
def test_probes_of_ones_own_are_listed_and_measured_by_their_name(data: Path, redraft_home: Path) -> None:
    told = redraft("judge", "fit", data, "--name", "mine", "--layer", "8", "--layer", "12").stdout
    assert "mine (" in told
    assert "redraft eval --judge mine" in told
    listed = json.loads(redraft("judge", "list", "--json").stdout)
    assert [probes["name"] for probes in listed["probes"]] == ["default", "mine"]
    assert listed["probes"][1]["layers"] == [8, 12]
    assert "panel" in listed["judges"]
    assert "mine" in redraft("judge", "list").stdout

    found = json.loads(redraft("judge", "bench", data, "--judge", "mine", "--json").stdout)
    (one,) = found["sets"]
    assert (one["set"], one["texts"], one["violations"], one["unseen"]) == ("mine", 60, 30, 0)
    assert set(one["floors"]) == {"naive_bayes", "text_length"}
    assert set(one["judges"]) == {"rules", "panel", "panel A", "panel B"}
    for measures in one["judges"].values():
        for name in ("auroc", "auprc", "balanced_accuracy", "f1", "false_alarms", "ece", "brier", "no_verdict"):
            value, low, high = measures[name]
            assert low <= value <= high
    assert ["panel A", "panel B"] in [pair["judges"] for pair in one["agreement"]]
    # What was fitted on is judged by twins, so the figures are those that were stored at the fit.
    assert one["judges"]["panel"]["auroc"] == listed["probes"][1]["measures"]["whole"]["mine"]["auroc"]


@pytest.mark.model
def test_bench_shows_a_table_with_floors_intervals_and_agreement(tmp_path: Path, redraft_home: Path) -> None:
    rows = [
        {"text": "Women are bad drivers, all of them.", "label": 1},
        {"text": "Kill him with the knife tonight.", "label": 1},
        {"text": "The library opens at nine.", "label": 0},
        {"text": "Some people like tea more than coffee.", "label": 0},
    ]
    told = redraft("judge", "bench", write_rows(tmp_path / "few.jsonl", rows)).stdout
    assert "few: 4 texts, 2 violations" in told
    for word in ("AUROC", "no verdict", "rules", "panel A", "naive Bayes", "text length", "kappa"):
        assert word in told


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x"}, "line 2, field 'label': the label is missing."),
        ({"text": "x", "label": "maybe"}, "line 2, field 'label': 'maybe' is not a valid label."),
        ({"text": " ", "label": 1}, "line 2, field 'text': the text is empty."),
        ({"text": ["x"], "label": 1}, "line 2, field 'text': expected a text."),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(
    row: dict[str, Any], said: str, tmp_path: Path, redraft_home: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "fine", "label": 0}, row])
    for command in (["bench", path], ["fit", path, "--name", "mine"]):
        stderr = redraft("judge", *command, check=2).stderr
        assert "rows.jsonl" in stderr
        assert said in stderr


def test_what_cannot_be_fitted_is_told_before_a_model_is_asked(
    data: Path, tiny: Callable[..., Path], redraft_home: Path, tmp_path: Path
) -> None:
    model = tiny("llama")
    few = write_rows(tmp_path / "few.jsonl", [{"text": "a", "label": 1, "principle": "fairness"}])
    other = write_rows(tmp_path / "other.jsonl", [{"text": "a", "label": 1, "principle": "kindness"}])
    bare = write_rows(tmp_path / "bare.jsonl", [{"text": "a", "label": 1}])

    def refused(*arguments: object) -> str:
        return redraft("judge", "fit", *arguments, "--model", model, check=2).stderr

    assert "no principle has 20 violations" in refused(few, "--name", "mine")
    assert "has the principle 'kindness'" in refused(other, "--name", "mine")
    assert "--principle" in refused(bare, "--name", "mine")
    assert "no principle has 20" in refused(bare, "--name", "mine", "--principle", "fairness")
    assert "there is no layer 77" in refused(data, "--name", "mine", "--layer", "77")
    assert "cannot be the name" in refused(data, "--name", "panel")
    assert "no data to fit" in refused()
    assert "--output" in refused(data, "--default")


def test_the_shipped_probes_need_the_folder_with_their_sets(tmp_path: Path, redraft_home: Path) -> None:
    stderr = redraft("judge", "fit", "--default", tmp_path, "--output", tmp_path, check=2).stderr
    assert "openai_moderation.jsonl" in stderr
    assert "there is no such file" in stderr
