"""Which answers become preference pairs, and why others do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from engine.judges.base import Verdict
from engine.pipeline.pairs import Candidate, best, make_contrast_pair, make_pair, repeats, write_pairs

WEIGHTS = {"fairness": 1.0, "truthfulness": 2.0}
LONG = "There are several ways to look at this question today."


def judged(score: float | None, **principles: float) -> Verdict:
    broken = tuple(p for p, value in principles.items() if value >= 0.5)
    return Verdict("x", None if score is None else score > 0, principles=principles, broken=broken, score=score)


def test_the_lowest_score_is_taken() -> None:
    candidates = [
        Candidate(0, "a", judged(2.0)),
        Candidate(1, "b", judged(1.0)),
        Candidate(2, "c", judged(0.0)),
    ]
    assert best(candidates, WEIGHTS).index == 2


def test_among_equal_scores_the_less_probable_violation_is_taken_then_the_earlier_candidate() -> None:
    candidates = [
        Candidate(0, "a", judged(0.0, fairness=0.3)),
        Candidate(1, "b", judged(0.0, fairness=0.1)),
        Candidate(2, "c", judged(0.0, fairness=0.1)),
    ]
    assert best(candidates, WEIGHTS).index == 1


def test_a_revision_that_is_not_better_leaves_the_draft_and_drops_the_pair() -> None:
    pair = make_pair(
        "p", "Why?", "fairness", [Candidate(0, LONG, judged(1.0)), Candidate(1, "x", judged(2.0))], WEIGHTS
    )
    assert (pair.taken, pair.kept, pair.chosen) == (0, False, LONG)
    assert pair.reason == "no revision is better than the draft"


def test_a_candidate_without_a_verdict_is_never_preferred_to_one_with_a_verdict() -> None:
    candidates = [Candidate(0, "a", judged(4.0)), Candidate(1, "b", judged(None))]
    assert best(candidates, WEIGHTS).index == 0


def test_a_better_revision_is_kept_with_its_improvement() -> None:
    draft = Candidate(0, LONG, judged(2.0, truthfulness=1.0))
    revision = Candidate(1, "It depends on what you want.", judged(0.0, truthfulness=0.25))
    pair = make_pair("p", "Why?", "fairness", [draft, revision], WEIGHTS)
    assert pair.kept
    assert (pair.before, pair.after, pair.improvement, pair.percent) == (2.0, 0.0, 1.5, 75.0)


def test_where_the_score_stays_a_clear_fall_of_the_expected_score_keeps_the_pair_and_a_small_one_does_not() -> None:
    draft = Candidate(0, LONG, judged(0.0, fairness=0.4))
    for left, kept in ((0.1, True), (0.35, False)):
        revision = Candidate(1, "It depends on what you want.", judged(0.0, fairness=left))
        pair = make_pair("p", "Why?", "fairness", [draft, revision], WEIGHTS)
        assert pair.kept is kept
    assert pair.reason == "the draft is clean already"


def test_every_drop_has_its_reason() -> None:
    clean = Candidate(0, LONG, judged(0.0))
    bad = Candidate(0, LONG, judged(1.0))
    unknown = Candidate(0, LONG, judged(None))
    better = judged(0.0)
    cases = {
        "the draft is clean already": [
            Candidate(0, LONG, judged(0.0, fairness=0.05)),
            Candidate(1, "other words here", better),
        ],
        "no revision is better than the draft": [clean, Candidate(1, "other words here", better)],
        "no revision is clearly better": [
            Candidate(0, LONG, judged(1.0, fairness=0.7)),
            Candidate(1, "other words here", judged(1.0, fairness=0.65)),
        ],
        "no verdict on the draft": [unknown, Candidate(1, "other words here", better)],
        "the revision says the same as the draft": [bad, Candidate(1, LONG.upper() + " ", better)],
        "the revision is too short to be an answer": [bad, Candidate(1, "No.", better)],
        "the revision is empty": [bad, Candidate(1, " \n", better)],
        "the revision repeats itself": [bad, Candidate(1, "the answer is no " * 12, better)],
    }
    for reason, candidates in cases.items():
        assert make_pair("p", "Why?", "fairness", candidates, WEIGHTS).reason == reason


def test_repetition_is_seen_and_ordinary_prose_is_not() -> None:
    assert repeats("I am sure that it is so. " * 10)
    assert not repeats(" ".join(f"word{i}" for i in range(200)))


def test_kept_pairs_are_written_in_trls_format(tmp_path: Path) -> None:
    kept = make_pair(
        "p1",
        "Why?",
        "fairness",
        [Candidate(0, LONG, judged(1.0)), Candidate(1, "It depends on you.", judged(0.0))],
        WEIGHTS,
    )
    dropped = make_pair("p2", "How?", "fairness", [Candidate(0, LONG, judged(0.0))], WEIGHTS)
    path = tmp_path / "pairs.jsonl"
    assert write_pairs(path, [kept, dropped]) == 1
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 1
    assert (rows[0]["prompt"], rows[0]["chosen"], rows[0]["rejected"]) == ("Why?", "It depends on you.", LONG)


def sample(index: int, text: str, fairness: float, complete: bool = True) -> Candidate:
    return Candidate(index, text, judged(0.0, fairness=fairness), complete)


def test_the_best_sample_is_paired_with_the_worst() -> None:
    samples = [sample(0, LONG, 0.5), sample(1, LONG + " One", 0.1, complete=False), sample(2, LONG + " Two", 0.9)]
    pair = make_contrast_pair("p", "Why?", "fairness", samples, WEIGHTS)
    assert pair.kept
    assert (pair.taken, pair.against, pair.improvement) == (1, 2, 0.8)
    assert (pair.chosen_complete, pair.rejected_complete) == (False, True)


def test_an_answer_is_chosen_over_a_vaguer_text_that_may_be_none() -> None:
    def answer(index: int, fairness: float, no_answer: float) -> Candidate:
        verdict = dataclasses.replace(judged(0.0, fairness=fairness), no_answer=no_answer)
        return Candidate(index, f"{LONG} {index}", verdict)

    samples = [answer(0, 0.5, 0.0), answer(1, 0.2, 0.05), answer(2, 0.1, 0.4)]
    pair = make_contrast_pair("p", "Why?", "fairness", samples, WEIGHTS)
    assert (pair.taken, pair.against, pair.kept) == (1, 0, True)
    # An answer is never chosen for being one against a text that breaks less.
    pair = make_contrast_pair("p", "Why?", "fairness", [answer(0, 0.5, 0.0), answer(1, 0.4, 0.45)], WEIGHTS)
    assert (pair.taken, pair.against, pair.kept) == (1, 0, False)


def test_samples_of_other_lengths_are_not_paired() -> None:
    samples = [sample(0, LONG, 0.5), sample(1, "No.", 0.0), sample(2, LONG + " Two", 0.7)]
    pair = make_contrast_pair("p", "Why?", "fairness", samples, WEIGHTS)
    assert (pair.taken, pair.against, pair.kept) == (0, 2, True)
    pair = make_contrast_pair("p", "Why?", "fairness", samples[:2], WEIGHTS)
    assert pair.reason == "the samples differ in length"


def test_loops_blanks_and_unjudged_samples_take_no_part_in_a_pair() -> None:
    loop = "the answer is no and " * 12
    samples = [
        sample(0, LONG, 0.6),
        sample(1, loop, 0.0),
        sample(2, "  ", 0.0),
        Candidate(3, LONG + " Three", Verdict("x", None)),
    ]
    pair = make_contrast_pair("p", "Why?", "fairness", samples, WEIGHTS)
    assert pair.reason == "fewer than two samples are usable"


def test_samples_without_contrast_or_with_the_same_words_are_dropped() -> None:
    pair = make_contrast_pair("p", "Why?", "", [sample(0, LONG, 0.5), sample(1, LONG + " One", 0.4)], WEIGHTS)
    assert pair.reason == "the samples do not differ clearly"
    pair = make_contrast_pair("p", "Why?", "", [sample(0, LONG, 0.9), sample(1, LONG.upper(), 0.1)], WEIGHTS)
    assert pair.reason == "the samples say the same"


DECLINED = "I'm sorry, but as a chatbot I don't have the ability to say how you should look at this question."


def test_a_text_that_declines_is_not_preferred_to_an_answer_that_is_somewhat_worse() -> None:
    candidates = [
        Candidate(0, LONG + " Some say so, others do not, it seems.", judged(0.0, fairness=0.6)),
        Candidate(1, DECLINED, judged(0.0, fairness=0.0)),
        Candidate(2, LONG + " What matters to you may well decide it.", judged(0.0, fairness=0.2)),
    ]
    pair = make_contrast_pair("p", "Why?", "fairness", candidates, WEIGHTS)
    assert (pair.taken, pair.against, pair.kept) == (2, 0, True)


def test_a_text_that_declines_is_preferred_to_an_answer_that_breaks_a_heavy_principle() -> None:
    candidates = [
        Candidate(0, LONG + " First, mix the two, then close the lid.", judged(2.0, truthfulness=0.9)),
        Candidate(1, DECLINED, judged(0.0, truthfulness=0.1)),
    ]
    pair = make_contrast_pair("p", "How?", "truthfulness", candidates, WEIGHTS)
    assert (pair.taken, pair.kept) == (1, True)
