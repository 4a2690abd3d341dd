"""Ratios, medians, trust, and how other programs' share of the cores is told."""

from __future__ import annotations

import pytest

from benchmarks.measure import BUSY, Sample, Stopwatch, interleave, peak_memory, ratio
from benchmarks.side import busy_core
from benchmarks.work import spread
from engine.cores import busy_seconds


def samples(*rates: float, others: float | None = 0.0) -> list[Sample]:
    return [Sample(rate * 2, 2.0, others) for rate in rates]


def test_the_median_is_of_the_rounds_ratios_not_a_ratio_of_medians() -> None:
    found = ratio("r", samples(10, 30, 8), samples(1, 10, 4), unit="tokens/s", goal=3.0)
    assert (found.median, found.low, found.high, found.rounds) == (3.0, 2.0, 10.0, 3)
    assert found.reached is True
    assert "10 against 4 tokens/s" in found.detail


@pytest.mark.parametrize(("at_most", "reached"), [(False, False), (True, True)])
def test_a_goal_is_a_lower_or_an_upper_limit(at_most: bool, reached: bool) -> None:
    assert ratio("r", samples(1), samples(1), unit="MB", goal=1.2, at_most=at_most).reached is reached


def test_without_a_goal_nothing_is_reached_or_missed() -> None:
    assert ratio("r", samples(1), samples(1), unit="x").reached is None


@pytest.mark.parametrize(("shares", "trusted"), [((0, 0, 0), True), ((0.5, 0, 0), True), ((0.5, 0, 0.5), False)])
def test_a_ratio_is_trusted_while_fewer_than_half_of_its_rounds_were_disturbed(
    shares: tuple[float, ...], trusted: bool
) -> None:
    ours = [Sample(1, 1, share) for share in shares]
    found = ratio("r", ours, samples(1, 1, 1), unit="x")
    assert found.trusted is trusted
    assert ("50%" in found.detail) is any(shares)


def test_a_peer_that_was_disturbed_counts_as_well() -> None:
    assert not ratio("r", samples(1), samples(1, others=2 * BUSY), unit="x").trusted


def test_what_cannot_be_disturbed_is_always_trusted() -> None:
    assert ratio("r", samples(1, others=0.9), samples(1, others=0.9), unit="MB", timed=False).trusted


def test_a_system_that_does_not_tell_is_named() -> None:
    found = ratio("r", samples(1, others=None), samples(1, others=None), unit="x")
    assert found.trusted
    assert "is unknown here" in found.detail


def test_no_round_begins_that_would_not_end_in_time_and_the_first_always_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("benchmarks.measure.time.monotonic", lambda: clock[0])
    said: list[str] = []

    def side(_: int) -> Sample:
        clock[0] += 20.0
        return Sample(1.0, 20.0)

    assert len(interleave({"a": side, "b": side}, 9, said.append, 125.0)["b"]) == 3
    assert "3 of 9 rounds" in said[-1]
    assert len(interleave({"a": side}, 9, seconds=1.0)["a"]) == 1


def test_rounds_are_interleaved() -> None:
    order: list[tuple[str, int]] = []

    def side(name: str) -> Sample:
        order.append((name, len(order)))
        return Sample(1, 1)

    found = interleave({"a": lambda _: side("a"), "b": lambda _: side("b")}, 2)
    assert [name for name, _ in order] == ["a", "b", "a", "b"]
    assert [len(found[name]) for name in ("a", "b")] == [2, 2]


@pytest.mark.skipif(busy_seconds() is None, reason="the system does not tell")
def test_another_program_is_seen_and_our_own_helper_is_not() -> None:
    with busy_core() as pid:
        with Stopwatch() as unaware:
            sum(range(20_000_000))
        with Stopwatch(also=(pid,)) as aware:
            sum(range(20_000_000))
    assert unaware.others is not None
    assert aware.others is not None
    assert unaware.others > 0
    assert aware.others < unaware.others


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_memory()
    held = bytearray(before + 50_000_000)
    assert peak_memory() - before > 40_000_000
    del held


@pytest.mark.parametrize(("count", "wanted", "places"), [(8, 2, [2, 6]), (3, 5, [0, 1, 2]), (64, 1, [32]), (0, 2, [])])
def test_a_spread_takes_the_middle_of_each_part(count: int, wanted: int, places: list[int]) -> None:
    assert spread(count, wanted) == places
