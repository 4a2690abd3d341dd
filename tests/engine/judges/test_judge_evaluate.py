"""Measuring a judge on labelled rows, the agreement of two, and the floors that every judge has to beat."""

from __future__ import annotations

import numpy as np
import pytest

from engine.constitution.load import load_default
from engine.control import Control
from engine.errors import InputError
from engine.judges.base import Verdict
from engine.judges.eval.bench import bench
from engine.judges.eval.evaluate import Decisions, agreement, length_baseline, measure, naive_bayes_baseline
from engine.judges.labeled import LabeledText
from engine.judges.probe.probe import load
from engine.judges.rules.judge import RulesJudge


def row(number: int, label: bool, text: str = "", difficulty: str = "", topic: str = "") -> LabeledText:
    return LabeledText(f"r{number}", text or f"text {number}", label, difficulty=difficulty, topic=topic)


def verdicts(*said: tuple[bool | None, float | None]) -> list[Verdict]:
    return [
        Verdict(f"r{number}", flagged, {} if chance is None else {"p": chance})
        for number, (flagged, chance) in enumerate(said)
    ]


def test_figures_of_a_small_set_by_hand() -> None:
    rows = [row(0, True, difficulty="obvious"), row(1, True, difficulty="subtle"), row(2, False), row(3, False)]
    said = Decisions.of(verdicts((True, 0.9), (False, 0.4), (True, 0.6), (False, 0.1)), [r.id for r in rows])
    found = measure(rows, said)
    assert (found.texts, found.violations) == (4, 2)
    assert found["auroc"].value == pytest.approx(0.75)
    assert found["balanced_accuracy"].value == pytest.approx(0.5)
    assert found["f1"].value == pytest.approx(0.5)
    assert found["obvious_found"].value == 1.0
    assert found["subtle_found"].value == 0.0
    assert found["false_alarms"].value == 0.5
    assert found["brier"].value == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert found["no_verdict"].value == 0.0


def test_no_verdict_is_neither_right_nor_wrong_but_a_violation_without_one_was_not_found() -> None:
    rows = [row(0, True), row(1, True), row(2, False), row(3, False)]
    said = Decisions.of(verdicts((True, 0.9), (None, 0.5), (False, 0.1), (None, None)), [r.id for r in rows])
    found = measure(rows, said)
    assert found["balanced_accuracy"].value == 1.0
    assert found["found"].value == 0.5
    assert found["false_alarms"].value == 0.0
    assert found["no_verdict"].value == 0.5
    assert found["auroc"].value == 1.0  # over the three texts with a probability


def test_verdicts_come_in_any_order_and_a_missing_one_is_no_verdict() -> None:
    said = Decisions.of([Verdict("b", True, {"p": 0.8})], ["a", "b"])
    assert said.decided.tolist() == [False, True]
    assert said.flagged.tolist() == [False, True]
    assert np.isnan(said.probabilities[0])


def test_a_set_with_one_label_has_no_ranking_but_has_shares() -> None:
    rows = [row(n, False) for n in range(4)]
    found = measure(rows, Decisions.of(verdicts(*[(False, 0.2)] * 4), [r.id for r in rows]))
    assert not found["auroc"].known
    assert not found["obvious_found"].known
    assert found["false_alarms"].value == 0.0


def test_agreement_counts_texts_that_both_judges_decided() -> None:
    keys = ["r0", "r1", "r2", "r3"]
    a = Decisions.of(verdicts((True, 0.9), (True, 0.9), (False, 0.1), (None, 0.5)), keys)
    b = Decisions.of(verdicts((True, 0.9), (False, 0.2), (False, 0.1), (True, 0.9)), keys)
    found = agreement(a, b)
    assert found.texts == 3
    assert found.same.value == pytest.approx(2 / 3)
    assert found.kappa.value == pytest.approx(0.4)


def test_the_floor_of_length_takes_the_better_direction() -> None:
    short_bad = [row(n, n < 10, text="x" * (n + 1)) for n in range(20)]
    long_bad = [row(n, n >= 10, text="x" * (n + 1)) for n in range(20)]
    assert length_baseline(short_bad).value == length_baseline(long_bad).value == 1.0


def test_the_floor_of_words_learns_words_but_never_from_the_row_itself() -> None:
    rng = np.random.default_rng(0)
    told = [row(n, n % 2 == 0, text=f"{'cruel' if n % 2 == 0 else 'kind'} words {n}") for n in range(60)]
    assert naive_bayes_baseline(told).value > 0.95
    # Each text has words of its own: scored by a model that saw them, the ranking would be perfect.
    noise = [row(n, bool(rng.integers(2)), text=f"w{n} v{n} u{n}") for n in range(200)]
    assert 0.35 < naive_bayes_baseline(noise).value < 0.65


def test_the_floor_of_words_never_learns_from_rows_of_the_same_topic() -> None:
    # The topic's word tells the label within each topic; between topics nothing can be learned from it.
    rows = [row(n, n % 4 < 2, text=f"topic{n // 2}", topic=f"t{n // 2}") for n in range(80)]
    assert naive_bayes_baseline(rows).value == pytest.approx(0.5, abs=0.1)


class ShownJudge(RulesJudge):
    """The rules, as if one text had been shown to them with its label."""

    @property
    def seen(self) -> frozenset[str]:
        return frozenset({row(0, True).hash})


def test_texts_that_a_judge_was_shown_say_nothing_of_it() -> None:
    rows = [row(n, n % 2 == 0) for n in range(8)]
    judges = {"rules": RulesJudge(load_default()), "shown": ShownJudge(load_default())}
    said: list[str] = []
    (found,) = bench(rows, judges, load("default"), Control(), said.append)
    assert found.texts == 7
    assert {one.texts for one in found.judges.values()} == {7}
    assert any("1 texts are left out" in line for line in said)
    with pytest.raises(InputError, match="all texts are left out"):
        list(bench(rows[:1], judges, load("default"), Control(), said.append))
