"""Two models compared as they are: a run without training, in whose report nothing is called an improvement."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from tiny_run import check_declared, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import InputError, ModelError, Stopped
from engine.pipeline.compared_models import compared_model
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import perform
from engine.runs.journal_reader import read
from engine.runs.report import Report
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.training.config import TrainConfig
from tui.views import report as views


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that the tests of this module share."""
    place = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDRAFT_HOME", str(place))
        yield place


@pytest.fixture(scope="module")
def run(home: Path, tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two training seeds on a tiny model, in the folder of runs."""
    config = tiny_files(tmp_path_factory.mktemp("files"), tiny)
    train = TrainConfig.dpo(num_train_epochs=2, train_batch_size=2, learning_rate=2e-2, save_steps=1)
    config = replace(config, seeds=2, train=train, n_samples=3, n_revised=0, teacher="samples", on_alarm="continue")
    return perform(config, home / "data" / "runs" / "small", Control(), ModelCache())


def comparison(run: Path, first: str, second: str, **changes: Any) -> RunConfig:
    """The settings of a comparison with the run's own constitution."""
    from engine.runs.folder import read_config

    known = read_config(run)
    short = replace(known.answer, max_tokens=8)
    config = RunConfig(
        preset="compare",
        generator=compared_model(first),
        against=compared_model(second),
        judge="rules",
        constitution=known.constitution,
        n_heldout=4,
        n_benign=2,
        answers_per_prompt=2,
        answer=short,
        dtype="float32",
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def compared(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's base model against what it trained, compared."""
    config = comparison(run, "small@base", "small")
    return perform(config, tmp_path_factory.mktemp("compared") / "one", Control(), ModelCache())


def test_both_answer_every_prompt_and_nothing_is_drafted_or_trained(compared: Path) -> None:
    arms = Counter(record.data["arm"] for record in read(compared) if record.stage == "COMPARISON-ANSWER")
    assert arms == {"base": 4 * 2 + 2, "trained": 4 * 2 + 2}
    found = {stage.split(" ")[0] for stage in stages(compared)}
    assert {"COMPARISON-TEST", "SIDE-BY-SIDE-DIFF", "COMPARISON-SUMMARY", "RUN-COMPLETE"} <= found
    assert not {"INITIAL-GENERATION", "TRAINING-EXAMPLE", "TRAIN-START", "SIDE-EFFECTS"} & found
    for record in read(compared):
        check_declared(record)


def test_the_report_names_both_models_and_says_nothing_of_training(compared: Path, run: Path) -> None:
    data = json.loads((compared / "report.json").read_text())
    assert data["models"]["against"] == "small/adapter"
    assert data["summary"]["outcome"] in ("B better", "B worse", "no difference shown")
    assert data["summary"]["scope"] == "these two models"
    assert len(data["prompts"]) == 10
    shown = views.plain(views.lines(Report.of(data)))
    assert f"A {run.parent and data['models']['generator']} · B small/adapter" in shown
    assert not any(word in shown for word in ("onfirmed", "trained model", "base model", "training seeds"))
    state = RunState(resumable=False)
    for record in read(compared):
        state.apply(record)
    assert state.arms == ("A", "B")
    assert state.model.startswith("A ")
    assert len(state.comparisons) == 6


def test_the_models_answer_as_they_did_in_the_run(run: Path, compared: Path) -> None:
    """Same prompts, sampling and seeds: the second model is the adapter of the run, merged."""
    config = comparison(run, "small@base", "small", n_heldout=2, n_benign=1)
    second = perform(replace(config, generator=config.against, against=config.generator), run.parent / "swapped",
                     Control(), ModelCache())  # fmt: skip
    rows = [json.loads((folder / "report.json").read_text())["prompts"] for folder in (compared, second)]
    one = {(row["id"], row["sample"]): (row["base"], row["trained"]) for row in rows[0]}
    assert all(one[row["id"], row["sample"]] == (row["trained"], row["base"]) for row in rows[1])
    assert any(row["base"] != row["trained"] for row in rows[0])


def test_a_comparison_resumes_where_it_stopped(run: Path, compared: Path, tmp_path: Path) -> None:
    config = comparison(run, "small@base", "small")
    folder = tmp_path / "stopped"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b'"arm":"trained"'), ModelCache())
    perform(config, folder, Control(), ModelCache())
    rows = [json.loads((place / "report.json").read_text())["prompts"] for place in (folder, compared)]
    kept = ("set", "id", "sample", "base", "trained", "base_score", "trained_score")
    one, other = ([{name: row[name] for name in kept} for row in part] for part in rows)
    assert one == other


def test_prompts_that_a_run_trained_on_are_left_out(run: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What is one?\nWhat is ten thousand to the power of four?\n")
    config = comparison(run, "small@base", "small", heldout_prompts=str(prompts), n_benign=0)
    folder = perform(config, tmp_path / "run", Control(), ModelCache())
    data = json.loads((folder / "report.json").read_text())
    assert {row["prompt"] for row in data["prompts"]} == {"What is ten thousand to the power of four?"}
    assert any("small's training" in notice for notice in data["notices"])
    held_out = data["summary"]["conditions"][0]
    assert held_out["met"]
    assert "in small, by hash" in held_out["detail"]


def test_a_run_stands_for_its_adapters_and_checkpoints(run: Path, tiny: Callable[..., Path]) -> None:
    assert compared_model("small") == compared_model(str(run)) == str(run / "adapter")
    assert compared_model("sma@adapter-2") == str(run / "adapter-2")
    assert compared_model(f"{run}@base") == str(tiny("llama", max_position_embeddings=8192))
    assert compared_model("gpt2") == "gpt2"
    last = sorted((run / "checkpoints").glob("step-*"))[-1]
    step = int(last.name.removeprefix("step-"))
    assert compared_model(f"small@step-{step}") == str(last)
    with pytest.raises(InputError, match=rf"no 'step-999'.*base, adapter, adapter-2.*step-{step}"):
        compared_model("small@step-999")
    for word in ("neither-of-both", "long" * 2_000, "@base", ""):
        with pytest.raises(ModelError, match="no model and no run"):
            compared_model(word)


def test_a_path_that_is_no_model_is_said_as_such(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="Name the folder that holds it"):
        compared_model(str(tmp_path / "weights.safetensors"))


def test_the_checkpoint_of_the_last_step_is_the_adapter(run: Path) -> None:
    last = sorted((run / "checkpoints").glob("step-*"))[-1]
    models = ModelCache()
    adapter, checkpoint = (models.get(str(place), dtype="float32") for place in (run / "adapter", last))
    assert checkpoint.sha256 == adapter.sha256
    assert checkpoint.name == f"small/{last.name}"


def test_a_model_is_not_compared_with_itself(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the same weights"):
        perform(comparison(run, "small", "small@adapter"), tmp_path / "run", Control(), ModelCache())


def test_a_model_is_compared_with_itself_in_another_format(run: Path, tmp_path: Path) -> None:
    config = comparison(run, "small@base", "small@base", against_dtype="int8", n_heldout=2, n_benign=1)
    folder = perform(config, tmp_path / "run", Control(), ModelCache())
    models = json.loads((folder / "report.json").read_text())["models"]
    assert models["against"] == f"{models['generator']} (8-bit weights, float32)"
    assert [config.against_format, replace(config, against_dtype="bfloat16").against_format] == [
        ("float32", "int8"),
        ("bfloat16", ""),
    ]
    with pytest.raises(ModelError, match="the same weights"):
        perform(replace(config, against_dtype="float32"), tmp_path / "same", Control(), ModelCache())


def test_the_command_writes_a_run_that_other_commands_take(run: Path, tmp_path: Path) -> None:
    config = comparison(run, "small@base", "small")
    folder = tmp_path / "out"
    options = ["--judge", "rules", "--constitution", config.constitution, "--dtype", "float32", "--max-tokens", 4]
    sizes = ["--n-heldout", 2, "--n-benign", 1, "--answers-per-prompt", 1]
    done = call("compare", "small@base", "small", "-o", folder, *options, *sizes, "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)["figures"]["outcome"]
    assert call("gate", folder).returncode == {"B better": 0, "B worse": 2}.get(outcome, 1)
    page = Path(json.loads(call("report", folder, "--html", "--json").stdout)["path"])
    assert "<h3>B <span" in page.read_text()
    assert "| A | B |" in call("export", folder, "-f", "md", "-o", "-").stdout
    merge, card = ["merge", folder, "-o", tmp_path / "merged"], ["export", folder, "-f", "card"]
    for command in (merge, card, ["try", folder, "Why?"]):
        refused = call(*command)
        assert refused.returncode == 2
        assert "compares two models" in refused.stderr
    assert call("compare", "small", "neither-of-both").returncode == 3
