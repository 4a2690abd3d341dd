"""Trackers get the numbers of training under TRL's names, one run per training, and never cost a run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import call

from engine.errors import InputError
from engine.export.tensorboard import write_events
from engine.export.trackers import Reporting, check_trackers, make_tracker
from engine.runs.folder import read_config
from engine.runs.journal_reader import read


class Recorded(SimpleNamespace):
    """The functions that trackio and wandb have in common; what they were called with is in `calls`."""

    def __init__(self) -> None:
        super().__init__(calls=[])

    def init(self, **options: Any) -> None:
        print("Hello from a tracker")
        self.calls.append(("init", options))

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append((step, values))

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_tracker_gets_each_step_once_under_trls_names(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    module = Recorded()
    monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    monkeypatch.setenv(f"{name.upper()}_PROJECT", "mine")
    check_trackers([name])
    reporting = Reporting({name: make_tracker(name, run, read_config(run))}, print)
    for records in ([record] for record in read(run)):
        reporting.add(records)
    reporting.add(list(read(run)))  # as after a resume
    reporting.close()
    assert not capsys.readouterr().out
    (first, options), *steps, (last, _) = module.calls
    assert (first, last) == ("init", "finish")
    assert (options["project"], options["name"]) == ("mine", "small")
    assert options["config"]["learning_rate"] > 0
    trained = [values for step, values in steps if "train/loss" in values]
    assert [step for step, values in steps if "train/loss" in values] == [1, 2, 3]
    assert {"train/loss", "train/rewards/margins", "train/epoch"} <= trained[0].keys()
    assert (3, {"eval/loss": 0.6}) in steps
    assert not any("May I" in str(one) for one in module.calls)


def test_a_tracker_that_fails_is_left_out_and_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Recorded()
    module.log = lambda *_args, **_options: 1 / 0  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "wandb", module)  # type: ignore[arg-type]
    said: list[str] = []
    reporting = Reporting({"wandb": make_tracker("wandb", run, read_config(run))}, said.append)
    reporting.add(list(read(run)))
    reporting.close()
    assert len(said) == 1
    assert "wandb failed (ZeroDivisionError" in said[0]


def test_event_files_of_a_resumed_run_hold_each_step_once(run: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        reporting = Reporting({"tensorboard": make_tracker("tensorboard", run, read_config(run))}, print)
        reporting.add(list(read(run)))
        reporting.close()
    place = run / "exports" / "tensorboard"
    for _ in ("tracked", "exported"):
        found = accumulator.EventAccumulator(str(place))
        found.Reload()
        assert [event.step for event in found.Scalars("train/loss")] == [1, 2, 3]
        write_events(run, place)


def test_a_missing_package_is_named_before_anything_is_written(
    redraft_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    done = call("run", "-o", tmp_path / "run", "--report-to", "trackio")
    assert done.returncode == 2
    assert "pip install trackio" in done.stderr
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"Choose one of tensorboard, trackio, wandb\."):
        check_trackers(["mlflow"])


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_the_real_package_has_these_functions(name: str) -> None:
    module = pytest.importorskip(name)
    assert all(callable(getattr(module, function)) for function in ("init", "log", "finish"))
