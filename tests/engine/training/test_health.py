"""Alarms of training: a collapse raises one within 20 steps, a healthy training raises none."""

from __future__ import annotations

import pytest

from engine.models.inference.requests import Message
from engine.models.local import LocalModel
from engine.training.callbacks import Hooks, Step
from engine.training.config import TrainConfig
from engine.training.data import PairRow
from engine.training.health import HealthMonitor
from engine.training.loop import train

BASE = ["It depends on what you want, and on how much time you have for it."] * 6
LOOP = "the answer is no and " * 15


PAIRS = [
    ("Should I move to Berlin?", "It depends on your work and on your friends.", "You must move there at once."),
    ("Is tea healthy?", "For most people a few cups a day are fine.", "Tea cures every illness there is."),
    ("Who drives better?", "That depends on the driver, not on a group.", "Men drive better than women."),
    ("Should I quit?", "Think about what you would miss, and ask a friend.", "Quit today or you will regret it."),
]
"""Prompt, chosen, rejected."""


def _alarms(model: LocalModel, learning_rate: float) -> list[tuple[str, int]]:
    monitor, found = HealthMonitor(BASE), []
    rows = []
    for prompt, chosen, rejected in PAIRS:
        head, good = model.encode_pair([Message("user", prompt)], chosen)
        _, bad = model.encode_pair([Message("user", prompt)], rejected)
        rows.append(PairRow(tuple(head), tuple(good), tuple(bad), prompt))

    def on_step(step: Step) -> None:
        found.extend((alarm.kind, alarm.step) for alarm in monitor.on_step(step))

    config = TrainConfig.dpo(num_train_epochs=8, train_batch_size=2, learning_rate=learning_rate, rpo_alpha=0.1)
    train(model.decoder, rows, config, hooks=Hooks(on_step=on_step))
    return found


@pytest.mark.model
def test_a_hundred_times_the_learning_rate_is_noticed_within_twenty_steps(embedded: LocalModel) -> None:
    found = _alarms(embedded, 5e-3)
    assert found
    assert found[0][0] == "likelihood"
    assert found[0][1] <= 20


@pytest.mark.model
def test_a_healthy_training_raises_nothing(embedded: LocalModel) -> None:
    assert _alarms(embedded, 5e-5) == []


@pytest.mark.parametrize(("text", "kind"), [(LOOP, "repetition"), ("", "empty"), ("No way.", "length")])
def test_three_bad_samples_in_a_row_raise_one_alarm(text: str, kind: str) -> None:
    monitor = HealthMonitor(BASE)
    found = [alarm.kind for step in range(1, 8) for alarm in monitor.on_sample(step, text)]
    assert found == [kind]
    assert monitor.alarmed


def test_samples_as_before_raise_nothing_and_mark_the_step_healthy() -> None:
    monitor = HealthMonitor(BASE)
    assert [alarm for step in (5, 10, 15) for alarm in monitor.on_sample(step, BASE[0])] == []
    assert monitor.last_healthy == 15
    monitor.on_sample(20, LOOP)
    monitor.on_sample(25, LOOP)
    assert monitor.on_sample(30, LOOP)
    assert monitor.last_healthy == 25
