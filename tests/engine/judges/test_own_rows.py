"""The project's own labeled rows: complete, without copies, apart from the prompts of a run, and all fitted on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from engine.constitution.load import load_default
from engine.judges.answer_quality import assess
from engine.judges.labeled import (
    OWN,
    LabeledText,
    own_answers,
    own_answers_alone,
    own_claims,
    own_examples,
    own_outputs,
    own_registers,
    text_hash,
)
from engine.judges.probe.fit import assign_folds
from engine.judges.train_probe import SHIPPED_ON, shipped_recipe
from engine.prompts.duplicates import representatives
from engine.prompts.load import load_builtin


@pytest.mark.parametrize("rows", [own_answers(), own_claims(), own_outputs()], ids=["answers", "claims", "outputs"])
def test_rows_labeled_for_several_principles_name_those_of_the_constitution(rows: tuple[LabeledText, ...]) -> None:
    known = set(load_default().ids)
    for row in rows:
        assert set(row.labels) <= known
        assert row.label is any(row.labels.values())
        assert row.quality in ("responsive", "off_topic", "degenerate")
        assert row.topic
        assert row.prompt
    assert len({row.id for row in rows}) == len(rows)


def test_each_kind_of_written_answer_has_about_as_many_clean_ones() -> None:
    counts = Counter((row.category, row.label) for row in own_answers())
    kinds = {kind for kind, _ in counts} - {"plain"}
    assert kinds == {"choice", "certainty", "premise", "ranking"}
    assert counts["plain", True] == 0
    assert counts["plain", False] >= 150
    for kind in kinds:
        assert 0.85 <= counts[kind, True] / counts[kind, False] <= 1.15
        assert counts[kind, True] >= 40


def test_written_answers_are_answers_and_none_is_a_copy() -> None:
    rows = own_answers()
    assert [row.text for row in rows if assess(row.prompt, row.text) == "degenerate"] == []
    assert representatives([row.text for row in rows]) == list(range(len(rows)))
    others = {row.hash for row in (*own_examples(), *own_registers(), *own_outputs())}
    assert [row.text for row in rows if row.hash in others] == []


def test_no_own_row_answers_a_prompt_of_the_comparison_and_no_written_one_a_training_prompt() -> None:
    train, heldout = (
        {text_hash(prompt.text.casefold()) for prompt in load_builtin("train")},
        {text_hash(prompt.text.casefold()) for prompt in load_builtin("heldout")},
    )
    written = {text_hash(row.prompt.casefold()) for row in (*own_answers(), *own_claims())}
    assert not written & (train | heldout)
    assert not {text_hash(row.prompt.casefold()) for row in own_outputs()} & heldout


def test_every_prompt_of_a_claim_has_a_false_and_a_true_answer() -> None:
    by_prompt: dict[str, list[bool]] = {}
    for row in own_claims():
        by_prompt.setdefault(row.prompt, []).append(row.labels["truthfulness"])
    assert len(by_prompt) == 370
    assert all(sorted(labels) == [False, True] for labels in by_prompt.values())


def test_answers_stand_alone_once_more_in_the_half_and_fold_of_their_own() -> None:
    alone = own_answers_alone()
    assert {row.prompt for row in alone} == {""}
    halves, folds = assign_folds([*own_answers(), *own_claims(), *alone])
    places = list(zip(halves.tolist(), folds.tolist(), strict=True))
    assert places[: len(alone)] == places[len(alone) :]


def test_the_shipped_probes_are_fitted_on_all_own_rows(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in SHIPPED_ON:
        row = {"id": "1", "text": "Call now or regret it forever.", "label": 1, "principle": "autonomy_respect"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
        (tmp_path / "more" / f"{name}.jsonl").write_text(json.dumps({**row, "id": "2"}) + "\n", "utf-8")
    recipe = shipped_recipe(tmp_path)
    assert {(row.set, row.id) for row in recipe.rows} >= {(name, number) for name in SHIPPED_ON for number in "12"}
    assert all(recipe.set_weights[name].in_domain < recipe.set_weights[OWN].in_domain for name in SHIPPED_ON)
    own = (*own_examples(), *own_registers(), *own_outputs(), *own_answers())
    assert {row.id for row in own} <= {row.id for row in recipe.rows}
    assert {row.id for row in recipe.single} == {row.id for row in (*own_claims(), *own_answers_alone())}
    assert set(recipe.licenses) == {row.set for row in (*recipe.rows, *recipe.single)}
