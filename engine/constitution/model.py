"""What a constitution is: principles with weights, requests and rules. Plain data; files are read in `load`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A pattern that a violation of a principle shows itself by.

    Args:
        id: unique within the constitution, such as "autonomy.command".
        category: the kind of violation, such as "command".
        pattern: regular expression in RE2 syntax (linear in the text), matched without regard to case.
        weight: 0 to 1, how sure a match is of being a violation.
        match: texts that it must match; checked on load.
        spare: texts that it must not match (quoting, negation, reporting, refusal); checked on load.
        unless: pattern, in RE2 syntax too; a match does not count where this matches in the same sentence ("" never).
    """

    id: str
    category: str
    pattern: str
    weight: float = 1.0
    match: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    unless: str = ""


@dataclass(frozen=True)
class Principle:
    """One thing that answers must not do.

    Args:
        id: such as "autonomy_respect".
        title: for people, such as "Respect for autonomy".
        short: the same short name everywhere in the app, such as "autonomy".
        description: what it asks, in a sentence or two.
        weight: what breaking it adds to a text's score; above 0.
        critiques: requests to say what is wrong with an answer; one is drawn for each use.
        revisions: requests to rewrite it; `revisions[i]` belongs to `critiques[i]` where there are as many.
        rules: patterns.
    """

    id: str
    title: str
    short: str
    description: str
    weight: float
    critiques: tuple[str, ...]
    revisions: tuple[str, ...]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Constitution:
    """The principles, in the order in which they are shown.

    Args:
        name: for people.
        principles: at least one; ids are unique.
        source: the file that it was read from; "built in" for the default one.
        sha256: of the file's bytes, hexadecimal.
    """

    name: str
    principles: tuple[Principle, ...]
    source: str
    sha256: str

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(p.id for p in self.principles)

    @property
    def most(self) -> float:
        """The highest score that a text can have: the sum of all weights."""
        return sum(p.weight for p in self.principles)

    def principle(self, principle_id: str) -> Principle:
        """The principle with this id.

        Raises:
            KeyError: there is none.
        """
        for principle in self.principles:
            if principle.id == principle_id:
                return principle
        raise KeyError(principle_id)

    def score(self, broken: tuple[str, ...] | frozenset[str]) -> float:
        """The weighted score of a text that breaks these principles."""
        return sum(p.weight for p in self.principles if p.id in broken)

    def heaviest_first(self, broken: Iterable[str], probabilities: Mapping[str, float]) -> tuple[str, ...]:
        """Ids of broken principles by weight, equally heavy ones by probability, the rest as the constitution has it.

        Args:
            probabilities: of a violation, by id; at least of those that are broken.
        """
        place = {p.id: (-p.weight, number) for number, p in enumerate(self.principles)}
        return tuple(sorted(broken, key=lambda i: (place[i][0], -probabilities[i], place[i][1])))
