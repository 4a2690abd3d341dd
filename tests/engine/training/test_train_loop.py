"""The loop learns, tells, stops, goes on where it was, and does not mind how its work is dealt out."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from training_aid import Twin, learned, pair_rows, sft_rows

from engine.control import Control
from engine.errors import InputError, Stopped, TrainingError
from engine.models.nn.lora_weights import Adapter
from engine.training.config import TrainConfig
from engine.training.data import Row
from engine.training.distributed import Processes
from engine.training.loop import Epoch, Hooks, Step, Trained, train
from engine.training.lora import tensors
from engine.training.objective import MicroBatchLoss, Sft, Totals
from engine.training.optimizer import learning_rate
from engine.training.policy import Policy

SMALL = {"lora_r": 4, "lora_alpha": 8.0, "train_batch_size": 4, "micro_batch_tokens": 64, "learning_rate": 1e-2}


def _sft(**changes: object) -> TrainConfig:
    return TrainConfig.sft(**{**SMALL, **changes})


def _same(one: Adapter, other: Adapter, tolerance: float = 0.0) -> None:
    for name, value in tensors(one).items():
        torch.testing.assert_close(value, tensors(other)[name], atol=tolerance, rtol=0)


def _stop_at(step: int, control: Control, told: list[Step]) -> Hooks:
    def on_step(found: Step) -> None:
        told.append(found)
        if found.step == step:
            control.stop()

    return Hooks(on_step=on_step)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_what_is_trained_on_gets_better(objective: str, twin: Callable[..., Twin]) -> None:
    told: list[Step] = []
    config = TrainConfig(objective=objective, num_train_epochs=8, **SMALL)  # type: ignore[arg-type]
    rows = sft_rows(16) if objective == "sft" else pair_rows(16)
    result = train(twin("llama").decoder, rows, config, hooks=Hooks(on_step=told.append))
    assert result.steps == len(told) == 32
    assert result.epochs[-1].loss < 0.6 * result.epochs[0].loss
    if objective == "dpo":
        assert told[0].loss == pytest.approx(0.6931, abs=1e-3)
        assert told[-1].metrics["rewards/accuracies"] == 1.0
        assert told[-1].metrics["rewards/margins"] > 0


def test_every_step_tells_what_happened(twin: Callable[..., Twin]) -> None:
    told: list[Step] = []
    epochs: list[Epoch] = []
    rows = sft_rows(10)
    result = train(
        twin("llama").decoder,
        rows,
        _sft(num_train_epochs=2),
        hooks=Hooks(on_step=told.append, on_epoch=epochs.append),
        validation=sft_rows(5, seed=9),
    )
    assert [(s.step, s.epoch, s.batch) for s in told] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 3),
        (4, 2, 1),
        (5, 2, 2),
        (6, 2, 3),
    ]
    assert all((s.steps, s.batches) == (6, 3) for s in told)
    assert told[-1].num_tokens == result.num_tokens == 2 * sum(row.tokens for row in rows)
    assert told[1].change == pytest.approx(told[1].loss - told[0].loss)
    assert [s.learning_rate for s in told] == [learning_rate(_sft(), n, 6) for n in range(6)]
    assert all(s.grad_norm > 0 and s.seconds > 0 and s.tokens_per_second > 0 and not s.skipped for s in told)
    assert epochs == list(result.epochs)
    assert epochs[0].loss == pytest.approx(sum(s.loss for s in told[:3]) / 3)
    assert set(epochs[0].validation) == {"loss", "mean_token_accuracy"}
    assert epochs[0].validation["loss"] != epochs[1].validation["loss"]


def test_samples_are_asked_for_at_the_first_and_every_nth_step(twin: Callable[..., Twin]) -> None:
    asked: list[tuple[int, Adapter]] = []
    train(
        twin("llama").decoder,
        sft_rows(12),
        _sft(num_train_epochs=2, sample_steps=3),
        hooks=Hooks(on_sample=lambda step, adapter: asked.append((step.step, adapter))),
    )
    assert [step for step, _ in asked] == [1, 3, 6]
    name = next(iter(asked[0][1].pairs))
    assert not torch.equal(asked[0][1].pairs[name].a, asked[2][1].pairs[name].a)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_twenty_and_twenty_steps_equal_forty(objective: str, twin: Callable[..., Twin], tmp_path: Path) -> None:
    decoder = twin("llama").decoder
    config = TrainConfig(objective=objective, num_train_epochs=8, save_steps=7, lora_dropout=0.1, **SMALL)  # type: ignore[arg-type]
    rows = sft_rows(20) if objective == "sft" else pair_rows(20)
    whole: list[Step] = []
    wanted = train(decoder, rows, config, hooks=Hooks(on_step=whole.append))
    parts: list[Step] = []
    control = Control()
    with pytest.raises(Stopped):
        train(decoder, rows, config, control=control, hooks=_stop_at(20, control, parts), checkpoints=tmp_path)
    torch.manual_seed(12345)
    found = train(decoder, rows, config, hooks=Hooks(on_step=parts.append), checkpoints=tmp_path)
    assert found.resumed_from == 20
    assert [s.step for s in parts] == [s.step for s in whole] == list(range(1, 41))
    for one, other in zip(parts, whole, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-6)
        assert one.num_tokens == other.num_tokens
    assert [e.loss for e in found.epochs] == pytest.approx([e.loss for e in wanted.epochs], abs=1e-6)
    _same(found.adapter, wanted.adapter, 1e-6)


def test_a_damaged_checkpoint_costs_a_few_steps_and_is_told(twin: Callable[..., Twin], tmp_path: Path) -> None:
    decoder, rows, config = twin("llama").decoder, sft_rows(16), _sft(num_train_epochs=2, save_steps=2)
    wanted = train(decoder, rows, config)
    control = Control()
    with pytest.raises(Stopped):
        train(decoder, rows, config, control=control, hooks=_stop_at(7, control, []), checkpoints=tmp_path)
    newest = max(tmp_path.iterdir())
    (newest / "state.safetensors").write_bytes(b"half")
    notices: list[str] = []
    found = train(decoder, rows, config, hooks=Hooks(on_notice=notices.append), checkpoints=tmp_path)
    assert found.resumed_from == 6
    assert len(notices) == 1
    assert newest.name in notices[0]
    _same(found.adapter, wanted.adapter, 1e-6)


class Killed(BaseException):
    """What a test does to a training at a moment where a process could be killed."""


@pytest.mark.parametrize(("share", "lost"), [(1e9, 1), (-1.0, 3)], ids=["cheap", "dear"])
def test_a_kill_costs_one_step_while_checkpoints_are_cheap(
    twin: Callable[..., Twin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, lost: int
) -> None:
    from engine.training import loop

    monkeypatch.setattr(loop, "_SHARE", share)

    def on_step(step: Step) -> None:
        if step.step == 7:
            raise Killed

    decoder, rows, config = twin("llama").decoder, sft_rows(40), _sft(num_train_epochs=1, save_steps=4)
    with pytest.raises(Killed):
        train(decoder, rows, config, hooks=Hooks(on_step=on_step), checkpoints=tmp_path)
    found = train(decoder, rows, config, checkpoints=tmp_path)
    assert found.resumed_from == 7 - lost
    _same(found.adapter, train(decoder, rows, config).adapter, 1e-6)


def test_reference_values_are_gone_on_with_where_they_stopped(
    twin: Callable[..., Twin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import objective

    passes: list[int] = []
    real = objective.pair_logps

    def counted(policy: Policy, pairs: list[object]) -> object:
        if not policy.learn:
            passes.append(len(pairs))
            if len(passes) == 3:
                raise Killed
        return real(policy, pairs)  # type: ignore[arg-type]

    monkeypatch.setattr(objective, "pair_logps", counted)
    decoder, rows, config = twin("llama").decoder, pair_rows(12), TrainConfig.dpo(**SMALL)
    with pytest.raises(Killed):
        train(decoder, rows, config, references=tmp_path)
    found = train(decoder, rows, config, references=tmp_path)
    interrupted, passes[:] = list(passes), [0, 0, 0]
    whole = train(decoder, rows, config)
    assert len(interrupted) == len(passes) - 3 + 1
    assert interrupted[3:] == passes[3 + 2 :]
    _same(found.adapter, whole.adapter)


def test_a_finished_training_is_not_repeated(twin: Callable[..., Twin], tmp_path: Path) -> None:
    decoder, rows = twin("llama").decoder, sft_rows(8)
    first = train(decoder, rows, _sft(), checkpoints=tmp_path)
    told: list[Step] = []
    again = train(decoder, rows, _sft(), hooks=Hooks(on_step=told.append), checkpoints=tmp_path)
    assert told == []
    assert (again.steps, again.epochs, again.resumed_from) == (first.steps, first.epochs, first.steps)
    _same(again.adapter, first.adapter)


@pytest.mark.parametrize("what", ["rows", "learning_rate", "model"])
def test_a_checkpoint_of_another_training_is_refused_by_name(
    what: str, twin: Callable[..., Twin], tmp_path: Path
) -> None:
    decoder, rows, config = twin("llama").decoder, sft_rows(8), _sft()
    train(decoder, rows, config, checkpoints=tmp_path)
    if what == "rows":
        rows = sft_rows(8, seed=1)
    elif what == "model":
        decoder = decoder.merged(learned(decoder).export())
    else:
        config = dataclasses.replace(config, learning_rate=1e-3)
    with pytest.raises(InputError, match=f"another training: {what} changed"):
        train(decoder, rows, config, checkpoints=tmp_path)


def test_a_stop_takes_effect_within_one_micro_batch(twin: Callable[..., Twin], tmp_path: Path) -> None:
    control, seen = Control(), []

    class Watched(Sft):
        def loss(self, policy: Policy, rows: tuple[Row, ...], totals: Totals) -> MicroBatchLoss:  # type: ignore[override]
            seen.append(len(rows))
            if len(seen) == 6:
                control.stop()
            return super().loss(policy, rows, totals)

    config = _sft(train_batch_size=16, micro_batch_tokens=30, save_steps=0)
    decoder, rows = twin("llama").decoder, sft_rows(32)
    with pytest.raises(Stopped):
        train(decoder, rows, config, control=control, objective=Watched(), checkpoints=tmp_path)
    assert len(seen) == 6
    seen.clear()
    found = train(decoder, rows, config, checkpoints=tmp_path)
    _same(found.adapter, train(decoder, rows, config).adapter, 1e-6)


def test_micro_batches_change_nothing_but_the_last_digits(twin: Callable[..., Twin]) -> None:
    decoder, rows = twin("llama").decoder, sft_rows(16)
    whole = train(decoder, rows, _sft(micro_batch_tokens=10_000, learning_rate=1e-3))
    split = train(decoder, rows, _sft(micro_batch_tokens=20, learning_rate=1e-3))
    assert whole.metrics["loss"] == pytest.approx(split.metrics["loss"], abs=1e-4)


class _Broken(Sft):
    """Returns a NaN loss at some calls."""

    def __init__(self, at: set[int]) -> None:
        self._at, self._calls = at, 0

    def loss(self, policy: Policy, rows: tuple[Row, ...], totals: Totals) -> MicroBatchLoss:  # type: ignore[override]
        self._calls += 1
        found = super().loss(policy, rows, totals)
        return MicroBatchLoss(found.loss * float("nan"), found.sums) if self._calls in self._at else found


def test_a_step_that_is_not_finite_is_skipped_and_told(twin: Callable[..., Twin]) -> None:
    told: list[Step] = []
    notices: list[str] = []
    result = train(
        twin("llama").decoder,
        sft_rows(12),
        _sft(micro_batch_tokens=10_000, num_train_epochs=1),
        objective=_Broken({2}),
        hooks=Hooks(on_step=told.append, on_notice=notices.append),
    )
    assert [s.skipped for s in told] == [False, True, False]
    assert "Step 2 was skipped" in notices[0]
    assert all(torch.isfinite(value).all() for value in tensors(result.adapter).values())
    assert told[2].change == pytest.approx(told[2].loss - told[0].loss)


def test_training_gives_up_after_a_few_bad_steps(twin: Callable[..., Twin]) -> None:
    with pytest.raises(TrainingError, match=r"3 steps in a row.*Lower the learning rate"):
        train(
            twin("llama").decoder, sft_rows(40), _sft(micro_batch_tokens=10_000), objective=_Broken(set(range(2, 99)))
        )


def test_rows_of_the_wrong_kind_are_refused(twin: Callable[..., Twin]) -> None:
    with pytest.raises(InputError, match="SFT learns completions"):
        train(twin("llama").decoder, pair_rows(2), _sft())
    with pytest.raises(InputError, match="DPO trains on pairs"):
        train(twin("llama").decoder, sft_rows(2), TrainConfig.dpo(**SMALL))


def test_reference_values_are_computed_once_and_kept(
    twin: Callable[..., Twin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import objective

    calls: list[int] = []
    real = objective.reference_logps

    def counted(policy: Policy, pairs: list[object], *rest: object) -> object:
        calls.append(len(pairs))
        return real(policy, pairs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(objective, "reference_logps", counted)
    decoder, rows, config = twin("llama").decoder, pair_rows(6), TrainConfig.dpo(**SMALL)
    first = train(decoder, rows, config, references=tmp_path)
    again = train(decoder, rows, config, references=tmp_path)
    assert calls == [6]
    _same(first.adapter, again.adapter)
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(b"damaged")
    train(decoder, rows, config, references=tmp_path)
    train(decoder, rows, config, references=tmp_path, start=learned(decoder).export())
    assert calls == [6, 6, 6]


def test_the_start_of_dpo_is_its_reference(twin: Callable[..., Twin]) -> None:
    decoder, told = twin("llama").decoder, []
    train(
        decoder,
        pair_rows(8),
        TrainConfig.dpo(**{**SMALL, "num_train_epochs": 1}),
        start=learned(decoder).export(),
        hooks=Hooks(on_step=told.append),
    )
    assert told[0].loss == pytest.approx(0.6931, abs=1e-3)


def test_dropout_follows_the_seed_and_is_off_while_measuring(twin: Callable[..., Twin]) -> None:
    decoder, rows = twin("llama").decoder, sft_rows(8)
    one, again, other, without = (
        train(decoder, rows, _sft(lora_dropout=share, seed=seed), validation=rows)
        for share, seed in ((0.3, 0), (0.3, 0), (0.3, 1), (0.0, 0))
    )
    _same(one.adapter, again.adapter)
    assert [epoch.validation for epoch in one.epochs] == [epoch.validation for epoch in again.epochs]
    assert one.metrics["loss"] != other.metrics["loss"]
    assert one.metrics["loss"] != without.metrics["loss"]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_learning_rate_rises_then_follows_its_schedule(schedule: str) -> None:
    config = _sft(lr_scheduler_type=schedule, warmup_ratio=0.2)
    rates = [learning_rate(config, step, 20) / config.learning_rate for step in range(20)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4] == 1.0
    falling = rates[4:]
    assert falling == sorted(falling, reverse=True)
    assert (rates[-1] == 1.0) if schedule == "constant" else (0 < rates[-1] < 0.1)


_WORKER = """
import json, sys, torch
sys.path.insert(0, sys.argv[1])
from training_aid import reference, sft_rows, pair_rows
from engine.models.nn import families
from engine.training.config import TrainConfig
from engine.training.loop import Hooks, train
from engine.training.lora import tensors
from safetensors.torch import save_file
torch.set_num_threads(1)
_, _, folder, out, objective, rank = sys.argv
told = []
rows = sft_rows(13) if objective == "sft" else pair_rows(13)
config = TrainConfig(objective=objective, num_train_epochs=2, lora_r=4, lora_alpha=8.0, train_batch_size=5,
                     micro_batch_tokens=40, learning_rate=1e-3, save_steps=2)
