"""`redraft judge`: measure judges (`bench`), fit a judge (`fit`), list judges (`list`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.commands.settings_flags import GroupedCommand, build_config, with_flags
from tui.terminal import output

if TYPE_CHECKING:
    from engine.constitution.model import Constitution
    from engine.judges.base import Judge
    from engine.judges.eval.bench import SetResults
    from engine.judges.probe.probe import ProbeSet
    from engine.judges.train_probe import Recipe
    from engine.settings import RunConfig

app = typer.Typer(
    name="judge",
    help="Measure judges on labeled texts, fit your own probe, list all judges (docs/judge.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DATA...", help="Files or folders of rows with text, label and optionally principle, prompt, topic."
    ),
]
ConstitutionFile = Annotated[
    str, typer.Option("--constitution", metavar="FILE", help="Read the principles from this TOML file.")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="Run on this torch device. [default: measured]")]

_COLUMNS = (
    ("AUROC", "auroc"),
    ("AUPRC", "auprc"),
    ("balanced", "balanced_accuracy"),
    ("F1", "f1"),
    ("found", "found"),
    ("false alarms", "false_alarms"),
    ("ECE", "ece"),
    ("Brier", "brier"),
    ("no verdict", "no_verdict"),
)


@app.command("bench", cls=GroupedCommand)
@with_flags("endpoint", "endpoint_model", "endpoint_key_env")
def bench(
    data: Data = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge", metavar="NAME", help="Measure this judge too (see `redraft judge list`); may be repeated."
        ),
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", metavar="MODEL", help="Ask this model, where the judge asks one.")
    ] = None,
    constitution: ConstitutionFile = "",
    device: Device = "",
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Measure judges on labeled texts: ranking, decisions, calibration, agreement, each with a 95 % interval.

    Measures the rules and the panel with each of its probes, and two baselines: naive Bayes, cross-validated on the
    same rows, and the length of the text. Without DATA it takes the built-in examples. A text that a probe was fitted
    on is judged by a probe fitted without it and its topic (cross-fitting). What is measured of a model or a server is
    saved, and shown wherever it judges.
    """
    from engine.control import Control
    from engine.judges.eval.bench import bench as measured
    from engine.judges.labeled import own_examples, read_labeled
    from engine.judges.probe.probe import load
    from engine.pipeline.prepare import load_constitution

    asked = {"generator": generator, "constitution": constitution or None, "device": device or None}
    wanted = _configs(judge or [], asked, flags)
    principles = load_constitution(build_config("standard", asked))
    rows = read_labeled(data) if data else own_examples()
    probes = load(next((name for name in judge or [] if name in _probe_names()), "default"))
    judges = _judges(wanted, probes, principles, device)
    found: list[SetResults] = []
    for one in measured(rows, judges, probes, Control(), output.notice):
        found.append(one)
        if not as_json:
            for line in lines(one):
                output.result(line)
    _save_metrics(judges, found)
    if as_json:
        names = {short: made.name for short, made in judges.items()}
        output.emit({"judges": names, "probes": facts(probes), "sets": [one.to_data() for one in found]})


def _configs(judges: Sequence[str], asked: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, RunConfig]:
    """The settings of each judge named; those of the server go to "endpoint" only."""
    return {
        name: build_config("standard", {**asked, "judge": name, **(server if name == "endpoint" else {})})
        for name in dict.fromkeys(judges)
    }


