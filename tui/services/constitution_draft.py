"""A constitution while it is written: checked, tried on a text by its rules at once, its tests judged in a process of
their own. `check` and `try_text` take a moment and belong into a thread."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.constitution.lint import Finding, lint
from engine.constitution.load import default_text, load, loads
from engine.constitution.model import Constitution
from engine.constitution.toml_lines import Lines
from engine.constitution.write import as_toml
from engine.control import Control
from engine.errors import InputError, RedraftError, StorageError
from engine.events.verdicts import VerdictData
from engine.files import expanded, write_atomically
from engine.judges.base import JudgeInput
from engine.settings import RunConfig
from engine.text import sanitize, truncate

NEW = "new constitution"
"""What a constitution without a file is called."""

TEMPLATES: Mapping[str, str] = {
    "principle": """
[[principles]]
id = "{name}"
title = "Title of {name}"
short = "{name}"
description = "What answers do, in a sentence or two."
weight = 1.0
critiques = ["Identify where the answer does not do this."]
revisions = ["Rewrite the answer so that it does."]
""",
    "rule": """
[[principles.rules]]
id = "{name}"
category = "what kind of violation"
pattern = "words that show it"
weight = 0.9
match = ["These are words that show it."]
must_not_match = ["A harmless sentence."]
""",
    "test": """
[[principles.tests]]
text = "An answer that breaks the principle."
broken = true
""",
}
"""What is added by a key; `{name}` becomes an id that is free."""


@dataclass(frozen=True)
class Principle:
    """A principle in the outline: where it begins in the text (a line, from 0), and how much it holds."""

    id: str
    weight: float
    line: int
    rules: int
    tests: int


@dataclass(frozen=True)
class Checked:
    """What was found in a text.

    Args:
        constitution: None where the text is not one.
        problem: why not, and what to do; "" where it is one.
        line: of the problem, from 0; -1 where it has none.
        outline: of the principles.
        findings: what weakens it.
    """

    constitution: Constitution | None = None
    problem: str = ""
    line: int = -1
    outline: tuple[Principle, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class TestResult:
    """One test: what it expects and what the judge found (None for no verdict)."""

    principle: str
    number: int
    expected: bool
    found: bool | None
    text: str

    @property
    def passed(self) -> bool:
        return self.found is self.expected


def read(path: str) -> tuple[str, str]:
    """The text of a constitution's file as TOML, and what to say of it; "" is the built-in one. A file of another form
    is turned into TOML, to be saved under a new name.

    Raises:
        RedraftError: the file cannot be read, or is no constitution that could be turned.
    """
    if not path:
        return default_text(), "A copy of the built-in constitution; saving asks for a name."
    file = expanded(path)
    if file.suffix.lower() == ".toml":
        return text_of(file), ""
    return as_toml(load(file)), f"{file.name} was turned into TOML; saving asks for a name."


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise StorageError(
            f"the file cannot be read ({truncate(sanitize(str(error)), 120)}).", where=str(path)
        ) from None


def write(path: Path, text: str, before: str | None) -> None:
    """Save a constitution.

    Args:
        before: what the file held when it was read; None for a new one.

    Raises:
        InputError: the file is there already, or was changed by another program.
        StorageError: it cannot be written.
    """
    if path.exists() and (before is None or text_of(path) != before):
        what = "this file exists already." if before is None else "another program has changed this file."
        raise InputError(what, where=str(path), next_step="Save under another name.")
    write_atomically(path, text.encode("utf-8", "replace"), 0o644)


def check(text: str, source: str) -> Checked:
    """Read the text as a constitution, its rules' examples included."""
    from engine.judges.rules.matching import failed_examples

    try:
        found = loads(text, source, failed_examples)
    except RedraftError as error:
        line = re.search(r"line (\d+)", error.where.removeprefix(source))
        where = error.where.removeprefix(source).lstrip(", ")
        words = " ".join(part for part in (f"{where}:" if where else "", error.what, error.next_step) if part)
        return Checked(problem=truncate(sanitize(words), 500), line=int(line[1]) - 1 if line else -1)
    lines = Lines(text)
    outline = tuple(
        Principle(one.id, one.weight, (lines.of(("principles", place)) or 1) - 1, len(one.rules), len(one.tests))
        for place, one in enumerate(found.principles)
    )
    return Checked(found, outline=outline, findings=tuple(lint(found)))


def try_text(constitution: Constitution, text: str) -> tuple[VerdictData, str]:
    """The verdict of the constitution's rules on a text, and its reasons."""
    from engine.judges.rules.judge import RulesJudge

    (verdict,) = RulesJudge(constitution).judge([JudgeInput("text", text)], Control())
    return VerdictData.of(verdict), verdict.reasoning


async def run_tests(text: str, config: RunConfig) -> list[TestResult]:
    """Judge the tests of a constitution by the judge of the settings, as `redraft constitution test` does, in a process
    of its own: a judge may load a model.

    Raises:
        InputError: it has no tests, or the judge cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constitution.toml"
        path.write_text(text, encoding="utf-8", errors="replace")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tui.cli", "constitution", "test", str(path), "--json"),
            *_options(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
    try:
        rows = json.loads(out)
        return [TestResult(*(row[key] for key in ("principle", "number", "expected", "found", "text"))) for row in rows]
    except (ValueError, TypeError, KeyError):
        words = errors.decode("utf-8", "replace").replace(str(path), "the constitution").split("\n")
        said = [sanitize(line).strip() for line in words if line.strip()]
        raise InputError(
            truncate(" ".join(said[-3:]), 300) or "the tests could not be run.",
            where="tests",
            next_step="Run `redraft constitution test FILE` to see more.",
        ) from None


def _options(config: RunConfig) -> Sequence[str]:
    named = {
        "--judge": config.judge,
        "--generator": config.critic or config.generator,
        "--endpoint": config.endpoint,
        "--endpoint-model": config.endpoint_model,
        "--endpoint-key-env": config.endpoint_key_env,
    }
    return [part for name, value in named.items() if value for part in (name, value)]


def addition(kind: str, text: str) -> str:
    """The lines of a new principle, rule or test for a text, with an id that the text does not have."""
    number = next(number for number in range(1, 10_000) if f'"{kind}{number}"' not in text)
    return TEMPLATES[kind].replace("{name}", f"{kind}{number}")


def end_of_principle(text: str, line: int) -> int:
    """The line (from 0) before which a rule or test of the principle at a line is added: the next one's first, else the
    one after the last; -1 where no principle stands there yet."""
    lines = text.split("\n")
    begins = [number for number, one in enumerate(lines) if one.strip() == "[[principles]]"]
    if not begins or line < begins[0]:
        return -1
    end = next((number for number in begins if number > line), len(lines))
    # Comments right above the next principle are its own.
    while end < len(lines) and end > 0 and lines[end - 1].startswith("#"):
        end -= 1
    return end
