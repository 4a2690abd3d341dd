"""Writes a constitution as TOML, for people to edit: principle drafts from a Markdown document, for example."""

from __future__ import annotations

import json

from engine.constitution.model import Constitution, Principle

_HEAD = """\
# Edit each principle: a sentence or two on what answers do, a weight, and how to ask for critique and revision.
# `redraft constitution lint FILE` finds what is vague; `redraft constitution test FILE` runs [[principles.tests]].
"""


def as_toml(constitution: Constitution) -> str:
    """The constitution's file; `load` reads it back with the same content."""
    parts = [_HEAD, f"name = {_text(constitution.name)}"]
    parts += [_principle(principle) for principle in constitution.principles]
    return "\n".join(parts) + "\n"


def _principle(principle: Principle) -> str:
    lines = [
        "",
        "[[principles]]",
        f"id = {_text(principle.id)}",
        f"title = {_text(principle.title)}",
        f"short = {_text(principle.short)}",
        f"description = {_text(principle.description)}",
        f"weight = {principle.weight!r}",
        f"critiques = {_texts(principle.critiques)}",
        f"revisions = {_texts(principle.revisions)}",
    ]
    for rule in principle.rules:
        lines += ["", "[[principles.rules]]", f"id = {_text(rule.id)}", f"category = {_text(rule.category)}"]
        lines += [f"pattern = {_text(rule.pattern)}", f"weight = {rule.weight!r}"]
        if rule.except_if:
            lines.append(f"except_if = {_text(rule.except_if)}")
        lines += [f"match = {_texts(rule.match)}", f"must_not_match = {_texts(rule.must_not_match)}"]
    for test in principle.tests:
        lines += ["", "[[principles.tests]]", f"text = {_text(test.text)}", f"broken = {str(test.broken).lower()}"]
        if test.prompt:
            lines.append(f"prompt = {_text(test.prompt)}")
    if not principle.tests:
        lines += ["", "# [[principles.tests]]", '# text = "An answer that breaks it."', "# broken = true"]
    return "\n".join(lines)


def _text(value: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, which JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: tuple[str, ...]) -> str:
    if not values:
        return "[]"
    return "[\n" + "".join(f"    {_text(value)},\n" for value in values) + "]"
