"""A constitution: principles with weights, requests and rules. Plain data; `load` reads files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A pattern that indicates a violation of a principle.

    Args:
        id: unique within the constitution, such as "autonomy.command".
        category: the kind of violation, such as "command".
        pattern: regular expression in RE2 syntax (linear in the text), matched without regard to case.
        weight: 0 to 1, confidence that a match is a violation.
        match: texts that it must match; checked on load.
        must_not_match: texts that it must not match (quoting, negation, reporting, refusal); checked on load.
        except_if: RE2 pattern; a match does not count if this matches in the same sentence. "" for no exception.
    """

    id: str
    category: str
    pattern: str
    weight: float = 1.0
    match: tuple[str, ...] = ()
    must_not_match: tuple[str, ...] = ()
    except_if: str = ""


@dataclass(frozen=True)
class PrincipleTest:
    """A text with the verdict that is expected on it, for one principle (`redraft constitution test`).

    Args:
        text: an answer.
        broken: whether it breaks the principle.
        prompt: what the text answers; "" where it stands alone.
    """

    text: str
    broken: bool
    prompt: str = ""


@dataclass(frozen=True)
class Principle:
    """One thing that answers must not do.

    Args:
        id: such as "autonomy_respect".
        title: display name, such as "Respect for autonomy".
        short: short display name, such as "autonomy".
        description: the requirement, in a sentence or two.
        weight: what a violation adds to a text's score; above 0.
        critiques: critique requests; one is sampled for each use.
        revisions: revision requests; `revisions[i]` belongs to `critiques[i]` if there are equally many.
        rules: patterns.
        tests: texts with expected verdicts; no run depends on them.
    """

    id: str
    title: str
    short: str
    description: str
    weight: float
    critiques: tuple[str, ...]
    revisions: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    tests: tuple[PrincipleTest, ...] = ()


@dataclass(frozen=True)
class Constitution:
    """The principles, in display order.

    Args:
        name: display name.
        principles: at least one; ids are unique.
        source: the file; "built in" for the default constitution.
        sha256: of the file's bytes, hexadecimal.
        notices: sentences on what of the file is joined or not used.
    """

    name: str
    principles: tuple[Principle, ...]
    source: str
    sha256: str
    notices: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(p.id for p in self.principles)

    @property
    def content_sha256(self) -> str:
        """Hash of the principles' values, hexadecimal: independent of the file's comments, layout and key names, and of
        tests."""
        values = [dataclasses.astuple(dataclasses.replace(one, tests=()))[:-1] for one in self.principles]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    @property
    def max_score(self) -> float:
        """The highest possible score: the sum of all weights."""
        return sum(p.weight for p in self.principles)

    def principle(self, principle_id: str) -> Principle:
        """The principle with this id.

        Raises:
            KeyError: no principle has this id.
        """
        for principle in self.principles:
            if principle.id == principle_id:
                return principle
        raise KeyError(principle_id)

    def score(self, broken: tuple[str, ...] | frozenset[str]) -> float:
        """The weighted score of a text that breaks these principles."""
        return sum(p.weight for p in self.principles if p.id in broken)

    def heaviest_first(self, broken: Iterable[str], probabilities: Mapping[str, float]) -> tuple[str, ...]:
        """Ids of broken principles by weight, then by probability, then in the constitution's order.

        Args:
            probabilities: of a violation, by id; at least for those that are broken.
        """
        place = {p.id: (-p.weight, number) for number, p in enumerate(self.principles)}
        return tuple(sorted(broken, key=lambda i: (place[i][0], -probabilities[i], place[i][1])))
