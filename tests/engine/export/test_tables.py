"""Tables and curves of a run are what pandas, pyarrow and TensorBoard's own reader find in the files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from export_samples import HOSTILE

from engine.errors import InputError
from engine.export.tables import step_metrics, write_tables
from engine.export.tensorboard import write_events


def test_csv_has_a_row_per_answer_pair_and_step(run: Path, tmp_path: Path) -> None:
    files = write_tables(run, tmp_path / "out", "csv")
    tables = {file.stem: list(csv.DictReader(file.open(newline=""))) for file in files}
    assert [len(tables[name]) for name in ("compared", "pairs", "steps")] == [10, 2, 3]
    first, second = tables["compared"][:2]
    assert (first["model"], first["score"], first["probability/fairness"]) == ("base", "2.0", "0.9")
    assert (second["model"], second["score"]) == ("trained", "0.0")
    assert tables["compared"][6]["score"] == ""  # no verdict is no number
    assert tables["pairs"][0]["critique"] == "Too harsh."
    assert tables["pairs"][1]["prompt"] == HOSTILE
    assert [row["rewards/margins"] for row in tables["steps"]] == ["1.0", "2.0", "3.0"]
    assert [row["eval_loss"] for row in tables["steps"]] == ["", "", "0.6"]


def test_parquet_is_read_by_pandas_with_the_right_types(run: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    write_tables(run, tmp_path, "parquet")
    compared = pandas.read_parquet(tmp_path / "compared.parquet")
    assert compared.groupby("model")["score"].mean().to_dict() == {"base": 0.5, "trained": 0.4}
    assert pandas.read_parquet(tmp_path / "pairs.parquet")["kept"].tolist() == [True, False]


def test_metrics_have_the_names_that_trl_logs() -> None:
    assert {"rewards/chosen", "rewards/margins", "rewards/accuracies", "logps/chosen"} <= set(step_metrics())
    assert step_metrics()["rewards/chosen"] == "rewards_chosen"


def test_tensorboards_own_reader_finds_the_curves(run: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # the second replaces the first
        write_events(run, tmp_path / "logs")
    found = accumulator.EventAccumulator(str(tmp_path / "logs"))
    found.Reload()
    assert {"train/loss", "train/rewards/margins", "eval/loss"} <= set(found.Tags()["scalars"])
    assert [(event.step, round(event.value, 4)) for event in found.Scalars("train/loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 0.3333),
    ]
    assert [(event.step, round(event.value, 4)) for event in found.Scalars("eval/loss")] == [(3, 0.6)]
    assert found.Scalars("train/loss")[0].wall_time > 1e9


def test_a_file_is_not_taken_for_a_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="this is a file"):
        write_tables(run, tmp_path / "out", "csv")


def test_a_run_that_has_nothing_yet_says_so(run: Path, tmp_path: Path) -> None:
    (run / "journal.jsonl").write_text("")
    (run / "report.json").unlink()
    with pytest.raises(InputError, match="no pairs, steps or answers yet"):
        write_tables(run, tmp_path / "out", "csv")
    with pytest.raises(InputError, match="has not trained yet"):
        write_events(run, tmp_path / "logs")