from pathlib import Path
from typing import Any
decoder = families.from_transformers(reference(Path(folder)))
found = train(decoder, rows, config, hooks=Hooks(on_step=lambda s: told.append([s.loss, s.grad_norm, s.num_tokens])),
              validation=rows[:3], checkpoints=Path(out) / "checkpoints")
save_file(tensors(found.adapter), f"{out}/rank{rank}.safetensors")
open(f"{out}/rank{rank}.json", "w").write(json.dumps([told, dict(found.epochs[-1].validation)]))
"""


def _launch(processes: int, folder: Path, out: Path, objective: str) -> None:
    out.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _WORKER, str(Path(__file__).parent), str(folder), str(out), objective]
    running = []
    for rank in range(processes):
        # What `accelerate launch --cpu --num_processes N` sets for each process.
        several = {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        several |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
        environment = {**os.environ, **(several if processes > 1 else {}), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[3])
        running.append(subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True))
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors


def test_two_processes_equal_one(twin: Callable[..., Twin], tmp_path: Path) -> None:
    """SFT; DPO in `tests/engine/pipeline/test_shared_training.py`, in a whole run."""
    from safetensors.torch import load_file

    folder = twin("llama").folder
    for count in (1, 2):
        _launch(count, folder, tmp_path / str(count), "sft")
    single, told = (
        load_file(tmp_path / "1" / "rank0.safetensors"),
        json.loads((tmp_path / "1" / "rank0.json").read_text()),
    )
    for rank in (0, 1):
        both = load_file(tmp_path / "2" / f"rank{rank}.safetensors")
        for name, value in single.items():
            torch.testing.assert_close(both[name], value, atol=1e-5, rtol=0)
    steps, validation = json.loads((tmp_path / "2" / "rank0.json").read_text())
    for one, two in zip(told[0], steps, strict=True):
        assert two == pytest.approx(one, abs=1e-5)
    assert validation == pytest.approx(told[1], abs=1e-5)
    assert json.loads((tmp_path / "2" / "rank1.json").read_text())[0] == []


def test_a_training_tells_its_result_as_plain_data(twin: Callable[..., Twin]) -> None:
    result: Trained = train(twin("llama").decoder, sft_rows(4), _sft(num_train_epochs=1))
    assert result.steps == 1
    assert result.metrics["loss"] > 0
    json.dumps([dataclasses.asdict(epoch) for epoch in result.epochs])


class Float64Watch(TorchFunctionMode):
    """Notes every call that makes a float64 tensor on a device that the caller names."""

    def __init__(self) -> None:
        super().__init__()
        self.named: list[str] = []
        self.made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [*args, *(kwargs or {}).values()]
        if any(value is torch.float64 for value in given):
            self.made += 1
            if any(isinstance(value, torch.device) for value in given):
                self.named.append(str(func))
        return func(*args, **(kwargs or {}))


def test_float64_sums_stay_on_the_cpu_whatever_the_device(twin: Callable[..., Twin]) -> None:
    """Apple's GPUs have no float64: a call that names the model's device with it fails there."""
    with Float64Watch() as watch:
        train(twin("llama").decoder, sft_rows(4), _sft(num_train_epochs=1))
    assert watch.made > 0
    assert watch.named == []


class TwoProcesses(Processes):
    """The first of two processes, without the other."""

    count = 2
    main = True

    def sum_(self, tensor: torch.Tensor) -> None:
        """The other one has nothing to add."""


def test_what_a_callback_raises_in_one_of_several_processes_waits_for_the_step() -> None:
    processes = TwoProcesses(torch.device("cpu"))
    called: list[int] = []
    processes.on_main(lambda: 1 / 0)
    processes.on_main(called.append, 1)
    assert not called  # a callback after one that failed would work on what it left
    with pytest.raises(ZeroDivisionError):
        processes.check_step(Control())
    stopped = Control()
    stopped.stop()
    with pytest.raises(Stopped):
        TwoProcesses(torch.device("cpu")).check_step(stopped)
