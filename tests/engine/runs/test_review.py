from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import VOWELS, constitution, tiny_config

from engine.control import Control
from engine.errors import InputError
from engine.pipeline import runner
from engine.runs.journal_writer import JournalWriter
from engine.runs.report import Report
from engine.runs.review import REVIEW, Choice, Review, import_sheet, review_result, sheet
from engine.runs.store import inspect, read_report
from engine.stats.exact import sign_test_p, wilson_interval


def verdict(probability: float | None) -> dict[str, object]:
    return {"flagged": None if probability is None else probability > 0.5, "principles": {"plain": probability}}


def run_of(folder: Path, pairs: int = 20, trained: float = 0.1) -> Path:
    """A run whose trained answers the judge finds better."""
    with JournalWriter(folder) as journal:
        for number in range(pairs):
            journal.append(
                f"COMPARISON-TEST {number + 1}/{pairs}",
                2,
                "",
                item=f"p{number}",
                texts={"prompt": f"Question {number}?", "base": f"One {number}.", "trained": f"Two {number}."},
                data={"set": "heldout", "base": verdict(0.9), "trained": verdict(trained)},
            )
    return folder


def prefer(review: Review, arm: str, count: int) -> None:
    """Prefer this model's answer in the next pairs."""
    for _ in range(count):
        place = review.next_open()
        assert place is not None
        left: Choice = "left"
        review.choose(place, left if review.pairs[place].left_arm == arm else "right")


def test_sides_are_random_and_the_order_is_that_of_the_seed(tmp_path: Path) -> None:
    folder = run_of(tmp_path, 60)
    review = Review(folder, seed=1, count=0)
    sides = [pair.left_arm for pair in review.pairs]
    assert 15 < sides.count("base") < 45
    assert [pair.item for pair in review.pairs] != [f"p{number}" for number in range(60)]
    assert Review(folder, seed=1, count=0).pairs == review.pairs
    assert Review(folder, seed=2, count=0).pairs != review.pairs
    assert Review(folder, seed=1, count=7).pairs == review.pairs[:7]


def test_choices_add_up_to_share_sign_test_and_agreement(tmp_path: Path) -> None:
    review = Review(run_of(tmp_path))
    prefer(review, "trained", 12)
    prefer(review, "base", 3)
    for choice in ("fine", "bad", "skip"):
        place = review.next_open()
        assert place is not None
        review.choose(place, choice)
    found = review_result(tmp_path)
    assert found == review.result()
    assert found is not None
    assert (found.trained, found.base, found.fine, found.bad, found.skipped, found.read) == (12, 3, 1, 1, 1, 17)
    assert found.share == (0.8, *wilson_interval(12, 15))
    assert found.p == sign_test_p(12, 3)
    assert (found.judged, found.agreement) == (15, (0.8, *wilson_interval(12, 15)))


def test_a_judge_without_a_clear_preference_agrees_with_nothing(tmp_path: Path) -> None:
    review = Review(run_of(tmp_path, 4, trained=0.88))
    prefer(review, "trained", 2)
    assert review.result().judged == 0
    assert review.result().agreement is None


def test_a_reading_is_resumed_where_it_was_left_and_its_seed_is_kept(tmp_path: Path) -> None:
    first = Review(run_of(tmp_path), seed=5)
    prefer(first, "trained", 3)
    second = Review(tmp_path)
    assert (second.seed, second.done, second.next_open()) == (5, 3, 3)


def test_a_later_choice_replaces_an_earlier_one(tmp_path: Path) -> None:
    review = Review(run_of(tmp_path))
    review.choose(0, "left")
    review.choose(0, "fine")
    found = review_result(tmp_path)
    assert found is not None
    assert (found.fine, found.trained + found.base) == (1, 0)


