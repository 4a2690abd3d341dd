"""Lint names what weakens a valid constitution; tests in the TOML are read and run; drafts are written as TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.constitution.lint import lint
from engine.constitution.load import load, load_default
from engine.constitution.model import Constitution, Principle, PrincipleTest
from engine.constitution.write import as_toml
from engine.errors import InputError
from engine.judges.rules.matching import failed_examples
from engine.prompts.load import load_prompts
from tui.cli import main

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "constitutions").glob("*.toml"))


def principle(identifier: str, description: str, **more: object) -> Principle:
    texts = {"critiques": ("Say where.",), "revisions": ("Rewrite it.",)}
    tests = (PrincipleTest("Bad.", True), PrincipleTest("Good.", False))
    values = {"title": identifier, "short": identifier, "weight": 1.0, "tests": tests, **texts, **more}
    return Principle(id=identifier, description=description, **values)  # type: ignore[arg-type]


def kinds(*principles: Principle, prompts: list[str] | None = None) -> list[tuple[str, str]]:
    found = lint(Constitution("mine", principles, "", ""), prompts)
    return [(finding.principle, finding.kind) for finding in found if finding.kind != "rules"]


def test_a_description_that_leaves_its_words_open_is_vague() -> None:
    assert kinds(principle("tone", "Answers are appropriate and helpful.")) == [("tone", "vague")]
    assert kinds(principle("tone", "Answers name the source of every figure and give its year.")) == []


def test_only_saying_what_must_not_be_is_negative() -> None:
    assert kinds(principle("a", "Never promise a delivery date to customers.")) == [("a", "negative")]
    assert kinds(principle("a", "Never promise a delivery date. Say who decides it and when.")) == []


def test_two_principles_of_the_same_words_overlap() -> None:
    one = principle("one", "Answers mention the published terms of delivery and payment.")
    other = principle("two", "Payment and delivery follow the published terms in answers.")
    assert kinds(one, other) == [("two", "overlap")]


def test_tests_on_one_side_only_are_found() -> None:
    assert kinds(principle("a", "Answers end with one next step for customers.", tests=())) == [("a", "tests")]
    both = (PrincipleTest("Bad.", True), PrincipleTest("Worse.", True))
    assert kinds(principle("a", "Answers end with one next step for customers.", tests=both)) == [("a", "tests")]


def test_one_weight_that_outdoes_all_others_is_found() -> None:
    one = principle("one", "Answers end with one next step for customers.", weight=30.0)
    other = principle("two", "Every figure names its source and year.")
    assert kinds(one, other) == [("one", "weights")]


def test_principles_without_prompts_and_unknown_names_are_found() -> None:
    found = kinds(
        principle("one", "Answers end with one next step for customers."), prompts=["other", "other", "", "other"]
    )
    assert found == [("one", "coverage"), ("", "coverage")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_constitution_has_passing_tests_and_prompts_for_each_principle(
    path: Path, redraft_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constitution = load(path, failed_examples)
    sets = {name: load_prompts(path.with_name(f"{path.stem}-{name}.csv")) for name in ("train", "heldout", "benign")}
    assert lint(constitution, [prompt.principle for prompt in sets["train"]]) == []
    hashes = [prompt.sha256 for found in sets.values() for prompt in found]
    assert len(set(hashes)) == len(hashes)
    assert {prompt.principle for prompt in sets["heldout"]} == set(constitution.ids)
    assert all(len(found.distinct()) == len(found) for found in sets.values())
    assert main(["constitution", "test", str(path), "--judge", "rules"]) == 0
    assert capsys.readouterr().out.count("2 of 2 passed") == 3


def test_there_are_three_example_constitutions() -> None:
    assert len(EXAMPLES) == 3


def test_a_test_that_fails_is_shown_and_ends_with_1(
    tmp_path: Path, redraft_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = EXAMPLES[0].read_text().replace("broken = true", "broken = false", 1)
    (tmp_path / "wrong.toml").write_text(text)
    assert main(["constitution", "test", str(tmp_path / "wrong.toml"), "--judge", "rules"]) == 1
    out = capsys.readouterr().out
    assert "expected no violation, found a violation" in out
    assert "1 of 2 passed" in out


def test_a_test_without_a_verdict_names_line_and_field(tmp_path: Path) -> None:
    text = EXAMPLES[0].read_text().replace("broken = true", 'broken = "yes"', 1)
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(InputError, match=r"line \d+, principles\[1\]\.tests\[1\]\.broken"):
        load(tmp_path / "wrong.toml")


def test_tests_change_no_content_hash() -> None:
    default = load_default()
    tested = tuple(
        Principle(**{**vars(one), "tests": (PrincipleTest("a", True),)})  # type: ignore[arg-type]
        for one in default.principles
    )
    assert Constitution("x", tested, "", "").content_sha256 == default.content_sha256


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_is_written_as_toml_is_read_back_as_it_was(path: Path, tmp_path: Path) -> None:
    constitution = load(path)
    (tmp_path / "copy.toml").write_text(as_toml(constitution))
    assert load(tmp_path / "copy.toml", failed_examples).principles == constitution.principles


def test_headings_of_a_document_become_drafts_to_edit(
    tmp_path: Path, redraft_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.md").write_text(
        '# Our rules\n\n## Be "brief"\nAnswers have two sentences.\n\n## Cite\nName sources.\n'
    )
    target = tmp_path / "mine.toml"
    assert main(["constitution", "new", str(target), "--from", str(tmp_path / "rules.md")]) == 0
    assert [one.title for one in load(target).principles] == [
        one.title for one in load(tmp_path / "rules.md").principles
    ]
    assert main(["constitution", "check", str(target)]) == 0
    assert main(["constitution", "new", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_lint_exits_with_1_only_where_it_is_asked_to(redraft_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["constitution", "lint", ""]) == 0
    assert main(["constitution", "lint", "", "--strict"]) == 1
    assert "tests" in capsys.readouterr().out
