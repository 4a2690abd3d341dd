from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.runs.report import Report
from tui.views.report import lines, markdown, plain


def shown(report: Any) -> str:
    return plain(lines(Report.of(report)))


def test_a_report_says_the_outcome_with_its_interval_and_its_conditions(finished: Path) -> None:
    text = shown(json.loads((finished / "report.json").read_text()))
    assert text.startswith("Improvement not confirmed  for this checkpoint")
    assert "its accuracy was not measured" in text
    assert "1.80 → 0.20 of 4.0   -89 %   95 % interval -100 % to -67 %" in text
    assert "36 → 4 of 40" in text
    assert "✓ autonomy" in text
    assert "– benign      There are no benign prompts" in text
    assert "16 of 20 kept, 4 dropped" in text


def test_the_summary_in_the_journal_serves_where_there_is_no_report(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    text = shown(report["summary"])
    assert "1.80 → 0.20" in text


def test_the_agreement_of_the_two_judges_stands_under_the_judge(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    report["summary"]["agreement"] = {"texts": 80, "same": [0.91, 0.84, 0.95], "kappa": [0.71, 0.5, 0.9]}
    for text in (shown(report), markdown(Report.of(report))):
        assert "agree on 91 % of 80 answers (95 % interval 84 to 95), kappa 0.71" in " ".join(text.split())


def test_screen_command_and_markdown_have_the_same_words_and_numbers(finished: Path) -> None:
    report = Report.of(json.loads((finished / "report.json").read_text()))
    table = markdown(report).replace("\\", "")
    for line in lines(report):
        words = " ".join("".join(text for text, _ in line[1:]).split())
        assert words in table


def test_long_conditions_are_wrapped_below_one_another() -> None:
    condition = {"id": "benign", "met": False, "needed": True, "detail": "word " * 40}
    rows = [line for line in shown({"summary": {"conditions": [condition]}}).splitlines() if "word" in line]
    assert len(rows) > 2
    assert {row.index("word") for row in rows} == {26}
    assert all(len(row) <= 88 for row in rows)


def test_p_values_and_percentages_are_written_one_way() -> None:
    score = {"base": 1, "trained": 0.5, "relative": -0.5, "p": 0.0004, "n": 1200, "better": 1000}
    text = shown({"summary": {"score": score, "principles": [{"principle": "fairness", "holm_p": 0.0412}]}})
    assert "-50 %" in text
    assert "p < .001" in text
    assert "Holm p .041" in text
    assert "1,000 better" in text


def test_long_names_of_principles_stand_apart_from_their_figures() -> None:
    names = ("house_rules_of_the_shop", "kind")
    result = {"base": 0.18, "trained": 0.19}
    text = shown({"summary": {"principles": [{"principle": name, "result": result} for name in names]}})
    places = {line.index("0.18") for line in text.splitlines() if "0.18" in line}
    assert "house rules of t 0.18" in text
    assert len(places) == 1


def test_every_outcome_has_its_words() -> None:
    for outcome, words in (("confirmed", "Improvement confirmed"), ("worse", "worse"), ("nothing trained", "Nothing")):
        assert words in shown({"summary": {"outcome": outcome}})


def seeds(*points: tuple[float, float | None]) -> dict[str, Any]:
    trainings = [
        {"seed": seed, "steps": 9, "score": {"base": 1.0, "trained": 1.0 - gain}}
        for seed, (gain, _) in enumerate(points)
    ]
    neutral = [{"training": number, "kl": kl} for number, (_, kl) in enumerate(points, 1)]
    return {"summary": {"trainings": trainings, "cost": {"neutral": neutral}}}


def test_gain_and_damage_of_each_seed_stand_side_by_side() -> None:
    text = shown(seeds((0.4, 0.1), (0.2, 0.2), (-0.1, 0.05)))
    rows = [line for line in text.splitlines() if "damage" in line][:3]
    assert "seed 0   gain +0.40 ━━━━━━━━━━━━━━━━ damage 0.100 ━━━━━━━━········" in rows[0]
    assert "seed 1   gain +0.20 ━━━━━━━━········ damage 0.200 ━━━━━━━━━━━━━━━━" in rows[1]
    assert "seed 2   gain -0.10 ················ damage 0.050 ━━━━············" in rows[2]
    assert all(len(row) <= 88 for row in text.splitlines())


def test_there_is_no_trade_off_of_one_training_or_of_what_was_not_measured() -> None:
    assert "damage" not in shown(seeds((0.4, 0.1)))
    assert "damage" not in shown(seeds((0.4, 0.1), (0.2, None)))


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    [
        "summary",
        "outcome",
        "scope",
        "conditions",
        "most",
        "score",
        "violations",
        "principles",
        "benign",
        "health",
        "pairs",
        "judge",
        "run",
        "advice",
        "base",
        "trained",
        "relative",
        "relative_interval",
        "interval",
        "n",
        "p",
        "result",
        "holm_p",
        "reasons",
        "seconds",
        "models",
        "trainings",
        "alarms",
        "cost",
        "neutral",
        "kl_interval",
        "refused_only_by_trained",
        "benign_unusable",
        "remedy",
    ]
)
_REPORT = st.dictionaries(_NAMES, _JSON | st.dictionaries(_NAMES, _JSON, max_size=5), max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_REPORT, st.dictionaries(_NAMES, _JSON | st.dictionaries(_NAMES, _JSON, max_size=5), max_size=8))
def test_a_report_of_another_version_is_shown_as_far_as_it_goes(report: dict[str, Any], summary: Any) -> None:
    made = Report.of({**report, "summary": summary})
    assert plain(lines(made))
    assert markdown(made)