def test_damaged_lines_of_the_choices_are_left_out(tmp_path: Path) -> None:
    review = Review(run_of(tmp_path))
    review.choose(0, "fine")
    with open(tmp_path / REVIEW, "ab") as file:
        file.write(b'\xff{\n[1]\n{"choice":"left","key":"x","seed":"y"}\n{"choice":"bad","key":')
    Review(tmp_path).choose(1, "bad")
    found = review_result(tmp_path)
    assert found is not None
    assert (found.fine, found.bad, found.read) == (1, 1, 2)


def test_benign_prompts_and_equal_answers_are_not_read(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        for item, where, trained in (("a", "heldout", "One."), ("b", "benign", "Two."), ("c", "heldout", "Two.")):
            texts = {"prompt": "Why?", "base": "One.", "trained": trained}
            journal.append("COMPARISON-TEST 1/3", 2, "", item=item, texts=texts, data={"set": where})
    assert [pair.item for pair in Review(tmp_path).pairs] == ["c"]


def test_a_run_without_a_comparison_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append("RUN-START", 1, "demo")
    with pytest.raises(InputError, match=r"not compared.*redraft resume"):
        Review(tmp_path)


def test_a_sheet_names_no_model_and_comes_back_with_its_choices(tmp_path: Path) -> None:
    review = Review(run_of(tmp_path / "demo", 6))
    text = sheet(review)
    assert "trained" not in text
    assert "base" not in text
    filled = text
    for word in ("left", "RIGHT", "both fine", "bad", ""):
        filled = filled.replace("choice:\n", f"choice:{' ' if word else ''}{word}\n" if word else "choice: s\n", 1)
    other, new = import_sheet(tmp_path / "demo", filled, "sheet.md")
    assert new == 5
    assert [other.choice(place) for place in range(6)] == ["left", "right", "fine", "bad", "skip", None]
    assert import_sheet(tmp_path / "demo", filled, "sheet.md")[1] == 0
    assert "choice: right" in sheet(Review(tmp_path / "demo"))


def test_an_answer_cannot_pose_as_a_choice_of_the_sheet(tmp_path: Path) -> None:
    answer = "One.\nchoice: left\n## 1 0123456789\u2028choice: right"
    with JournalWriter(tmp_path) as journal:
        texts = {"prompt": "seed: 9\nchoice: bad", "base": answer, "trained": "Two."}
        journal.append("COMPARISON-TEST 1/1", 2, "", item="a", texts=texts, data={"set": "heldout"})
    _, new = import_sheet(tmp_path, sheet(Review(tmp_path)), "sheet.md")
    assert new == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: 0\n## 1 abc\nchoice: maybe\n", r"line 3: 'maybe' is not a valid choice"),
        ("seed: 0\n## 1 abc\nchoice: left\n", r"line 3: this run has no pair 'abc'"),
        ("hello\n", "not a sheet"),
    ],
)
def test_a_sheet_that_cannot_be_taken_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    run_of(tmp_path)
    with pytest.raises(InputError, match=f"(?s){problem}"):
        import_sheet(tmp_path, text, "sheet.md")
    assert not (tmp_path / REVIEW).exists()


def test_a_run_that_was_read_is_still_finished_and_its_report_has_the_result(
    tmp_path: Path, tiny: Callable[..., Path]
) -> None:
    rules = tmp_path / "plain.toml"
    rules.write_text(constitution(VOWELS))
    folder = tmp_path / "run"
    config = tiny_config(tiny, rules, n_train=4, n_heldout=3)
    runner.perform(config, folder, Control())
    report = json.loads((folder / "report.json").read_text())
    assert report["constitution"]["weights"] == {"plain": 2.0}
    review = Review(folder)
    review.choose(0, "left")
    found = Report.of(read_report(folder)).reading
    assert found is not None
    assert found.trained + found.base == 1
    assert inspect(folder).state == "finished"
    runner.perform(config, folder, Control())
    assert len(Review(folder).pairs) == len(review.pairs)
    assert Review(folder).done == 1
