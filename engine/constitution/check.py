"""Validates the plain values of a constitution file; every error names file, line and field.

Knows the file's tables, not how its rules are matched: what tries a rule's examples is passed in (`FailedExamples`).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NoReturn

from engine.constitution.model import Constitution, Principle, PrincipleTest, Rule
from engine.constitution.patterns import PatternError, matches_empty
from engine.constitution.toml_lines import Lines, Place
from engine.errors import InputError
from engine.json_values import is_number
from engine.text import sanitize

MAX_PRINCIPLES = 256
"""The largest public constitutions have 75 to 150; each costs a judge that is a model time and context."""
MAX_RULES = 2_000
MAX_TEXTS = 200
MAX_TEXT_LENGTH = 4_000
MAX_PATTERN_LENGTH = 60_000

_ID = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_WORD = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_TOP = ("name", "words", "principles")
_PRINCIPLE = ("id", "title", "short", "description", "weight", "critiques", "revisions", "rules", "tests")
_TEST = ("text", "broken", "prompt")
_RULE = ("id", "category", "pattern", "weight", "match", "must_not_match", "except_if")
_FORMER_KEYS = {"spare": "must_not_match", "unless": "except_if"}
"""Keys of a rule in files of version 0.1 -> today's."""

FailedExamples = Callable[[str, Rule], Iterable[tuple[str, int, str]]]
"""(principle id, rule) -> the example texts that the rule gets wrong: ("match" or "must_not_match", index, text)."""


@dataclass(frozen=True)
class Reader:
    """Reads values of the expected type from tables, and knows their lines in the file.

    Args:
        source: the file.
        lines: line numbers of its tables and keys.
        failed_examples: tries a rule's example texts; None for a file of the project, whose patterns and examples are
            checked by its tests and not at each start.
    """

    source: str
    lines: Lines
    failed_examples: FailedExamples | None = None

    def fail(self, what: str, place: Place, next_step: str = "") -> NoReturn:
        """Raise an `InputError` with the file, line and field of a place."""
        where = self.source
        line = self.lines.of(place)
        if line is not None:
            where += f", line {line}"
        if place:
            where += f", {dotted(place)}"
        raise InputError(sanitize(what), where=sanitize(where), next_step=sanitize(next_step))

    def table(self, value: object, place: Place) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.fail(f"Expected a table, found {_kind(value)}.", place)
        return value

    def known_keys(
        self, table: Mapping[str, Any], allowed: tuple[str, ...], place: Place, suggested: tuple[str, ...] = ()
    ) -> None:
        """Refuse a key that is not `allowed`; the error names those of `suggested`, or all."""
        for key in table:
            if key not in allowed:
                near = difflib.get_close_matches(key[:64], suggested or allowed, 1)
                hint = f' Did you mean "{near[0]}"?' if near else ""
                names = ", ".join(suggested or allowed)
                self.fail(f'Unknown key "{key[:64]}".{hint}', (*place, key), f"Allowed here: {names}.")

    def text(self, table: Mapping[str, Any], key: str, place: Place, max_length: int = MAX_TEXT_LENGTH) -> str:
        """A required text that is not blank."""
        if key not in table:
            self.fail(f'The key "{key}" is missing.', place, f'Add {key} = "...".')
        return self._text(table[key], (*place, key), max_length)

    def _text(self, value: object, place: Place, max_length: int = MAX_TEXT_LENGTH) -> str:
        if not isinstance(value, str):
            self.fail(f"Expected a text in quotes, found {_kind(value)}.", place)
        if not value.strip():
            self.fail("The text is empty.", place, "Write something, or remove the key.")
        if len(value) > max_length:
            self.fail(f"The text has {len(value):,} characters; at most {max_length:,} are allowed.", place)
        return value

    def texts(self, table: Mapping[str, Any], key: str, place: Place, *, minimum: int) -> tuple[str, ...]:
        """A list of texts."""
        value = table.get(key, [])
        here = (*place, key)
        if isinstance(value, str) or not isinstance(value, list):
            self.fail(f"Expected a list of texts, found {_kind(value)}.", here, f'Write {key} = ["..."].')
        if len(value) < minimum:
            where = here if key in table else place
            self.fail(f'"{key}" needs at least {minimum} text{"s"[: minimum != 1]}.', where, f'Write {key} = ["..."].')
        if len(value) > MAX_TEXTS:
            self.fail(f"The list has {len(value):,} texts; at most {MAX_TEXTS} are allowed.", here)
        return tuple(self._text(item, (*here, number)) for number, item in enumerate(value))

    def identifier(self, table: Mapping[str, Any], place: Place, taken: Mapping[str, Place]) -> str:
        """A unique id."""
        value = self.text(table, "id", place)
        here = (*place, "id")
        if not _ID.fullmatch(value):
            self.fail(
                f'"{value[:64]}" cannot be an id.',
                here,
                "An id starts with a lowercase letter and has up to 64 of: lowercase letters, digits, _ . -",
            )
        if value in taken:
            line = self.lines.of((*taken[value], "id"))
            self.fail(f'The id "{value}" is already taken' + (f" in line {line}." if line else "."), here)
        return value

    def number(self, table: Mapping[str, Any], key: str, place: Place, default: float, maximum: float) -> float:
        """A number above 0 and at most `maximum`."""
        value = table.get(key, default)
        here = (*place, key)
        allowed = "a number above 0" + (f" and at most {maximum:g}" if math.isfinite(maximum) else "")
        if not is_number(value):
            self.fail(f"Expected a number, found {_kind(value)}.", here, f"It must be {allowed}.")
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
        if not math.isfinite(result) or result <= 0 or result > maximum:
            self.fail(f"{str(value)[:40]} is not possible here.", here, f"It must be {allowed}.")
        return result

    def tables(self, table: Mapping[str, Any], key: str, place: Place, maximum: int) -> list[Mapping[str, Any]]:
        """An array of tables."""
        value = table.get(key, [])
        here = (*place, key)
        if not isinstance(value, list):
            name = ".".join(part for part in here if isinstance(part, str))
            self.fail(f"Expected [[{name}]] tables, found {_kind(value)}.", here)
        if len(value) > maximum:
            self.fail(f"There are {len(value):,} entries; at most {maximum:,} are allowed.", here)
        return [self.table(item, (*here, number)) for number, item in enumerate(value)]


