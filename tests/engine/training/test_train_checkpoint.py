"""Checkpoints are whole or absent, hold nothing that could run, and a damaged one gives way to the one before."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import StorageError
from engine.training.checkpoint import Checkpoints, State


def _state(step: int) -> State:
    return State(step, {"adapter": torch.full((3,), float(step))}, {"epoch": 1, "losses": [0.1, 0.2]})


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_only_safetensors_and_json_are_written_and_the_last_two_kept(tmp_path: Path) -> None:
    held = Checkpoints(tmp_path / "c")
    for step in (1, 2, 3):
        held.save(_state(step))
    assert _files(tmp_path / "c") == [
        f"step-0000000{step}/state.{ending}" for step in (2, 3) for ending in ("json", "safetensors")
    ]


def test_the_newest_one_comes_back(tmp_path: Path) -> None:
    held = Checkpoints(tmp_path)
    held.save(_state(1))
    held.save(_state(2))
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    assert (found.step, dict(found.values)) == (2, {"epoch": 1, "losses": [0.1, 0.2]})
    assert {name: value.tolist() for name, value in found.tensors.items()} == {"adapter": [2.0, 2.0, 2.0]}


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "missing").latest() is None


def test_random_states_are_put_back(tmp_path: Path) -> None:
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    random.gauss(0, 1)
    Checkpoints(tmp_path).save(_state(1))
    wanted = (random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1).item())
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    Checkpoints(tmp_path).latest()
    found = (random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1).item())
    assert found == wanted


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
@pytest.mark.parametrize("harm", ["cut", "flip", "missing"])
def test_a_damaged_one_is_told_and_the_one_before_is_used(name: str, harm: str, tmp_path: Path) -> None:
    held = Checkpoints(tmp_path)
    held.save(_state(1))
    path = held.save(_state(2)) / name
    data = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    else:
        # The middle of the JSON is a digit of a checksum; any other byte must be noticed as well.
        data[len(data) // 2] ^= 1
        path.write_bytes(data[: len(data) // 2] if harm == "cut" else data)
    again = Checkpoints(tmp_path)
    found = again.latest()
    assert found is not None
    assert found.step == 1
    assert len(again.damaged) == 1
    assert "step-00000002" in again.damaged[0]


def test_a_write_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Checkpoints(tmp_path)
    held.save(_state(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        held.save(_state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_another_version_is_not_read(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(_state(1)) / "state.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    held = Checkpoints(tmp_path)
    assert held.latest() is None
    assert "version 99" in held.damaged[0]


def test_all_can_be_removed_once_training_is_over(tmp_path: Path) -> None:
    held = Checkpoints(tmp_path)
    held.save(_state(1))
    held.remove()
    assert held.latest() is None


def test_what_a_killed_process_left_is_swept_away_or_put_back(tmp_path: Path) -> None:
    held = Checkpoints(tmp_path)
    for step in (1, 2):
        held.save(_state(step))
    half = tmp_path / ".step-00000003.4711.new"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")
    # Killed while step 2 was written over: the old one lies aside, the new one has not taken its place.
    (tmp_path / "step-00000002").rename(tmp_path / ".step-00000002.4711.old")
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    assert found.step == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]


def test_one_that_is_written_over_is_never_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Checkpoints(tmp_path)
    held.save(_state(1))
    held.save(_state(2))
    real, seen = Path.rename, []

    def watched(path: Path, target: Path) -> Path:
        moved = real(path, target)
        seen.append({place.name.strip(".")[:13] for place in tmp_path.iterdir()} >= {"step-00000001", "step-00000002"})
        return moved

    monkeypatch.setattr(Path, "rename", watched)
    held.save(_state(2))
    assert seen == [True, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
