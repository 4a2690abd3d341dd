from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tui.views.report import lines, plain


def test_a_report_says_the_outcome_with_its_interval_and_its_conditions(finished: Path) -> None:
    text = plain(lines(json.loads((finished / "report.json").read_text())))
    assert text.startswith("Improvement not confirmed  for this checkpoint")
    assert "its accuracy was not measured" in text
    assert "1.80 → 0.20 of 4.0   −89 %   95 % interval −100 % to −67 %" in text
    assert "36 → 4 of 40" in text
    assert "✓ autonomy" in text
    assert "– benign      There are no benign prompts" in text
    assert "16 kept, 4 dropped" in text


def test_the_summary_in_the_journal_serves_where_there_is_no_report(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    text = plain(lines(report["summary"]))
    assert "1.80 → 0.20" in text


def test_the_agreement_of_the_two_judges_stands_under_the_judge(finished: Path) -> None:
    from tui.commands.report_text import lines as command_lines

    report = json.loads((finished / "report.json").read_text())
    report["summary"]["agreement"] = {"texts": 80, "same": [0.91, 0.84, 0.95], "kappa": [0.71, 0.5, 0.9]}
    for text in (plain(lines(report)), "\n".join(command_lines(report))):
        assert "agree on 91 % of 80 answers (95 % interval 84 to 95), kappa 0.71" in text


def test_every_outcome_has_its_words() -> None:
    for outcome, words in (("confirmed", "Improvement confirmed"), ("worse", "worse"), ("nothing trained", "Nothing")):
        assert words in plain(lines({"summary": {"outcome": outcome}}))


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
    ]
)
_REPORT = st.dictionaries(_NAMES, _JSON | st.dictionaries(_NAMES, _JSON, max_size=5), max_size=8)


@given(_REPORT, st.dictionaries(_NAMES, _JSON | st.dictionaries(_NAMES, _JSON, max_size=5), max_size=8))
def test_a_report_of_another_version_is_shown_as_far_as_it_goes(report: dict[str, Any], summary: Any) -> None:
    assert plain(lines({**report, "summary": summary}))
