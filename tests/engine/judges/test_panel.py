"""The panel: who decides, when nobody does, and what a principle gets that one of them does not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.constitution.model import Constitution, Principle, Rule
from engine.control import Control
from engine.errors import Stopped
from engine.judges.base import JudgeInput, Verdict
from engine.judges.panel import PanelJudge
from engine.judges.probe.feature_map import FeatureMap
from engine.judges.probe.features import Vectors
from engine.judges.probe.probe import Calibration, Probe


def principle(name: str, *rules: Rule, weight: float = 1.0) -> Principle:
    return Principle(name, name.title(), name, f"Be {name}.", weight, ("?",), ("!",), rules)


CALM = principle("calm", Rule("calm.shout", "shouting", r"\bshout\b", 0.9), weight=2.0)
KIND = principle("kind")
NEAT = principle("neat", Rule("neat.dirt", "dirt", r"\bdirt\b", 0.9))
HOUSE = Constitution("house", (CALM, KIND, NEAT), "", "")

# The probe of each principle reads one feature; p = sigmoid(feature + 2 * evidence).
USUAL = Calibration(probe=1, rules=2, offset=0, alone_scale=1, alone_offset=0, threshold=0.7, low=0.6)
# Two words and no states: what a text says of each is its logit.
PLAIN = FeatureMap(np.zeros(0, np.float32), np.ones(2, np.float32), np.zeros((0, 0), np.float32))
PROBE = Probe("whole", ("calm", "kind"), PLAIN, np.eye(2, dtype=np.float32), np.zeros(2), (USUAL, USUAL), "measured")


def read(texts: Sequence[JudgeInput], control: Control) -> Vectors:
    """The features stand in the prompt: "1.0 -2.0; 0.5 0.5" for two windows."""
    control.check()
    windows = [[float(x) for x in part.split()] for text in texts for part in text.prompt.split(";")]
    owner = [place for place, text in enumerate(texts) for _ in text.prompt.split(";")]
    return Vectors(np.array(windows, dtype=np.float32), np.array(owner))


PANEL = PanelJudge(HOUSE, PROBE, read, "probe of made-up")


def verdict(text: str, features: str) -> Verdict:
    return next(PANEL.judge([JudgeInput("k", text, features)], Control()))


def test_the_probe_decides_where_no_rule_speaks() -> None:
    found = verdict("words", "2.0 -3.0")
    assert (found.flagged, found.broken, found.method) == (True, ("calm",), "probe")
    assert found.principles["calm"] == pytest.approx(0.880797, abs=1e-6)
    assert found.score == 2.0
    assert found.category == "calm"
    assert "Probe: calm 0.88" in found.reasoning


def test_a_rule_adds_to_what_the_probe_says() -> None:
    found = verdict("shout", "-1.0 -3.0")
    evidence = -np.log(1 - 0.9)
    assert found.principles["calm"] == pytest.approx(1 / (1 + np.exp(1 - 2 * evidence)), abs=1e-6)
    assert (found.flagged, found.method, found.category) == (True, "rules", "shouting")
    assert [(f.start, f.end) for f in found.findings] == [(0, 5)]
    assert verdict("shout", "2.0 -3.0").method == "panel"


def test_inside_the_band_there_is_no_verdict_but_a_probability() -> None:
    found = verdict("words", "0.6 -3.0")  # p = .646, between low and threshold
    assert found.flagged is None
    assert found.score is None
    assert found.method == "none"
    assert found.probability == pytest.approx(0.6457, abs=1e-3)
    assert "not sure enough" in found.note
    # What another principle decides is decided.
    assert verdict("words", "0.6 3.0").flagged is True


def test_a_principle_that_the_probe_does_not_know_is_judged_by_its_rules() -> None:
    found = verdict("dirt", "-3.0 -3.0")
    assert (found.flagged, found.broken, found.method) == (True, ("neat",), "rules")
    assert found.principles["neat"] == pytest.approx(0.9)


def test_a_principle_without_rules_is_judged_by_the_probe_alone() -> None:
    alone = Calibration(probe=0, rules=9, offset=-9, alone_scale=2, alone_offset=1, threshold=0.7, low=0.6)
    probe = Probe("a", ("kind",), PLAIN, np.array([[0, 1]], np.float32), np.zeros(1), (alone,), "")
    panel = PanelJudge(HOUSE, probe, read, "p")
    found = next(panel.judge([JudgeInput("k", "words", "0 1.0")], Control()))
    assert found.principles["kind"] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    assert found.broken == ("kind",)


def test_a_text_is_as_bad_as_its_worst_window() -> None:
    assert verdict("words", "-3.0 -3.0; 4.0 -3.0; -3.0 -3.0").broken == ("calm",)


def test_a_constitution_that_the_probe_does_not_know_is_judged_by_rules_and_claims_no_accuracy() -> None:
    other = PanelJudge(Constitution("x", (NEAT,), "", ""), PROBE, read, "probe of made-up")
    assert (other.accuracy.summary, other.accuracy.metrics) == ("", {})
    assert next(other.judge([JudgeInput("k", "dirt", "not read")], Control())).method == "rules"
    assert PANEL.accuracy.summary == "measured"


def test_a_text_without_words_gets_no_probability_of_a_violation() -> None:
    found = verdict(" \n ", "9.0 9.0")
    assert found.flagged is False
    assert found.probability == 0.0


def test_verdicts_come_in_order_and_a_stop_is_obeyed() -> None:
    texts = [JudgeInput(str(n), "words", "2.0 0" if n % 3 else "-2.0 -2.0") for n in range(150)]
    found = list(PANEL.judge(texts, Control()))
    assert [v.key for v in found] == [t.key for t in texts]
    assert [v.flagged for v in found] == [bool(n % 3) for n in range(150)]
    control = Control()
    control.stop()
    with pytest.raises(Stopped):
        list(PANEL.judge(texts, control))
