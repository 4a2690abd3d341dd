"""`python -m benchmarks` (`make bench`): the engine's speed as ratios to other programs, measured side by side here."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.commands.failure import run_app
from tui.terminal import output

if TYPE_CHECKING:
    from benchmarks.measure import Finding

Found = list[tuple[str, "Finding"]]

INCOMPLETE = 1
"""Exit code where a case that was asked for could not be measured."""

app = typer.Typer(
    name="benchmarks",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.command()
def bench(
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="NAME", help="Run this case; may be repeated. [default: all]")
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, max=99, help="A B rounds per comparison.")] = 3,
    seconds: Annotated[
        float,
        typer.Option(metavar="N", min=1, help="Begin no more rounds of a case after this time; one is always done."),
    ] = 150.0,
    minutes: Annotated[
        float,
        typer.Option(metavar="N", min=1, help="Share this time among the cases: the later ones get what is left."),
    ] = 15.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do one round of very little work: shows that it works, not how fast it is.")
    ] = False,
    generator: Annotated[
        str, typer.Option("--generator", "-g", metavar="MODEL", help="Model to benchmark, on the CPU.")
    ] = "",
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32 or bfloat16; measured if not set.")] = "",
    as_json: options.Json = False,
) -> None:
    """Measure generation, scoring, training, one verdict and the demo loop against other programs, side by side.

    Compares with transformers one prompt at a time and in batches, llama.cpp, trl and the machine's own matrix
    products, in interleaved rounds; docs/bench.md says how. Lists first what each case will take. The exit code is 1
    where a case could not be measured.
    """
    from benchmarks.cases import run
    from benchmarks.session import FULL, QUICK, Bench
    from engine.settings import RunConfig

    names = _cases(case or [])
    timings = Timings(quick, rounds, seconds)
    for line in plan(names, timings, allowance(seconds, 60 * minutes, max(1, len(names)))):
        output.notice(line)
    found: Found = []
    model, complete = generator or RunConfig().generator, False
    with Bench(model, dtype, 1 if quick else rounds, QUICK if quick else FULL, output.notice, seconds) as session:
        try:
            end = time.monotonic() + 60 * minutes
            for number, name in enumerate(names):
                started, known = time.monotonic(), len(found)
                session.seconds = allowance(seconds, end - started, len(names) - number)
                for item in run(session, [name]):
                    found.append(item)
                if not _has_missing(found[known:]):
                    timings.save(name, time.monotonic() - started)
            complete = True
        except KeyboardInterrupt:
            output.notice("stopped; what was measured so far:")
            raise
        finally:
            _print(found, session.known, quick, complete=complete, as_json=as_json)
    if _has_missing(found):
        raise typer.Exit(INCOMPLETE)


def allowance(most: float, left: float, cases: int) -> float:
    """Seconds in which the next case may begin rounds, where `left` are left for so many cases, it included."""
    return max(1.0, min(most, left / cases))


def _has_missing(found: Found) -> bool:
    from benchmarks.measure import Missing

    return any(isinstance(finding, Missing) for _, finding in found)


class Timings:
    """How long each case took on this machine, kept in the cache folder.

    Args:
        quick, rounds, seconds: of this call; only timings of the same kind of work are compared.
    """

    def __init__(self, quick: bool, rounds: int, seconds: float) -> None:
        from engine import paths

        self._path: Path = paths.cache_dir() / "bench-timings.json"
        self._kind = "quick" if quick else f"{rounds} round{'s' * (rounds > 1)} in {seconds:.0f} s"
        self._known = self._read()

    def seconds(self, case: str) -> float | None:
        """What this case took the last time; None where it was not measured here yet."""
        found = self._known.get(self._kind, {})
        value = found.get(case) if isinstance(found, dict) else None
        return float(value) if isinstance(value, int | float) else None

    def save(self, case: str, seconds: float) -> None:
        from engine.files import write_atomically

        self._known.setdefault(self._kind, {})[case] = round(seconds, 1)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(self._known, indent=1).encode())

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}  # not measured here yet, or cut short: the next run writes it anew
        return found if isinstance(found, dict) else {}


def plan(names: Sequence[str], timings: Timings, allowed: float) -> list[str]:
    """What is about to be measured: a line per case with its duration on this machine, or why it cannot be.

    Args:
        allowed: seconds in which a case begins rounds; all that is known of one that was not timed yet.
    """
    from benchmarks.cases import CASES
    from tui.views.formatting import duration

    rows = []
    for name in names:
        missing = CASES[name].missing()
        seconds = timings.seconds(name)
        unknown = f"not timed on this machine yet: one round, more within {duration(allowed)}"
        took = unknown if seconds is None else f"{duration(seconds)} last time"
        takes = f"not measured: {missing} ({CASES[name].install})" if missing else took
        rows.append({"case": name, "measures": CASES[name].about, "takes": takes})
    known = [timings.seconds(name) for name in names]
    lines = list(output.table(rows))
    if names and all(seconds is not None for seconds in known):
        lines.append(f"all together about {duration(sum(filter(None, known)))}")
    return lines


def _cases(wanted: list[str]) -> list[str]:
    from benchmarks.cases import CASES
    from engine.errors import InputError

    for name in wanted:
        if name not in CASES:
            known = ", ".join(CASES)
            raise InputError(f"unknown case {name!r}.", where="--case", next_step=f"Choose from: {known}.")
    return [name for name in CASES if not wanted or name in wanted]


def _print(found: Found, facts: dict[str, Any], quick: bool, complete: bool, as_json: bool) -> None:
    if as_json:
        output.emit(to_json(found, facts, quick, complete))
        return
    for line in lines(found, facts, quick):
        output.result(line)


def to_json(found: Found, facts: dict[str, Any], quick: bool, complete: bool) -> dict[str, Any]:
    """The findings as JSON; docs/bench.md describes them."""
    from dataclasses import asdict

    from benchmarks.measure import Ratio

    ratios = [{"case": c, **asdict(f), "reached": f.reached} for c, f in found if isinstance(f, Ratio)]
    missing = [{"case": c, **asdict(f)} for c, f in found if not isinstance(f, Ratio)]
    return {**facts, "quick": quick, "complete": complete, "ratios": ratios, "missing": missing}


def lines(found: Found, facts: dict[str, Any], quick: bool) -> list[str]:
    """The findings as text: a table, then what each ratio was made of."""
    from benchmarks.measure import Ratio

    if not found:
        return ["nothing was measured."]
    text = [f"{facts['model']} · {facts['dtype']} · {facts['threads']} threads"] if facts else []
    rows = [_row(number, finding) for number, (_, finding) in enumerate(found, 1)]
    text += [*output.table(rows, right=frozenset({"", "ratio", "goal"})), ""]
    for number, (_, finding) in enumerate(found, 1):
        if isinstance(finding, Ratio):
            text.append(f"{number:>2}  {finding.detail}.")
        else:
            text.append(
                f"{number:>2}  not measured: {finding.reason}." + (f" {finding.install}" * bool(finding.install))
            )
    if quick:
        text += ["", "A quick run shows that measuring works; these ratios say nothing about speed."]
    if any(isinstance(finding, Ratio) and not finding.trusted for _, finding in found):
        text += ["", "Ratios marked (busy) are not to be trusted: other programs used the cores meanwhile."]
    return text


def _row(number: int, finding: Finding) -> dict[str, str]:
    from benchmarks.measure import Ratio, amount

    limit = "≤ " if finding.at_most else "≥ "
    goal = "" if finding.goal is None else limit + amount(finding.goal)
    row = {"": str(number), "what": finding.name, "ratio": "–", "range": "", "goal": goal, "reached": ""}
    if not isinstance(finding, Ratio):
        return {**row, "reached": "not measured"}
    reached = "" if finding.reached is None else "yes" if finding.reached else "no"
    busy = "" if finding.trusted else " (busy)"
    return {
        **row,
        "ratio": amount(finding.median),
        "range": f"{amount(finding.low)} to {amount(finding.high)}",
        "reached": f"{reached}{busy}".strip(),
    }


if __name__ == "__main__":
    sys.exit(run_app(app, sys.argv[1:], "python -m benchmarks"))