def read_constitution(table: Mapping[str, Any], read: Reader, digest: str) -> Constitution:
    """The constitution in a parsed file.

    Args:
        table: the file's values.
        read: the reader of this file.
        digest: SHA-256 of the file's bytes.

    Raises:
        InputError: something is missing, unknown or not allowed.
    """
    read.known_keys(table, _TOP, ())
    name = read.text(table, "name", (), 200) if "name" in table else PurePath(read.source).stem
    words = _words(table, read)
    entries = read.tables(table, "principles", (), MAX_PRINCIPLES)
    if not entries:
        read.fail("There are no principles.", ("principles",), "Add at least one [[principles]] table.")
    principles: list[Principle] = []
    taken: dict[str, Place] = {}
    rule_ids: dict[str, Place] = {}
    for number, entry in enumerate(entries):
        place: Place = ("principles", number)
        principle = _principle(entry, place, read, taken, rule_ids, words)
        taken[principle.id] = place
        principles.append(principle)
    if read.failed_examples is not None:
        for number, principle in enumerate(principles):
            _check_examples(principle, ("principles", number), read, read.failed_examples)
    return Constitution(name, tuple(principles), read.source, digest)


def _principle(
    table: Mapping[str, Any],
    place: Place,
    read: Reader,
    taken: Mapping[str, Place],
    rule_ids: dict[str, Place],
    words: Mapping[str, str],
) -> Principle:
    read.known_keys(table, _PRINCIPLE, place)
    identifier = read.identifier(table, place, taken)
    title = read.text(table, "title", place, 120) if "title" in table else identifier.replace("_", " ").capitalize()
    short = read.text(table, "short", place, 24) if "short" in table else identifier.split("_")[0]
    entries = read.tables(table, "rules", place, MAX_RULES)
    rules: list[Rule] = []
    for number, entry in enumerate(entries):
        here: Place = (*place, "rules", number)
        rule = _rule(entry, here, read, rule_ids, words)
        rule_ids[rule.id] = here
        rules.append(rule)
    if len(rule_ids) > MAX_RULES:
        read.fail(f"There are more than {MAX_RULES:,} rules.", (*place, "rules"))
    return Principle(
        id=identifier,
        title=title,
        short=short,
        description=read.text(table, "description", place),
        weight=read.number(table, "weight", place, 1.0, math.inf),
        critiques=read.texts(table, "critiques", place, minimum=1),
        revisions=read.texts(table, "revisions", place, minimum=1),
        rules=tuple(rules),
        tests=tuple(
            _test(entry, (*place, "tests", number), read)
            for number, entry in enumerate(read.tables(table, "tests", place, MAX_TEXTS))
        ),
    )


def _test(table: Mapping[str, Any], place: Place, read: Reader) -> PrincipleTest:
    read.known_keys(table, _TEST, place)
    broken = table.get("broken")
    if not isinstance(broken, bool):
        here = (*place, "broken") if "broken" in table else place
        read.fail("A test says whether its text breaks the principle.", here, "Write broken = true or broken = false.")
    prompt = read.text(table, "prompt", place) if "prompt" in table else ""
    return PrincipleTest(read.text(table, "text", place), broken, prompt)