@app.command("fit")
def fit(
    data: Data = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name the fitted judge.")] = "",
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="Read the layers of this model. [default: the embedded model]"),
    ] = "",
    layer: Annotated[
        list[int] | None,
        typer.Option("--layer", metavar="N", help="Read this layer; may be repeated. [default: the middle layers]"),
    ] = None,
    principle: Annotated[
        str, typer.Option("--principle", metavar="ID", help="Assign rows without a principle to this one.")
    ] = "",
    with_own: Annotated[bool, typer.Option("--with-own", help="Fit on the built-in examples too.")] = False,
    default: Annotated[
        bool, typer.Option("--default", help="Refit the shipped probes; DATA is the folder of their sets.")
    ] = False,
    out: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Write to this folder instead of where --judge NAME looks."
        ),
    ] = "",
    constitution: ConstitutionFile = "",
    device: Device = "",
    as_json: options.Json = False,
) -> None:
    """Fit linear probes on a model's hidden states to labeled texts, calibrated on held-out rows.

    Each principle with at least 20 violations and 20 clean texts gets a probe, a threshold and a band without a
    verdict; 200 rows take about a minute. The probes are saved with the hash of model, layers, data and thresholds,
    and are then a judge: `redraft eval --judge NAME`, `redraft run --judge NAME`.
    """
    from engine.control import Control
    from engine.files import expanded
    from engine.judges.probe import probe
    from engine.judges.train_probe import train_probes
    from engine.pipeline.model_cache import ModelCache
    from engine.pipeline.prepare import load_constitution
    from engine.settings import RunConfig

    recipe = _recipe(data or [], name, tuple(layer or ()), principle, with_own=with_own, default=default, out=out)
    principles = load_constitution(RunConfig(constitution=constitution))
    # The shipped files are the same wherever they are made: the dtype does not depend on the machine.
    loaded = ModelCache().get(model or RunConfig().generator, *(("cpu", "bfloat16") if default else (device,)))
    made = train_probes(recipe, loaded, principles, Control(), output.notice)
    path = probe.write(made, expanded(out) if out else probe.folder())
    if as_json:
        output.emit({"file": str(path), **facts(made)})
        return
    output.result(f"{made.name} ({made.hash}): {path}")
    for member, one in made.probes.items():
        output.result(f"  {member}: {one.accuracy}")
    if not out:
        output.result(
            f"Use it: redraft eval --judge {made.name} TEXT; measure it: redraft judge bench --judge {made.name}"
        )


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the judges: built in and fitted here, with the measured accuracy of each."""
    from engine.judges.probe.probe import load
    from engine.settings import JUDGES

    sets = [load(name) for name in _probe_names()]
    if as_json:
        output.emit({"judges": list(JUDGES), "probes": [facts(probes) for probes in sets]})
        return
    output.result(f"judges: {', '.join(JUDGES)}")
    output.result("probes (each is a judge by its name, combined with the rules; panel uses default):")
    rows = [
        {"name": p.name, "model": p.model, "hash": p.hash, "accuracy": p.probes["whole"].accuracy or "not measured"}
        for p in sets
    ]
    for line in output.table(rows):
        output.result(line)


def lines(found: SetResults) -> Iterator[str]:
    """The metrics of one set as text."""
    seen = found.texts - found.unseen
    yield f"{found.name}: {found.texts} texts, {found.violations} violations" + (
        f"; {seen} of them were fitted on, each judged by a probe that was not fitted on it" if seen else ""
    )
    rows = [
        {"judge": short, **{title: str(measures[name]) for title, name in _COLUMNS}}
        for short, measures in found.judges.items()
    ]
    for title, estimate in (("naive Bayes", found.naive_bayes), ("text length", found.length)):
        if estimate is not None:
            rows.append({"judge": title, **{column: "" for column, _ in _COLUMNS}, "AUROC": str(estimate)})
    yield from ("  " + line for line in output.table(rows))
    for short, measures in found.judges.items():
        if measures["obvious_found"].known:
            yield f"  {short}: obvious {measures['obvious_found']}, subtle {measures['subtle_found']} found"
    for (a, b), how in found.agreements.items():
        yield f"  {a} and {b} agree on {how.same} of {how.texts} texts, kappa {how.kappa}"
    yield ""


def facts(probes: ProbeSet) -> dict[str, Any]:
    """A set of probes as JSON."""
    return {
        "name": probes.name,
        "model": probes.model,
        "layers": list(probes.layers),
        "dtype": probes.dtype,
        "hash": probes.hash,
        "principles": list(probes.principles),
        "data": probes.facts.get("data", []),
        "accuracy": {member: probe.accuracy for member, probe in probes.probes.items()},
        "measures": {
            member: {of: metrics.to_data() for of, metrics in probe.metrics.items()}
            for member, probe in probes.probes.items()
        },
    }


def _recipe(
    data: list[Path], name: str, layers: tuple[int, ...], principle: str, *, with_own: bool, default: bool, out: str
) -> Recipe:
    from dataclasses import replace

    from engine.errors import InputError
    from engine.judges.labeled import own_examples, read_labeled
    from engine.judges.probe.probe import check_name
    from engine.judges.train_probe import Recipe, shipped_recipe

    if default:
        if name or layers or principle or with_own or len(data) != 1 or not out:
            raise InputError(
                "--default takes one folder and --output only.",
                where="--default",
                next_step="Run: redraft judge fit --default FOLDER --output FOLDER.",
            )
        return shipped_recipe(data[0])
    if not data:
        raise InputError(
            "no data to fit.",
            where="DATA",
            next_step='Name a file of rows like {"text": "...", "label": 1, "principle": "fairness"}.',
        )
    check_name(name)
    rows = read_labeled(data)
    if principle:
        rows = tuple(row if row.principle else replace(row, principle=principle) for row in rows)
    return Recipe(name, (*(own_examples() if with_own else ()), *rows), layers)


def _probe_names() -> list[str]:
    from engine.judges.probe.probe import names

    return names()


def _judges(
    wanted: Mapping[str, RunConfig], probes: ProbeSet, constitution: Constitution, device: str
) -> dict[str, Judge]:
    """Rules, the panels, and the judges that were asked for by name."""
    from engine.judges.eval.bench import panels
    from engine.judges.probe.loader import make_reader
    from engine.judges.registry import JudgeParts, judge_server, make_judge, needs_model
    from engine.judges.rules.judge import RulesJudge
    from engine.pipeline.model_cache import ModelCache

    models = ModelCache()
    found: dict[str, Judge] = {"rules": RulesJudge(constitution)}
    found |= panels(constitution, probes, make_reader(probes, models.get, device, use_cache=True))
    for name, config in wanted.items():
        if name in found or name in _probe_names():
            continue
        model = models.get(config.generator, device) if needs_model(name) else None
        parts = JudgeParts(constitution, model, models.get, device, judge_server(config), assume_reliable=True)
        found[name] = make_judge(name, parts)
    return found


def _save_metrics(judges: Mapping[str, Judge], found: Sequence[SetResults]) -> None:
    """Store the metrics of judges whose own files cannot hold them."""
    from engine.judges.accuracy import ALL, save_metrics

    for short, judge in judges.items():
        key = judge.accuracy.cache_key
        if key and found:
            # A single set is all there is.
            save_metrics(key, {one.name: one.judges[short] for one in found} | {ALL: found[-1].judges[short]})
