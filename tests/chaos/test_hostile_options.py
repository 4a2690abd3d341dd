"""Every option and argument of every command, as the command line itself lists them, with values that nobody meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hostile import Done, cases, check_call, redraft, refuse_to_begin, words
from hypothesis import given
from hypothesis import strategies as st

from tui.cli import app


def _flat(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by its words, those of groups within groups too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found |= _flat(command, f"{before}{name} ") if hasattr(command, "commands") else {f"{before}{name}": command}
    return found


COMMANDS = _flat(typer.main.get_command(app))

VALID = {
    "run": ["--generator", "smollm2-135m-instruct", "--judge", "rules"],
    "eval": ["--judge", "rules", "It depends."],
    "export": ["some"],
}
"""What makes a call of the command one that would be performed, but for what is added to it."""


@pytest.fixture(autouse=True)
def _nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_begin(monkeypatch)


def _parameters(command: str) -> list[tuple[str, bool]]:
    """(option as typed, or "" for an argument; whether it takes a value) of every parameter of a command."""
    found = []
    for parameter in COMMANDS[command].params:
        name = parameter.opts[-1] if parameter.opts[-1].startswith("--") else ""
        found.append((name, not getattr(parameter, "is_flag", False)))
    return found


EVERY = [(command, name, valued) for command in COMMANDS for name, valued in _parameters(command)]


def _calls() -> st.SearchStrategy[list[str]]:
    """A command with one to three of its parameters given values that nobody meant."""

    @st.composite
    def call(draw: Any) -> list[str]:
        command = draw(st.sampled_from(sorted(COMMANDS)))
        arguments = list(VALID.get(command, [])) if draw(st.booleans()) else []
        known = _parameters(command)
        for name, valued in draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)) if known else []:
            arguments += [name] if name else []
            if valued or not name:
                arguments.append(draw(words()))
        if draw(st.integers(0, 9)) == 0:
            arguments.insert(draw(st.integers(0, len(arguments))), draw(words()))
        return [*command.split(), *arguments]

    return call()


@cases(150, 2_500)
@given(arguments=_calls(), stdin=st.binary(max_size=60))
def test_options_that_nobody_meant_are_refused_in_a_sentence_and_write_nothing(
    bare_home: Path, arguments: list[str], stdin: bytes
) -> None:
    check_call(redraft(*arguments, stdin=stdin), bare_home, arguments)


@pytest.mark.parametrize(("command", "name", "valued"), EVERY)
def test_each_option_by_itself_meets_each_kind_of_bad_value(
    bare_home: Path, command: str, name: str, valued: bool
) -> None:
    values = ("", "\0", "-1", "x\x1b[2J\x9b", "~nobody-of-this-name/x", "9" * 5_000, "\ud800")
    for value in values if valued or not name else ("",):
        arguments = [
            *command.split(),
            *VALID.get(command, []),
            *([name] if name else []),
            *([value] if valued or not name else []),
        ]
        check_call(redraft(*arguments), bare_home, arguments)


@cases(40, 400)
@given(arguments=st.lists(words() | st.sampled_from(sorted(COMMANDS)), min_size=1, max_size=4))
def test_a_command_line_of_nonsense_is_refused_in_a_sentence(bare_home: Path, arguments: list[str]) -> None:
    check_call(redraft(*arguments), bare_home, arguments)


def test_a_real_process_says_the_same(bare_home: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for arguments, code in (
        (["run", "--constitution", "~nobody-of-this-name/x"], 2),
        (["run", "--device", "abacus"], 3),
        (["run", "--set", "train.adam_beta1=1"], 2),
        (["eval", "--judge", "rules", "\udcff\x1b"], 0),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tui.cli", *arguments],
            capture_output=True,
            check=False,
            timeout=120,
            env=environment,
        )
        told = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert told.code == code, told
        check_call(told, bare_home, arguments)
        assert told.err.count("redraft: ") == (1 if code else 0)
        assert not told.err.startswith("run "), "nothing is said to begin that is refused"
