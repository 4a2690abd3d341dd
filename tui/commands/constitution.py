"""`redraft constitution`: start one, check it, find what weakens it, and run its tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.commands import options
from tui.commands.settings_flags import build_config, with_flags
from tui.terminal import output

if TYPE_CHECKING:
    from engine.constitution.model import Constitution
    from engine.judges.base import Verdict

app = typer.Typer(no_args_is_help=True, help="Start, check, lint and test a constitution.")

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
    from engine.errors import InputError
    from engine.files import expanded, write_atomically
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
    made = _load(source) if source else None
    text = default_text() if made is None else as_toml(made)
    write_atomically(path, text.encode(), 0o644)
    for notice in made.notices if made is not None else ():
        output.notice(notice)
    count = f"{len(made.principles)} principle drafts" if made is not None else "the built-in principles"
    output.result(f"{path}: {count}. Edit it, then `redraft constitution lint {path}`.")


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

    constitution = _load(path)
    if not any(one.tests for one in constitution.principles):
        raise InputError(
            "the constitution has no tests.",
            where=path or "built in",
            next_step="Add [[principles.tests]] with text and broken = true or false.",
        )
    config = build_config("standard", {"generator": generator, **flags})
    results = list(_results(constitution, config))
    failed = [result for result in results if not result["passed"]]
    if as_json:
        output.emit(results)
    else:
        for result in failed:
            expected = "a violation" if result["expected"] else "no violation"
            found = {True: "a violation", False: "no violation", None: "no verdict"}[result["found"]]
            output.result(f"✗ {result['principle']} test {result['number']}: expected {expected}, found {found}")
            output.result(f"  {result['text']}")
        for one in constitution.principles:
            own = [result for result in results if result["principle"] == one.id]
            if own:
                passed = sum(result["passed"] for result in own)
                output.result(f"{'✓' if passed == len(own) else '✗'} {one.id}: {passed} of {len(own)} passed")
    if failed:
        raise typer.Exit(1)


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
