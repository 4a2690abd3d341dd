"""`redraft constitution`: start one, check it, find what weakens it, and run its tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.commands.settings_flags import build_config, with_flags
from tui.terminal import output

if TYPE_CHECKING:
    from engine.constitution.model import Constitution
    from engine.judges.base import Verdict
    from engine.models.inference.requests import LanguageModel
    from engine.prompts.load import Prompt
    from engine.settings import RunConfig

app = typer.Typer(no_args_is_help=True, help="Start, check, lint and test a constitution.")

_WRITERS = (
    *("device", "dtype", "seed"),
    *("endpoint_model", "endpoint_key_env", "endpoint_timeout", "endpoint_concurrency"),
)
"""Settings of what writes prompts."""

File = Annotated[str, typer.Argument(metavar="FILE", help="Constitution: TOML, JSON, CSV or Markdown; '' is built in.")]


@app.command("new")
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="TOML file to write; must not exist.")],
    source: Annotated[
        str, typer.Option("--from", metavar="FILE", help="Start from a Markdown document, a folder of policies, ...")
    ] = "",
) -> None:
    """Write a constitution to edit: a copy of the built-in one, or principle drafts from a document's headings."""
    from engine.constitution.load import default_text
    from engine.constitution.write import as_toml
    from engine.files import write_atomically

    path = _new_file(path)
    made = _load(source) if source else None
    text = default_text() if made is None else as_toml(made)
    write_atomically(path, text.encode(), 0o644)
    for notice in made.notices if made is not None else ():
        output.notice(notice)
    count = f"{len(made.principles)} principle drafts" if made is not None else "the built-in principles"
    output.result(f"{path}: {count}. Edit it, then `redraft constitution lint {path}`.")


def _new_file(path: Path) -> Path:
    """The path, once it is sure that a file of this name can be made there."""
    from engine.errors import InputError
    from engine.files import expanded
    from engine.text import truncate

    path = expanded(path)
    if not str(path).isprintable():
        raise InputError("the file name has control characters.", where=repr(str(path)), next_step="Name a file.")
    try:
        exists = path.exists()
    except OSError as error:  # such as a name that is too long
        where = truncate(str(path), 200)
        raise InputError(
            f"no file can have this name: {error.strerror}.", where=where, next_step="Name a file."
        ) from None
    if exists:
        raise InputError("this file exists already.", where=str(path), next_step="Name a new file.")
    return path


@app.command("check")
def check(path: File, as_json: options.Json = False) -> None:
    """Check that a constitution is valid, and list its principles."""
    found = _load(path)
    for notice in found.notices:
        output.notice(notice)
    rows = [
        {"id": one.id, "weight": f"{one.weight:g}", "rules": str(len(one.rules)), "tests": str(len(one.tests)),
         "title": one.title}
        for one in found.principles
    ]  # fmt: skip
    if as_json:
        output.emit({"name": found.name, "sha256": found.sha256, "principles": rows})
        return
    output.result(f"{found.name}: {len(rows)} principles, highest score {found.max_score:g}")
    for line in output.table(rows, frozenset({"weight", "rules", "tests"})):
        output.result(line)


