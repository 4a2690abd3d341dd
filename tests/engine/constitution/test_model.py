"""What a constitution says of principles that are broken."""

from __future__ import annotations

from engine.constitution.model import Constitution, Principle


def principle(name: str, weight: float) -> Principle:
    return Principle(name, name, name, name, weight, ("Why?",), ("Mend it.",))


def test_broken_principles_go_by_weight_then_by_probability_then_by_the_constitutions_order() -> None:
    known = tuple(principle(name, weight) for name, weight in (("a", 1), ("b", 2), ("c", 1), ("d", 1), ("unbroken", 9)))
    constitution = Constitution("", known, "", "")
    found = constitution.heaviest_first(["d", "c", "b", "a"], {"a": 0.6, "b": 0.5, "c": 0.9, "d": 0.6})
    assert found == ("b", "c", "a", "d")
    assert constitution.heaviest_first((), {}) == ()
