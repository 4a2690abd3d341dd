"""The registry of judges, and the protocol that every judge states in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from engine.constitution.load import load_default
from engine.constitution.model import Constitution, Principle
from engine.control import Control
from engine.errors import InputError
from engine.events.verdicts import DraftVerdict, summary
from engine.judges.accuracy import EvalMetrics, JudgeAccuracy
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.judges.decorators import AnswerQualityJudge, JudgeDecorator, RationaleJudge, SpanAnnotatedJudge
from engine.judges.registry import KINDS, JudgeParts, check_coverage, configured_accuracy, make_judge, needs_model
from engine.judges.rules.judge import RulesJudge
from engine.models.local import LocalModel
from engine.settings import JUDGES, RunConfig

TEXT = JudgeInput("a", "You must obey me, you have no choice.")


class Fixed(Judge):
    """Flags autonomy_respect in every text, and records whether it was prepared."""

    def __init__(self, name: str = "fixed", accuracy: JudgeAccuracy | None = None) -> None:
        self.name = name
        self.prepared = False
        self._accuracy = accuracy

    @property
    def accuracy(self) -> JudgeAccuracy:
        return self._accuracy or JudgeAccuracy(self.name)

    def prepare(self, control: Control) -> None:
        self.prepared = True

    def judge(self, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        for text in texts:
            yield Verdict(text.key, True, broken=("autonomy_respect",), category="autonomy_respect", judge=self.name)


def no_model(name: str, device: str) -> LocalModel:
    raise AssertionError(f"the judge loaded {name} on {device}")


def test_the_registry_has_exactly_the_judges_of_the_settings() -> None:
    assert tuple(KINDS) == JUDGES


def test_a_judge_without_a_model_is_made_without_loading_one() -> None:
    parts = JudgeParts(load_default(), None, no_model)
    for name in ("rules", "panel", "rules+model", "model"):
        judge = make_judge(name, parts)
        assert judge.finds_spans
        assert judge.without_rationale().name == judge.name
        assert configured_accuracy(RunConfig(judge=name), load_default()).name


def test_an_unknown_judge_is_refused_with_the_known_ones(redraft_home: object) -> None:
    with pytest.raises(InputError, match=r"Choose one of: panel, rules"):
        needs_model("nobody")


def test_the_defaults_of_the_protocol_are_explicit() -> None:
    judge = RulesJudge(load_default())
    judge.prepare(Control())
    assert judge.accuracy == JudgeAccuracy(judge.name)
    assert judge.without_rationale() is judge
    assert judge.finds_spans


def test_a_decorator_forwards_the_whole_protocol() -> None:
    measured = JudgeAccuracy("fixed", "AUROC .9", {"all": EvalMetrics(1, 1, {})}, "key")
    inner = Fixed(accuracy=measured)
    for outer in (JudgeDecorator(inner), SpanAnnotatedJudge(inner, load_default()), AnswerQualityJudge(inner)):
        inner.prepared = False
        outer.prepare(Control())
        assert inner.prepared
        assert outer.accuracy == measured
        assert outer.name == "fixed"
        assert next(outer.judge([TEXT], Control())).flagged is True


def test_spans_of_the_rules_are_added_to_a_judge_that_finds_none() -> None:
    inner = Fixed()
    assert not inner.finds_spans
    outer = SpanAnnotatedJudge(inner, load_default())
    (verdict,) = outer.judge([TEXT], Control())
    assert outer.finds_spans
    assert verdict.findings == RulesJudge(load_default()).find(TEXT.text)
    assert verdict.category != "autonomy_respect"


def test_a_rationale_prepares_both_judges_and_is_left_out_on_request() -> None:
    inner, model = Fixed("inner"), Fixed("model")
    judge = RationaleJudge(inner, model, model_decides=False)
    judge.prepare(Control())
    assert inner.prepared
    assert model.prepared
    assert judge.without_rationale() is inner
    assert judge.name == "inner"
    deciding = RationaleJudge(inner, model, model_decides=True, assume_reliable=True)
    assert deciding.without_rationale() is deciding
    assert deciding.name == "model, else inner"
    assert deciding.accuracy.name == deciding.name


def test_a_degenerate_answer_gets_no_verdict_from_any_judge() -> None:
    loop = JudgeInput("loop", "You must obey me. " * 30, "Who rules?")
    for name in ("rules", "panel"):
        judge = make_judge(name, JudgeParts(load_default(), None, no_model))
        (verdict,) = judge.judge([loop], Control())
        assert (verdict.flagged, verdict.score, verdict.probability) == (None, None, None)
        assert (verdict.quality, verdict.judge) == ("degenerate", judge.name)
        assert verdict.note.startswith("No answer. The text repeats")
        assert verdict.to_row()["quality"] == "degenerate"


def test_answers_are_judged_as_before_beside_a_degenerate_one() -> None:
    empty = JudgeInput("empty", " ")
    judge = AnswerQualityJudge(RulesJudge(load_default()))
    found = {verdict.key: verdict for verdict in judge.judge([TEXT, empty], Control())}
    expected = RulesJudge(load_default()).verdict(TEXT)
    assert replace(found["a"], seconds=0) == replace(expected, seconds=0)
    assert found["empty"].quality == "degenerate"
    assert next(iter(judge.judge([empty], Control()))).flagged is None


def test_an_event_keeps_the_quality_of_the_answer() -> None:
    (verdict,) = AnswerQualityJudge(Fixed()).judge([JudgeInput("a", "")], Control())
    event = DraftVerdict.of(verdict)
    assert event.to_data()["quality"] == "degenerate"
    assert event.to_verdict("a").quality == "degenerate"
    assert summary(verdict, 4.0) == "no answer"
    (judged,) = Fixed().judge([TEXT], Control())
    assert DraftVerdict.of(judged).to_verdict("a").quality == "responsive"


def without_rules(*rest: Principle) -> Constitution:
    plain = Principle("no_promises", "No promises", "promises", "Promises no price.", 1.0, ("Where?",), ("Mend it.",))
    return Constitution("Shop", (plain, *rest), "rules.toml", "0" * 64)


@pytest.mark.parametrize("name", ["rules", "panel", "rules+model"])
def test_a_judge_that_would_find_every_text_clean_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="has no rule and no probe for any principle") as caught:
        check_coverage(name, without_rules())
    assert "likelihood" in caught.value.next_step


@pytest.mark.parametrize("name", ["model", "likelihood", "endpoint"])
def test_a_judge_that_asks_a_model_needs_no_rules(name: str) -> None:
    assert check_coverage(name, without_rules()) == ()


def test_principles_that_a_judge_never_finds_broken_are_named() -> None:
    default = load_default()
    assert check_coverage("rules", default) == check_coverage("panel", default) == ()
    (notice,) = check_coverage("rules", without_rules(*default.principles))
    assert notice == "The judge rules has no rule and no probe for no_promises: it never finds them broken."
    bare = tuple(replace(one, rules=()) for one in default.principles)
    assert check_coverage("panel", replace(default, principles=bare)) == ()