@app.command("lint")
def lint(
    path: File,
    prompts: Annotated[
        str, typer.Option("--prompts", metavar="FILE", help="Count the training prompts per principle, too.")
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is found.")] = False,
    as_json: options.Json = False,
) -> None:
    """Find vague, overlapping and negatively framed principles, and those without tests, rules or prompts."""
    from dataclasses import asdict

    from engine.constitution.lint import lint as find
    from engine.prompts.load import load_prompts

    covered = [prompt.principle for prompt in load_prompts(prompts)] if prompts else None
    found = find(_load(path), covered)
    if as_json:
        output.emit([asdict(finding) for finding in found])
    else:
        for finding in found:
            output.result(f"{finding.principle or 'constitution'} · {finding.kind}: {finding.what} {finding.advice}")
        output.notice(f"{len(found)} findings.")
    if found and strict:
        raise typer.Exit(1)


@app.command("attack")
@with_flags(*_WRITERS)
def attack(
    path: File,
    target: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines to write; must not exist.")
    ],
    count: Annotated[int, typer.Option("-n", metavar="INTEGER", help="Write this many prompts per principle.")] = 8,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="FILE", help="Write no duplicate of these prompts, either; may be repeated."),
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", metavar="MODEL", help="Write with this model.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Write with the model of this server instead.")
    ] = None,
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Have a model write prompts that tempt it to break each principle.

    The embedded model writes them, or that of --generator or --endpoint. None is an exact or near duplicate of another,
    of a built-in prompt (training, held-out or benign), or of a prompt of the files named with --against.
    """
    from engine.control import Control
    from engine.pipeline.attack_prompts import write_attack_prompts
    from engine.prompts.split import write_prompts

    target = _new_file(target)
    constitution = _load(path)
    for notice in constitution.notices:
        output.notice(notice)
    server = {"endpoint": endpoint, "endpoint_texts": "draft"} if endpoint is not None else {}
    config = build_config("standard", {"generator": generator, **flags, **server})
    known = _known_prompts(against or ())
    made = write_attack_prompts(
        _writer(config), constitution, count, against=known, seed=config.seed, control=Control(), progress=_progress
    )
    if made.prompts:
        write_prompts(target, made.prompts)
    if as_json:
        output.emit({
            "file": str(target) if made.prompts else None, "prompts": len(made.prompts),
            "missing": made.missing, "dropped": made.dropped,
        })  # fmt: skip
    for reason, number in made.dropped.items():
        output.notice(f"{number:,} left out: {reason}.")
    for principle, number in made.missing.items():
        output.notice(f"{principle}: {number} of {count} missing; another model or seed (--seed) may write them.")
    if not made.prompts:
        raise typer.Exit(1)
    if not as_json:
        output.result(f"{target}: {len(made.prompts):,} prompts. Read them before you use them.")


def _known_prompts(paths: Sequence[str]) -> list[Prompt]:
    """The prompts of the built-in sets and of files."""
    from engine.files import expanded
    from engine.prompts.load import BUILTIN, load_builtin, load_prompts

    builtin = [prompt for name in BUILTIN for prompt in load_builtin(name)]
    return builtin + [prompt for path in paths for prompt in load_prompts(expanded(path))]


def _writer(config: RunConfig) -> LanguageModel:
    """The model behind the server of the settings, else the generator."""
    from engine.judges.registry import judge_server
    from engine.models.client.endpoint import Endpoint
    from engine.models.client.remote_model import RemoteModel
    from engine.pipeline.model_cache import ModelCache

    if server := judge_server(config):
        return RemoteModel(Endpoint(server))
    output.notice(f"loading {config.generator} …")
    return ModelCache().get(config.generator, config.device, config.dtype)


def _progress(kept: int, wanted: int) -> None:
    output.notice(f"{kept:,} of {wanted:,} prompts")


@app.command("test")
@with_flags("judge", "endpoint", "endpoint_model", "endpoint_key_env", "endpoint_timeout", "endpoint_concurrency")
def run_tests(
    path: File,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", metavar="MODEL", help="Ask this model, where the judge asks one.")
    ] = None,
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Judge the texts under [[principles.tests]] and compare with what they expect; exit with 1 if one differs.

    A test without a verdict fails.
    """
    from engine.errors import InputError
    from engine.judges.registry import check_coverage
    from engine.pipeline.unused_settings import unused_for_verdicts

    constitution = _load(path)
    if not any(one.tests for one in constitution.principles):
        raise InputError(
            "the constitution has no tests.",
            where=path or "built in",
            next_step="Add [[principles.tests]] with text and broken = true or false.",
        )
    config = build_config("standard", {"generator": generator, **flags})
    for notice in (*check_coverage(config.judge, constitution), *unused_for_verdicts(config)):
        output.notice(notice)
    if config.judge == "likelihood":
        output.notice(
            "This judge is shown and calibrated on up to 24 of each principle's tests: passing them says little."
        )
    results = list(_results(constitution, config))
    if as_json:
        output.emit(results)
    else:
        _print_results(constitution, results)
    if not all(result["passed"] for result in results):
        raise typer.Exit(1)


def _print_results(constitution: Constitution, results: Sequence[Mapping[str, Any]]) -> None:
    """The tests that failed, then how many of each principle passed."""
    found = {True: "a violation", False: "no violation", None: "no verdict"}
    for result in results:
        if not result["passed"]:
            what = f"expected {found[result['expected']]}, found {found[result['found']]}"
            output.result(f"✗ {result['principle']} test {result['number']}: {what}")
            output.result(f"  {result['text']}")
    for one in constitution.principles:
        own = [result["passed"] for result in results if result["principle"] == one.id]
        if own:
            output.result(f"{'✓' if all(own) else '✗'} {one.id}: {sum(own)} of {len(own)} passed")


def _results(constitution: Constitution, config: Any) -> Any:
    """One object per test, in the constitution's order."""
    from engine.control import Control
    from engine.judges.registry import judge_server, needs_model
    from engine.pipeline.evaluate import evaluate_rows
    from engine.pipeline.model_cache import ModelCache
    from engine.prompts.load import Row

    tests = [(one.id, number, test) for one in constitution.principles for number, test in enumerate(one.tests, 1)]
    rows = [Row(f"{principle}#{number}", test.text, test.prompt) for principle, number, test in tests]
    model = None
    if needs_model(config.judge):
        output.notice(f"loading {config.generator} …")
        model = ModelCache().get(config.generator)
    judged = evaluate_rows(rows, config.judge, constitution, model, Control(), judge_server(config), output.notice)
    verdicts: dict[str, Verdict] = {verdict.key: verdict for verdict in judged}
    for principle, number, test in tests:
        verdict = verdicts[f"{principle}#{number}"]
        known = verdict.flagged is not None
        found = (principle in verdict.broken) if known else None
        yield {
            "principle": principle,
            "number": number,
            "expected": test.broken,
            "found": found,
            "passed": found is test.broken,
            "text": " ".join(test.text.split())[:120],
        }


def _load(path: str) -> Constitution:
    from engine.constitution.load import load, load_default
    from engine.files import expanded
    from engine.judges.rules.matching import failed_examples

    return load(expanded(path), failed_examples) if path else load_default()
