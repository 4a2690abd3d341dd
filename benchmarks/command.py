"""`redraft bench`: how fast the engine is, as ratios to other programs, measured side by side on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from benchmarks.measure import Finding

Found = list[tuple[str, "Finding"]]


def bench(
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="NAME", help="One case; may be repeated. All if not given.")
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, max=99, help="A B rounds of each comparison.")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="One round of very little work: shows that it works, not how fast it is.")
    ] = False,
    generator: Annotated[
        str, typer.Option("--generator", "-g", metavar="MODEL", help="Model that is measured, on the CPU.")
    ] = "",
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32 or bfloat16; measured if not given.")] = "",
    as_json: options.Json = False,
) -> None:
    """Measure generation, scoring, training, one verdict and the demo loop against other programs, side by side.

    Compares with transformers one prompt at a time and in batches, llama.cpp, trl and the machine's own matrix
    products, in interleaved rounds; docs/bench.md says how. Takes about twenty minutes on two cores.
    """
    from benchmarks.cases import run
    from benchmarks.session import FULL, QUICK, Bench
    from engine.settings import RunConfig

    names = _cases(case or [])
    model = generator or RunConfig().generator
    found: Found = []
    with Bench(model, dtype, 1 if quick else rounds, QUICK if quick else FULL, output.notice) as measured:
        try:
            for item in run(measured, names):
                found.append(item)
        except KeyboardInterrupt:
            output.notice("stopped; what was measured so far:")
            _tell(found, measured.known, quick, complete=False, as_json=as_json)
            raise
        _tell(found, measured.known, quick, complete=True, as_json=as_json)


def _cases(wanted: list[str]) -> list[str]:
    from benchmarks.cases import CASES
    from engine.errors import InputError

    for name in wanted:
        if name not in CASES:
            known = ", ".join(CASES)
            raise InputError(f"there is no case {name!r}.", where="--case", next_step=f"Choose from: {known}.")
    return [name for name in CASES if not wanted or name in wanted]


def _tell(found: Found, facts: dict[str, Any], quick: bool, complete: bool, as_json: bool) -> None:
    if as_json:
        output.emit(to_json(found, facts, quick, complete))
        return
    for line in lines(found, facts, quick):
        output.result(line)


def to_json(found: Found, facts: dict[str, Any], quick: bool, complete: bool) -> dict[str, Any]:
    """The findings for programs; described in docs/bench.md."""
    from dataclasses import asdict

    from benchmarks.measure import Ratio

    ratios = [{"case": c, **asdict(f), "reached": f.reached} for c, f in found if isinstance(f, Ratio)]
    missing = [{"case": c, **asdict(f)} for c, f in found if not isinstance(f, Ratio)]
    return {**facts, "quick": quick, "complete": complete, "ratios": ratios, "missing": missing}


def lines(found: Found, facts: dict[str, Any], quick: bool) -> list[str]:
    """The findings for a person: a table, then what each ratio was made of."""
    from benchmarks.measure import Ratio

    if not found:
        return ["nothing was measured."]
    told = [f"{facts['model']} · {facts['dtype']} · {facts['threads']} threads"] if facts else []
    rows = [_row(number, finding) for number, (_, finding) in enumerate(found, 1)]
    told += [*output.table(rows, right=frozenset({"", "ratio", "goal"})), ""]
    for number, (_, finding) in enumerate(found, 1):
        if isinstance(finding, Ratio):
            told.append(f"{number:>2}  {finding.detail}.")
        else:
            told.append(
                f"{number:>2}  not measured: {finding.reason}." + (f" {finding.install}" * bool(finding.install))
            )
    if quick:
        told += ["", "A quick run shows that measuring works; these ratios say nothing about speed."]
    if any(isinstance(finding, Ratio) and not finding.trusted for _, finding in found):
        told += ["", "Ratios marked (busy) are not to be trusted: other programs used the cores meanwhile."]
    return told


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
