"""Probe files: what is written is read again, what is damaged or foreign is refused with a sentence, who saw what."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import madeup as made
import numpy as np
import pytest

from engine.errors import InputError, StorageError
from engine.judges.accuracy import Estimate, EvalMetrics
from engine.judges.labeled import own_examples
from engine.judges.probe import features, fit, probe
from engine.judges.probe.probe import ProbeSet


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    rows = made.rows(160)
    found, fold_models = fit.fit_members(rows, rows)
    metrics = {"all": EvalMetrics(160, 80, {"auroc": Estimate(0.9, 0.85, 0.95)})}
    return ProbeSet(
        name="mine",
        model="some-model",
        weights_sha256="ab" * 32,
        dtype="float32",
        layers=(1, 2),
        probes={m: dataclasses.replace(p, accuracy=f"good {m}", metrics=metrics) for m, p in found.items()},
        fold_models=fold_models,
        folds={
            member: {
                row.hash: int(fold)
                for row, half, fold in zip(rows.texts, rows.halves, rows.folds, strict=True)
                if member in ("whole", fit.HALVES[half])
            }
            for member in probe.MEMBERS
        },
        facts={"data": [{"set": "made", "rows": 160, "sha256": "0"}]},
    )


def test_what_is_written_is_read_again(probes: ProbeSet, redraft_home: Path) -> None:
    path = probe.write(probes, probe.folder())
    again = probe.load("mine")
    assert path.name == "mine.json"
    assert probe.names() == ["default", "mine"]
    assert again.hash == probes.hash
    assert again.folds == probes.folds
    assert again.facts["data"] == probes.facts["data"]
    for member in probe.MEMBERS:
        assert again.probes[member].accuracy == f"good {member}"
        assert again.probes[member].metrics == probes.probes[member].metrics
        for one, other in zip(
            (probes.probes[member], *probes.fold_models[member]),
            (again.probes[member], *again.fold_models[member]),
            strict=True,
        ):
            assert np.array_equal(one.weight, other.weight)
            assert np.array_equal(one.bias, other.bias)
            assert one.calibrations == other.calibrations
    assert probe.load(str(path)).hash == probes.hash


def test_writing_twice_gives_the_same_bytes(probes: ProbeSet, tmp_path: Path) -> None:
    one, other = probe.write(probes, tmp_path / "one"), probe.write(probes, tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()
    assert one.with_suffix(".safetensors").read_bytes() == other.with_suffix(".safetensors").read_bytes()


def test_the_hash_changes_with_model_layers_data_and_thresholds(probes: ProbeSet) -> None:
    first = probes.probes["whole"]
    limits = (dataclasses.replace(first.calibrations[0], threshold=0.77), *first.calibrations[1:])
    others = [
        dataclasses.replace(probes, weights_sha256="cd" * 32),
        dataclasses.replace(probes, layers=(1, 3)),
        dataclasses.replace(probes, facts={"data": []}),
        dataclasses.replace(probes, probes={**probes.probes, "whole": dataclasses.replace(first, calibrations=limits)}),
    ]
    assert len({probes.hash, *(other.hash for other in others)}) == 5


def test_a_text_is_judged_by_a_fold_model_if_the_member_saw_it(probes: ProbeSet) -> None:
    rows = made.rows(160)
    for row, half, fold in zip(rows.texts, rows.halves, rows.folds, strict=True):
        assert probes.fold_of(row.text, "whole") == fold
        assert probes.fold_of(f"  {row.text}\n", fit.HALVES[half]) == fold
        assert probes.fold_of(row.text, fit.HALVES[1 - half]) is None
    assert probes.fold_of("never seen", "whole") is None
    assert probes.unseen("a", None) is probes.probes["a"]
    assert probes.unseen("a", 3) is probes.fold_models["a"][3]


def test_a_file_that_has_the_folds_of_the_halves_alone_is_read(probes: ProbeSet, tmp_path: Path) -> None:
    path = probe.write(probes, tmp_path)
    document = json.loads(path.read_text())
    document["places"] = {key: texts for key, texts in document["places"].items() if not key.startswith("whole")}
    path.write_text(json.dumps(document))
    assert probe._read(path).folds == probes.folds


def test_damaged_files_are_refused_with_a_sentence(probes: ProbeSet, tmp_path: Path) -> None:
    path = probe.write(probes, tmp_path)
    document = json.loads(path.read_text())

    def refused(change: dict[str, object]) -> str:
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(StorageError) as error:
            probe.load(str(path))
        return str(error.value)

    assert "damaged" in refused({"weights_sha256": "0" * 64})
    assert "damaged" in refused({"principles": ["one"]})
    assert "damaged" in refused({"places": {"c9": "00112233"}})
    assert "damaged" in refused({"members": {}})
    assert "another version" in refused({"format": features.FORMAT - 1})
    path.write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        probe.load(str(path))
    with pytest.raises(StorageError, match="cannot be read"):
        probe.load(str(tmp_path / "none.json"))


def test_the_error_for_an_unknown_name_lists_the_known_ones(redraft_home: Path) -> None:
    with pytest.raises(InputError, match="Choose one of: default"):
        probe.load("nobody")


@pytest.mark.parametrize("name", ["", "default", "panel", "rules", "../x", "A b", "x" * 60])
def test_names_that_are_taken_or_not_file_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="--name"):
        probe.check_name(name)


def test_the_shipped_probes_name_their_data_licenses_and_accuracy() -> None:
    shipped = probe.load()
    licenses = {entry["set"]: entry["licence"] for entry in shipped.facts["data"]}
    assert {"own", "toxigen_human"} <= set(licenses)
    assert not any(name.startswith("ucc") or name in ("hatecheck", "bbq") for name in licenses)
    assert set(licenses.values()) <= {"MIT", "Apache-2.0", "Apache-2.0 (this project)"}
    assert all(len(entry["sha256"]) == 64 for entry in shipped.facts["data"])
    for member in probe.MEMBERS:
        own = shipped.probes[member].metrics["own"]
        assert own.texts == len(own_examples())
        assert own["auroc"].value > 0.88
        assert own["false_alarms"].value < 0.08
        assert shipped.probes[member].accuracy.startswith("AUROC .")


def test_the_shipped_probes_keep_the_hash_they_were_published_with() -> None:
    assert probe.load().hash == "3ac1f2b6da31"


def test_the_shipped_judges_of_a_run_share_no_topic_of_the_projects_texts() -> None:
    shipped = probe.load()
    halves: dict[str, set[str]] = {}
    for row in own_examples():
        halves.setdefault(row.topic, set()).update(half for half in ("a", "b") if row.hash in shipped.folds[half])
    assert all(len(found) == 1 for found in halves.values())
    assert {"a", "b"} == set.union(*halves.values())
