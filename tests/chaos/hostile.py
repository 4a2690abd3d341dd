"""What the tests of bad input share: how many cases, nasty values, the command line called in this process, and a
picture of a folder before and after. `REDRAFT_CHAOS` makes the counts long ones and their cases new ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from command_line import streams
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from engine.errors import RedraftError

LONG = os.environ.get("REDRAFT_CHAOS", "0") not in {"", "0"}

CODES = {0, 1, 2, 3, 4, 5, 6, 64, 130, 141}
"""Exit codes that docs/cli.md names."""

Test = TypeVar("Test", bound=Callable[..., Any])


def cases(short: int, long: int) -> Callable[[Test], Test]:
    """Settings of hypothesis: the same `short` cases at each run of the suite, `long` new ones in `make chaos`."""
    return settings(
        max_examples=long if LONG else short,
        deadline=None,
        derandomize=not LONG,
        database=None,
        print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


NASTY = (
    "",
    " ",
    "\0",
    "\n",
    "\x1b[31m\x1b]0;t\x07",
    "\x9b2J",
    "\u202etxt.exe",
    "\ud800",
    "\udcff",
    "a" * 5_000,
    "-",
    "--",
    "-1",
    "0",
    "1e999",
    "nan",
    "9" * 5_000,
    "0x10",
    "1_0",
    "²",
    "٣",
    "true",
    "~nobody-of-this-name/x",
    "~",
    "/",
    ".",
    "..",
    "../" * 50,
    "/dev/null",
    "/dev/full",
    "/proc/self/mem",
    "/nonexistent/x",
    "con",
    "[bold]",
    "{}",
    "%s%n",
    "$(id)",
    "https://user:secret@example.org/v1",
    "owner/name@../x",
    "last",
    "a=b=c",
    "=",
    "train.",
    ".train",
    "train.num_train_epochs",
    "train.num_train_epochs=",
    "train.adam_beta1=1,2,3",
    "train.target_modules=,",
    "draft.stop=\0",
    "__class__.x=1",
    "train.__dict__=1",
)


def words() -> st.SearchStrategy[str]:
    """Texts that nobody meant: the nasty ones, any characters, and numbers."""
    anything = st.text(st.characters(exclude_categories=()), max_size=40)
    numbers = st.integers(-(2**70), 2**70).map(str) | st.floats().map(str)
    return st.sampled_from(NASTY) | anything | numbers


@dataclass(frozen=True)
class Done:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


def redraft(*arguments: str, stdin: bytes = b"") -> Done:
    """Call the command line in this process."""
    from tui.cli import main

    with streams(stdin) as (out, err):
        code = main(arguments)
        out.flush()
        err.flush()
        told = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Done(code, *told)


def refusal(call: Callable[[], object]) -> RedraftError | None:
    """The sentence that a call is refused with, None where it is not; anything else that it raises comes through."""
    try:
        call()
    except RedraftError as error:
        return error
    return None


def picture(folder: Path) -> dict[str, bytes]:
    """Every file below a folder (links are not followed), and every folder."""
    found: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink() or path.is_dir():
            found[name] = b""
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def holds_no_control(text: str) -> bool:
    """Nothing in it that a terminal would obey, and nothing that turns the direction of writing."""
    return not any(
        (c < " " and c not in "\n\t")
        or "\x7f" <= c <= "\x9f"
        or c in "\u200e\u200f\u061c\u2028\u2029\ufeff"
        or "\u202a" <= c <= "\u202e"
        or "\u2066" <= c <= "\u2069"
        for c in text
    )


class Accepted(RedraftError):
    """Raised where the first file would be written, or the first model loaded: all was accepted up to there."""

    exit_code = 0


def refuse_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands check all that they were given, and do nothing of it."""

    def accept(*_: object, **__: object) -> Any:
        raise Accepted("accepted.")

    monkeypatch.setattr("engine.pipeline.runner.JournalWriter", accept)
    monkeypatch.setattr("engine.pipeline.model_cache.ModelCache.get", accept)
    monkeypatch.setattr("engine.models.local.load_model", accept)
    monkeypatch.setattr("engine.judges.eval.bench.bench", accept)
    monkeypatch.setattr("engine.judges.train_probe.train_probes", accept)
    monkeypatch.setattr("engine.doctor.examine", accept)


def check_call(done: Done, home: Path, arguments: list[str]) -> None:
    """What holds for every call of the command line, whatever it was given: a code that the manual names, no failure
    that nobody foresaw, a sentence and not a traceback, nothing that a terminal would obey, nothing written."""
    assert done.code in CODES - {1}, (arguments, done)
    told = done.out + done.err
    assert "Traceback" not in told
    assert "which it should not" not in told
    assert holds_no_control(done.err), (arguments, done)
    if done.code:
        assert "redraft: " in done.err, (arguments, done)
        if "--json" in arguments and done.out:
            assert set(json.loads(done.out.splitlines()[-1])["error"]) == {"what", "where", "next", "type"}
    assert picture(home) == {}, arguments
    assert picture(Path.cwd()) == {}, arguments
