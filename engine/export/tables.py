"""A run as tables for pandas: compared answers, training pairs, optimizer steps; as CSV or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.events.schema import schema
from engine.events.training import TrainStep
from engine.export.training_pairs import TrainingHistory, read_history
from engine.files import write_atomically
from engine.json_values import number_or_none
from engine.runs.store import REPORT, read_report

Table = list[dict[str, Any]]

_STEP = ("step", "epoch", "loss", "learning_rate", "grad_norm", "num_tokens", "seconds")
"""Columns of the table of steps before the objective's own, by the names that transformers and TRL log."""


def read_tables(folder: Path) -> dict[str, Table]:
    """Name -> rows. All rows of a table have the same columns; a table without rows is left out.

    `compared` needs the report of a finished run; `pairs` and `steps` are there as soon as the journal has them.

    Raises:
        StorageError: journal or report cannot be read.
    """
    history = read_history(folder)
    data = read_report(folder) if (folder / REPORT).exists() else {}
    rows = [row for row in data.get("prompts") or () if isinstance(row, Mapping)]
    found = {"compared": _compared(rows), "pairs": _pairs(history), "steps": _steps(history)}
    return {name: table for name, table in found.items() if table}


def write_tables(folder: Path, target: Path, file_format: str) -> list[Path]:
    """Write each table into one file of a folder; returns the files.

    Args:
        file_format: "csv" or "parquet".

    Raises:
        InputError: the run has no table yet, `target` is a file, or pyarrow is missing.
        StorageError: a file cannot be read or written.
    """
    if target.exists() and not target.is_dir():
        raise InputError("this is a file.", where=str(target), next_step="Name a folder; there are several tables.")
    tables = read_tables(folder)
    if not tables:
        raise InputError(
            "the run has no pairs, steps or answers yet.", where=str(folder), next_step="Follow it: `redraft watch`."
        )
    convert = _as_csv if file_format == "csv" else _as_parquet
    files = []
    for name, table in tables.items():
        path = target / f"{name}.{file_format}"
        write_atomically(path, convert(table))
        files.append(path)
    return files


def _compared(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per answer of the base and the trained model: long format, so that a group-by needs no reshaping."""
    principles = sorted({name for row in rows for arm in ("base", "trained") for name in _probabilities(row, arm)})
    return [
        {
            "set": row.get("set"),
            "id": row.get("id"),
            "sample": row.get("sample", 0),
            "topic": row.get("topic"),
            "principle": row.get("principle"),
            "model": arm,
            "prompt": row.get("prompt"),
            "answer": row.get(arm),
            "score": number_or_none(row.get(f"{arm}_score")),
            "flagged": _verdict(row, arm).get("flagged"),
            "quality": _verdict(row, arm).get("quality"),
            "judge": _verdict(row, arm).get("judge"),
            **{f"probability/{name}": number_or_none(_probabilities(row, arm).get(name)) for name in principles},
            "reasoning": _verdict(row, arm).get("reasoning"),
        }
        for row in rows
        for arm in ("base", "trained")
    ]


def _verdict(row: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    found = row.get(f"{arm}_verdict")
    return found if isinstance(found, Mapping) else {}


def _probabilities(row: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    found = _verdict(row, arm).get("principles")
    return found if isinstance(found, Mapping) else {}


def _pairs(history: TrainingHistory) -> Table:
    return [
        {
            "id": pair.item,
            "prompt": pair.prompt,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "kept": pair.kept,
            "reason": pair.reason,
            "principle": pair.principle,
            "draft": pair.draft,
            "critique": pair.critique,
            "expected_score_chosen": pair.expected_chosen,
            "expected_score_rejected": pair.expected_rejected,
        }
        for pair in history.pairs
    ]


def _steps(history: TrainingHistory) -> Table:
    validation = dict(history.validation)
    metrics = [name for name in step_metrics() if any(value(step, name) is not None for step in history.steps)]
    return [
        {
            **{name: getattr(step, name) for name in _STEP},
            **{name: value(step, name) for name in metrics},
            "eval_loss": validation.get(number),
        }
        for number, step in enumerate(history.steps, 1)
    ]


def step_metrics() -> dict[str, str]:
    """TRL's name of each metric of an objective -> the attribute of `TrainStep` that holds it."""
    return {member.key: member.name for member in schema(TrainStep).data if member.optional}


def value(step: TrainStep, metric: str) -> float | None:
    """A step's metric by TRL's name; None where the objective has none of this name."""
    found = getattr(step, step_metrics()[metric], None)
    return found if isinstance(found, int | float) else None


def _as_csv(table: Table) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue().encode("utf-8", "replace")


def _as_parquet(table: Table) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "writing Parquet needs the package pyarrow.",
            where="--format parquet",
            next_step="Install it: pip install 'redraft[data]'; or take --format csv.",
        ) from None
    columns = {name: [_plain(row[name]) for row in table] for name in table[0]}
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _plain(value: Any) -> Any:
    """A text without what UTF-8 cannot hold; anything else as it is."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
