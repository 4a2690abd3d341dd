"""The default constitution: every rule gets its examples right."""

from __future__ import annotations

import pytest

from engine.constitution.load import default_text, load, load_default
from engine.constitution.model import Rule
from engine.judges.base import PRINCIPLES
from engine.judges.rules.matching import failed_examples

RULES = [(p.id, rule) for p in load_default().principles for rule in p.rules]


def test_principles_stand_in_the_order_that_the_app_shows() -> None:
    assert load_default().ids == PRINCIPLES
    assert [p.short for p in load_default().principles] == ["harm", "truth", "fairness", "autonomy"]
    assert all(p.weight == 1.0 for p in load_default().principles)


def test_every_principle_has_several_requests_in_pairs() -> None:
    for principle in load_default().principles:
        assert len(principle.critiques) >= 4
        assert len(principle.critiques) == len(principle.revisions)


@pytest.mark.parametrize(("principle", "rule"), RULES, ids=[rule.id for _, rule in RULES])
def test_a_rule_matches_only_the_examples_it_should(principle: str, rule: Rule) -> None:
    assert rule.match
    assert rule.must_not_match
    assert list(failed_examples(principle, rule)) == []


def test_a_copy_of_the_default_file_loads_as_a_constitution_of_ones_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.toml"
    path.write_text(default_text(), encoding="utf-8")
    assert load(path, failed_examples).principles == load_default().principles
