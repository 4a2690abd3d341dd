"""Commands, options, choices and exit codes that the documents name are those of the program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from engine.errors import EndpointError, InputError, ModelError, RedraftError, Stopped, StorageError, TrainingError
from tui.cli import app
from tui.commands import failure

ROOT = Path(__file__).parents[2]
PAGES = [path for path in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]) if path.parent.name != "log"]
PROGRAM: Any = typer.main.get_command(app)
FENCE = re.compile(r"^(?:```\w*\n(.*?)^```|((?:^ {4}\S.*\n)+))", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(redraft [^`]+)`")
OPTION = re.compile(r"`(--[a-z][a-z0-9_-]+)")
FOREIGN = frozenset(
    {"--no-deps", "--multi_gpu", "--num_processes", "--cpu", "--nproc-per-node", "--snapshot-update", "--"}
)
"""Options of other programs (pip, accelerate, torchrun, pytest)."""
OTHERS = ("bench.md",)
"""Pages on the options of another program: `python -m benchmarks`."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """(where, words) of each command line of ours in the pages."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in FENCE.finditer(text):
            block = (match[1] or match[2] or "").replace("\\\n", " ")
            for line in block.splitlines():
                start = line.strip().split(" #")[0]
                for part in re.split(r"&&|;|\|(?= )", start):
                    if part.strip().startswith("redraft "):
                        yield f"{page.name}: {part.strip()[:90]}", words(part)
        for match in INLINE.finditer(text):
            yield f"{page.name}: {match[1][:90]}", words(match[1].replace("\\|", "|"))


def words(line: str) -> list[str]:
    try:
        return shlex.split(line)[1:]
    except ValueError:
        return line.split()[1:]


LINES = list(commands())


def options(command: Any) -> set[str]:
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def resolved(line: list[str]) -> Iterator[tuple[Any, list[str]]]:
    """The commands that a line names (`judge bench|fit` are two), each with the words after its name."""
    names, rest = (line[0].split("|"), line[1:]) if line else ([], [])
    for name in names:
        if name.startswith("-") or not re.fullmatch(r"[a-z-]+", name):
            return
        command = PROGRAM.commands.get(name)
        assert command is not None, f"there is no command {name}"
        inner = getattr(command, "commands", None)
        if inner is None or not rest or rest[0].startswith("-"):
            yield command, rest
            continue
        for second in rest[0].split("|"):
            assert second in inner, f"there is no command {name} {second}"
            yield inner[second], rest[1:]


def test_there_are_lines_to_check() -> None:
    assert len(LINES) > 80


@pytest.mark.parametrize(("where", "line"), LINES, ids=[where for where, _ in LINES])
def test_a_command_line_of_the_documents_is_one_of_the_program(where: str, line: list[str]) -> None:
    for command, rest in resolved(line):
        known = options(command)
        for word in rest:
            name = re.split(r"[=|]", word)[0].rstrip(".,;:")
            if re.fullmatch(r"--?[a-z][a-z0-9-]*", name):
                assert name in known, f"{command.name} has no option {name}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in OTHERS], ids=lambda page: page.name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    every = {name for one in all_commands(PROGRAM) for name in options(one)}
    found = set(OPTION.findall(page.read_text("utf-8"))) - FOREIGN
    former = {"--rank", "--epochs", "--batch-size"}  # of 0.1, which still work
    assert sorted(found - every - former) == []


def all_commands(group: Any) -> Iterator[Any]:
    yield group
    for one in getattr(group, "commands", {}).values():
        yield from all_commands(one)


def test_every_command_stands_in_the_table_of_the_manual() -> None:
    table = (ROOT / "docs" / "cli.md").read_text("utf-8").split("\n## ")[0]
    for name, command in PROGRAM.commands.items():
        if not command.hidden:
            inner = "|".join(one for one, held in getattr(command, "commands", {}).items() if not held.hidden)
            row = next((line for line in table.splitlines() if line.startswith(f"| `redraft {name}")), "")
            assert row, f"{name} is missing"
            named = set(re.findall(r"[a-z]+", row.split("`")[1]))
            assert set(inner.split("|")) - {""} <= named, f"{name}: {inner}"


CODES = {
    1: RedraftError("x"), 2: InputError("x"), 3: ModelError("x"), 4: StorageError("x"), 5: EndpointError("x"),
    6: TrainingError("x"),
}  # fmt: skip


def test_the_exit_codes_of_the_manual_are_those_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    section = (ROOT / "docs" / "cli.md").read_text("utf-8").split("\n## Exit codes")[1].split("\n## ")[0]
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE) for code in row.split(",")}
    assert listed == {0, *CODES, failure.STOPPED, failure.PIPE_CLOSED, 64, 70}
    for code, error in CODES.items():
        assert failure.report(error, as_json=False) == code
    assert failure.STOPPED == 130
    assert Stopped.__name__ == "Stopped"
