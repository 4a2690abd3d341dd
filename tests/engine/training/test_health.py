"""Alarms of training: a collapse raises one within 20 steps, a healthy training raises none."""

from __future__ import annotations

import pytest

from engine.models.inference.requests import Message
from engine.models.local import LocalModel
from engine.training.callbacks import Hooks, Step
from engine.training.config import TrainConfig
from engine.training.data import PairRow
from engine.training.health import MARGIN_RANGE, HealthMonitor
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


def _alarms(model: LocalModel, learning_rate: float, epochs: int = 8) -> list[tuple[str, int]]:
    monitor, found = HealthMonitor(BASE), []
    rows = []
    for prompt, chosen, rejected in PAIRS:
        head, good = model.encode_pair([Message("user", prompt)], chosen)
        _, bad = model.encode_pair([Message("user", prompt)], rejected)
        rows.append(PairRow(tuple(head), tuple(good), tuple(bad), prompt))

    def on_step(step: Step) -> None:
        found.extend((alarm.kind, alarm.step) for alarm in monitor.on_step(step))

    config = TrainConfig.dpo(num_train_epochs=epochs, train_batch_size=2, learning_rate=learning_rate, rpo_alpha=0.1)
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
    assert _alarms(embedded, 5e-5, epochs=4) == []


@pytest.mark.parametrize(("text", "kind"), [(LOOP, "repetition"), ("", "empty"), ("No way.", "length")])
def test_three_bad_samples_in_a_row_raise_one_alarm(text: str, kind: str) -> None:
    monitor = HealthMonitor(BASE)
    found = [alarm.kind for step in range(1, 8) for alarm in monitor.on_samples(step, [text]).alarms]
    assert found == [kind]
    assert monitor.alarmed


def test_samples_as_before_raise_nothing_and_mark_the_step_healthy() -> None:
    monitor = HealthMonitor(BASE)
    assert [alarm for step in (5, 10, 15) for alarm in monitor.on_samples(step, [BASE[0]]).alarms] == []
    assert monitor.last_healthy == 15
    # Already the first loop is no healthy step to return to, though one alone is no alarm.
    assert not monitor.on_samples(20, [LOOP]).healthy
    monitor.on_samples(25, [LOOP])
    assert monitor.on_samples(30, [LOOP]).alarms
    assert monitor.last_healthy == 15


def test_samples_that_are_no_answer_or_all_alike_raise_an_alarm() -> None:
    base = [" ".join(f"word{n}{i}" for i in range(16)) for n in range(8)]
    monitor = HealthMonitor(base, base_unusable=0.1)
    kinds = [a.kind for step in range(1, 4) for a in monitor.on_samples(step, base[:4], unusable=0.75).alarms]
    assert kinds == ["unusable"]
    monitor = HealthMonitor(base)
    kinds = [a.kind for step in range(1, 4) for a in monitor.on_samples(step, [base[0]] * 8).alarms]
    assert kinds == ["distinct"]


def _step(number: int, **metrics: float) -> Step:
    loss = metrics.pop("loss", 0.5)
    return Step(number, 20, 1, number, 20, loss, 0.0, 1e-4, 1.0, 100, 1.0, 100.0, False, metrics)


def test_a_margin_far_out_of_range_raises_an_alarm_with_its_limit() -> None:
    for margin, limit in ((-3.0, MARGIN_RANGE[0]), (60.0, MARGIN_RANGE[1])):
        monitor = HealthMonitor(BASE)
        alarms = [a for n in range(1, 6) for a in monitor.on_step(_step(n, **{"rewards/margins": margin}))]
        assert [(a.kind, a.step, a.measured, a.limit) for a in alarms] == [("margin", 3, margin, limit)]
        assert not monitor.on_samples(5, BASE).healthy


def test_the_margins_and_likelihoods_of_a_healthy_demo_raise_nothing() -> None:
    monitor = HealthMonitor(BASE)
    margins = [0, 0, 0.03, 0.02, 0.1, 0.12, 0.04, 0.1, 3.2, 2.2, 1.46, 0.89, 2.1, 3.2, 1.4, 2.3, 1.7, 2.9, 4, 4.6]
    for number, margin in enumerate(margins, 1):
        assert not monitor.on_step(_step(number, **{"rewards/margins": margin, "logratios/chosen": 0.01 * number}))
    assert monitor.on_samples(20, BASE).healthy


def test_a_rising_loss_of_sft_is_a_lost_likelihood() -> None:
    monitor = HealthMonitor(BASE)
    alarms = [a for n, loss in enumerate((2.0, 2.2, 4.0, 6.0, 9.0), 1) for a in monitor.on_step(_step(n, loss=loss))]
    assert [(a.kind, a.step) for a in alarms] == [("likelihood", 4)]


def test_a_resumed_training_raises_an_alarm_at_the_same_step() -> None:
    values = [0.1, 0.2, 4.0, 4.0, 4.0, 4.0]
    whole, resumed = HealthMonitor(BASE), HealthMonitor(BASE)
    steps = [_step(n, **{"logratios/chosen": chosen}) for n, chosen in enumerate(values, 1)]
    raised = [alarm.step for step in steps for alarm in whole.on_step(step)]
    # The killed process had done five steps; its last checkpoint is of the third.
    for number, chosen in enumerate(values[:5], 1):
        resumed.recall_step(number, 0.5, chosen, None)
    assert [alarm.step for step in steps[3:] for alarm in resumed.on_step(step)] == raised == [4]
    for step in (2, 4):
        whole.on_samples(step, [LOOP])
        resumed.recall_samples(whole.on_samples(step, [LOOP]).figures)
    assert [a.kind for a in resumed.on_samples(6, [LOOP]).alarms] == ["repetition"]