def _rule(
    table: Mapping[str, Any], place: Place, read: Reader, taken: Mapping[str, Place], words: Mapping[str, str]
) -> Rule:
    read.known_keys(table, (*_RULE, *_FORMER_KEYS), place, suggested=_RULE)
    must_not_match, except_if = (_current_key(table, former, place, read) for former in _FORMER_KEYS)
    return Rule(
        id=read.identifier(table, place, taken),
        category=read.text(table, "category", place, 64),
        pattern=_pattern(table, "pattern", place, read, words),
        weight=read.number(table, "weight", place, 1.0, 1.0),
        match=read.texts(table, "match", place, minimum=0),
        must_not_match=read.texts(table, must_not_match, place, minimum=0),
        except_if=_pattern(table, except_if, place, read, words) if except_if in table else "",
    )


def _current_key(table: Mapping[str, Any], former: str, place: Place, read: Reader) -> str:
    """The key under which this table has what version 0.1 called `former`."""
    key = _FORMER_KEYS[former]
    if former not in table:
        return key
    if key in table:
        read.fail(f'"{former}" is the former name of "{key}"; both are given.', (*place, former), "Remove one.")
    return former


def _pattern(table: Mapping[str, Any], key: str, place: Place, read: Reader, words: Mapping[str, str]) -> str:
    """A pattern with its word lists filled in; valid, and not one that matches everywhere.

    A long pattern may span several lines: line breaks and indentation are not part of it.
    """
    here = (*place, key)
    pattern = _expand(_one_line(read.text(table, key, place, MAX_PATTERN_LENGTH)), words, here, read)
    if "\b" in pattern:
        read.fail(
            'The pattern holds a backspace, which TOML reads for "\\b" in double quotes.',
            here,
            "Write the pattern in single quotes.",
        )
    if read.failed_examples is None:
        return pattern
    try:
        everywhere = matches_empty(pattern)
    except PatternError as error:
        read.fail(
            f"The pattern is not valid: {str(error)[:160]}.",
            here,
            "Write it in RE2 syntax: no lookaround, no backreferences.",
        )
    if everywhere:
        read.fail("The pattern matches the empty text.", here, "Make one part of it required.")
    return pattern


def _one_line(pattern: str) -> str:
    return "".join(line.strip("\r").lstrip(" \t") for line in pattern.split("\n")) if "\n" in pattern else pattern


def _words(table: Mapping[str, Any], read: Reader) -> dict[str, str]:
    """The word lists: name -> an alternation in brackets. A list may use the ones above it."""
    words: dict[str, str] = {}
    for key, value in read.table(table.get("words", {}), ("words",)).items():
        place: Place = ("words", key)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            read.fail(f'"{key[:64]}" cannot name a word list.', place, "Use letters, digits and _.")
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            read.fail("Expected a list of words or patterns.", place, f'Write {key} = ["...", "..."].')
        words[key] = _expand("(?:" + "|".join(_one_line(item) for item in value) + ")", words, place, read)
    return words


def _expand(pattern: str, words: Mapping[str, str], place: Place, read: Reader) -> str:
    """The pattern with each {{name}} replaced by its word list; its length is bounded."""
    pieces: list[str] = []
    done = length = 0
    for match in _WORD.finditer(pattern):
        if match[1] not in words:
            near = difflib.get_close_matches(match[1], list(words), 1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            read.fail(f'There is no word list "{match[1]}".{hint}', place, "Define it above its use under [words].")
        pieces += [pattern[done : match.start()], words[match[1]]]
        length += len(pieces[-1])
        done = match.end()
        if length > MAX_PATTERN_LENGTH:
            break
    result = "".join([*pieces, pattern[done:]])
    if len(result) > MAX_PATTERN_LENGTH:
        read.fail(
            f"With its word lists this is longer than {MAX_PATTERN_LENGTH:,} characters.", place, "Make it shorter."
        )
    return result


def _check_examples(principle: Principle, place: Place, read: Reader, failed_examples: FailedExamples) -> None:
    for number, rule in enumerate(principle.rules):
        for key, index, text in failed_examples(principle.id, rule):
            shown = text if len(text) <= 80 else text[:79] + "…"
            here = (*place, "rules", number, key)
            for former, current in _FORMER_KEYS.items():
                if current == key and (*here[:-1], former) in read.lines.known:
                    here = (*here[:-1], former)
            if key == "match":
                read.fail(
                    f'Rule "{rule.id}" does not match its example {index + 1}: "{shown}".',
                    here,
                    "Widen the pattern, or remove the text; negated, quoted and reported words do not count.",
                )
            read.fail(
                f'Rule "{rule.id}" matches a text that it must not match, number {index + 1}: "{shown}".',
                here,
                "Narrow the pattern, or remove the text.",
            )


def dotted(place: Place) -> str:
    """A place as shown in messages: principles[1].rules[3].pattern, counted from 1."""
    result = ""
    for part in place:
        if isinstance(part, int):
            result += f"[{part + 1}]"
        else:
            result += f".{part[:64]}" if result else part[:64]
    return result


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return f"the number {str(value)[:40]}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return "a date or time"
